"""Scopes: the rights of a token, in the format of the token specification (`repository:team/app:pull,push`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from mirrorsync.stores.registry.http.challenge import Challenge

Scopes = tuple[str, ...]
# A token without rights still shows whether the password is right.
NOTHING: Final[Scopes] = ("",)
_PASSWORD: Final = "password"  # noqa: S105 - the type of a scope
_API_PATH = re.compile(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/")


def with_password(repository: str) -> Scopes:
    """Return the scope of a request that needs the password itself: APIs other than distribution's accept no token.

    repository: the one whose credentials are to be sent.
    """
    return (f"{_PASSWORD}:{repository}:",)


def needs_password(scopes: Scopes) -> bool:
    """Return whether the scopes are those of `with_password`."""
    return scopes[:1] != () and scopes[0].startswith(f"{_PASSWORD}:")


def repository_of(scopes: Scopes) -> str:
    """Return the repository of the first of the scopes, "" if it has none."""
    kind, _, rest = scopes[0].partition(":")
    return rest.rpartition(":")[0] if kind in ("repository", _PASSWORD) else ""


def of_url(url: str) -> Scopes:
    """Return the scope for reading the content of a distribution API URL, () for any other URL."""
    found = _API_PATH.search(urlsplit(url).path)
    return (f"repository:{found[1]}:pull",) if found else ()


def narrowed(scopes: Scopes) -> Scopes:
    """Return the scopes reduced to reading: only `pull` of those that have it."""
    return tuple(f"{scope.rpartition(':')[0]}:pull" if "pull" in _actions(scope) else scope for scope in scopes)


def after_refusal(asked: Scopes, challenge: Challenge) -> Scopes:
    """Return the scopes to request after a token for `asked` was rejected with a challenge.

    A registry may have another name for a repository than its URL (Artifactory), or scopes of its own (`aws`, ECR
    public): then the scopes of the challenge are used (oras-go#650). With `error="insufficient_scope"` they are added.
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
