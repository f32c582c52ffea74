"""How long a list of a registry may be, all its pages together: in memory, which is what a hostile one would fill."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirrorsync.errors import RegistryFailure

# What all entries of one list may take, in bytes: about 500,000 tags of 12 characters, or 280,000 of the longest.
# Registries list some ten thousand; who has more names tags in the spec, which needs no list.
MAX_LIST_MEMORY: Final = 64 * 1024 * 1024
# The bodies of all pages together, in bytes: a list that brings the same again and again ends too.
MAX_LIST_BYTES: Final = 128 * 1024 * 1024
# The same for descriptors, which become about four times their JSON.
MAX_DESCRIPTOR_BYTES: Final = 16 * 1024 * 1024
# A string with its places in a set and a list, in bytes, beside its characters (CPython 3.11).
_ENTRY: Final = 110

_REMEDY: Final = "name the tags in the spec one by one: exact tags need no list"


class Seen(set[str]):
    """The entries of a list so far. Raises: RegistryFailure when they become too many."""

    def __init__(self, memory: int = MAX_LIST_MEMORY) -> None:
        """memory: what the entries may take, in bytes."""
        super().__init__()
        self._left = memory

    def take(self, entries: Iterable[str], doing: str) -> None:
        """Add entries. doing: what the list is asked for. Raises: RegistryFailure."""
        for entry in entries:
            self._left -= _ENTRY + len(entry)
            if self._left < 0:
                raise RegistryFailure(f"{doing}: the list goes on after {len(self)} entries", remedy=_REMEDY)
            self.add(entry)


class PageBytes:
    """The bodies of a list's pages so far. limit: of all of them together, in bytes."""

    def __init__(self, limit: int = MAX_LIST_BYTES) -> None:
        self._limit = limit
        self._left = limit

    def take(self, size: int, doing: str) -> None:
        """Count a page's body. Raises: RegistryFailure when it is too much."""
        self._left -= size
        if self._left < 0:
            raise RegistryFailure(f"{doing}: its pages have more than {self._limit} bytes", remedy=_REMEDY)
