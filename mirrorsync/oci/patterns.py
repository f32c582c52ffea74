"""Patterns for repositories, in the place of a repository's name: `quay.io/prometheus/*`."""

from __future__ import annotations

import re
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.oci.names import check_host, looks_like_host
from mirrorsync.oci.reference import Location
from mirrorsync.oci.transports import REGISTRY_PREFIX, transport_of
from mirrorsync.text import printable

HUB: Final = "docker.io"
_WILD: Final = re.compile(r"[*?[]")
# What a repository's name can have, and what a shell pattern adds.
_PATTERN: Final = re.compile(r"[a-z0-9._/*?\[\]!-]+")


def has_wildcard(text: str) -> bool:
    """Return whether a text has a wildcard behind its host; brackets around a host are those of an IPv6 address."""
    return _WILD.search(text.partition("/")[2] if "/" in text else text) is not None


def parse_pattern(text: str, base: str = "") -> Location | None:
    """Read what names several repositories: a pattern, or a whole store on disk; None if it names only one.

    base: the directory (a path) that relative paths start from. The repository of the result is the pattern, "" for a
    whole store. Raises: GrammarError.
    """
    transport = transport_of(text)
    if transport.is_registry:
        return _of_registry(text.removeprefix(REGISTRY_PREFIX)) if has_wildcard(text) else None
    if not transport.many:
        return None
    address, name = transport.split(text, base)
    return Location(address, name) if not name or has_wildcard(name) else None


def _of_registry(text: str) -> Location:
    host, slash, pattern = text.partition("/")
    if not slash or not looks_like_host(host):
        host, pattern = HUB, text
    if ":" in pattern or "@" in pattern:
        raise GrammarError(
            f"{printable(text)!r} has a wildcard and a tag", remedy="write patterns for tags under tags:"
        )
    if not _PATTERN.fullmatch(pattern):
        raise GrammarError(
            f"{printable(pattern)!r} matches no repository: their names have only a-z, 0-9, '.', '_', '-' and '/'",
            remedy="write a pattern such as quay.io/prometheus/*",
        )
    return Location(check_host(host), pattern)
