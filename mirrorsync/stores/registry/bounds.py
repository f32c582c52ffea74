"""Limits for the lists of a registry, all pages together: a hostile registry would fill the memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirrorsync.errors import RegistryFailure

# Memory for all entries of one list, in bytes: about 500,000 tags of 12 characters, or 280,000 of the longest.
# Registries list some ten thousand tags; for more, the spec can name tags, which needs no list.
MAX_LIST_MEMORY: Final = 64 * 1024 * 1024
# The bodies of all pages together, in bytes: this also ends a list that repeats its entries for ever.
MAX_LIST_BYTES: Final = 128 * 1024 * 1024
# The same for descriptors, which take about four times the size of their JSON.
MAX_DESCRIPTOR_BYTES: Final = 16 * 1024 * 1024
# Memory for a string in a set and a list, in bytes, in addition to its characters (CPython 3.11).
_ENTRY: Final = 110

_REMEDY: Final = "name the tags in the spec one by one: exact tags need no list"


class Seen(set[str]):
    """The entries of a list so far. Raises: RegistryFailure if they exceed the limit."""

    def __init__(self, memory: int = MAX_LIST_MEMORY) -> None:
        """memory: the limit for all entries, in bytes."""
        super().__init__()
        self._left = memory

    def take(self, entries: Iterable[str], doing: str) -> None:
        """Add entries. doing: the action, for messages. Raises: RegistryFailure."""
        for entry in entries:
            self._left -= _ENTRY + len(entry)
            if self._left < 0:
                raise RegistryFailure(f"{doing}: the list continues after {len(self)} entries", remedy=_REMEDY)
            self.add(entry)


class PageBytes:
    """The bodies of a list's pages so far. limit: of all of them together, in bytes."""

    def __init__(self, limit: int = MAX_LIST_BYTES) -> None:
        self._limit = limit
        self._left = limit

    def take(self, size: int, doing: str) -> None:
        """Count a page's body. Raises: RegistryFailure if the limit is exceeded."""
        self._left -= size
        if self._left < 0:
            raise RegistryFailure(f"{doing}: the pages exceed the limit of {self._limit} bytes", remedy=_REMEDY)
