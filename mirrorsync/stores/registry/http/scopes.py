"""Scopes: what a token has to allow, as the token specification writes it (`repository:team/app:pull,push`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from mirrorsync.stores.registry.http.challenge import Challenge

Scopes = tuple[str, ...]
# A token that allows nothing still says whether the password is right.
NOTHING: Final[Scopes] = ("",)
_PASSWORD: Final = "password"  # noqa: S105 - the type of a scope
_API_PATH = re.compile(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/")


def with_password(repository: str) -> Scopes:
    """Return the scope of a request that needs the password itself: an API beside the distribution API takes no token.

    repository: whose credentials are meant.
    """
    return (f"{_PASSWORD}:{repository}:",)


def needs_password(scopes: Scopes) -> bool:
    """Tell whether `with_password` made the scopes."""
    return scopes[:1] != () and scopes[0].startswith(f"{_PASSWORD}:")


def repository_of(scopes: Scopes) -> str:
    """Return the repository that the first of the scopes is about, "" when it is about none."""
    kind, _, rest = scopes[0].partition(":")
    return rest.rpartition(":")[0] if kind in ("repository", _PASSWORD) else ""


def of_url(url: str) -> Scopes:
    """Return the scope for reading what a URL of a distribution API names, () when it is no such URL."""
    found = _API_PATH.search(urlsplit(url).path)
    return (f"repository:{found[1]}:pull",) if found else ()


def narrowed(scopes: Scopes) -> Scopes:
    """Return the scopes for reading alone: those that allow more than `pull` without the rest."""
    return tuple(f"{scope.rpartition(':')[0]}:pull" if "pull" in _actions(scope) else scope for scope in scopes)


def after_refusal(asked: Scopes, challenge: Challenge) -> Scopes:
    """Return what to ask for after a token for `asked` was refused with a challenge.

    A registry may know a repository by another name than its URL has (Artifactory), or have scopes of its own
    (`aws`, ECR public): then its own words are taken (oras-go#650). With `error="insufficient_scope"` they are what
    is missing.
    """
    named = tuple(challenge.get("scope").split())
    if _covers(asked, named):
        return asked
    if challenge.get("error") == "insufficient_scope":
        return tuple(dict.fromkeys((*asked, *named)))
    return named


def _covers(asked: Iterable[str], named: Iterable[str]) -> bool:
    allowed: dict[str, set[str]] = {}
    for scope in asked:
        allowed.setdefault(scope.rpartition(":")[0], set()).update(_actions(scope))
    return all(_actions(scope) <= allowed.get(scope.rpartition(":")[0], set()) for scope in named)


def _actions(scope: str) -> set[str]:
    return set(scope.rpartition(":")[2].split(","))
