"""What this run has written into index.json, to detect that another program reverts it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.layout.entries import Name
from mirrorsync.stores.layout.index import Index

_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Merge:
    """The result of merging another program's index: the changes to write again, and the notices for the operator."""

    again: Mapping[Name, Descriptor | None] = field(default_factory=dict)
    messages: tuple[str, ...] = ()


class _Changed(NamedTuple):
    """The content that this run has set for a name, and the digests that it had at any time before."""

    now: Descriptor | None
    before: frozenset[Digest | None]


_NEW: frozenset[Digest | None] = frozenset({None})  # one for all names that are new: there may be 100,000


class OwnChanges:
    """The names that this run has changed, with old and new content.

    A tool that copies into a layout reads index.json when it begins and writes it when it ends (containers/image does),
    so a name that has the content of some time before our change is considered as reverted by accident.
    """

    def __init__(self) -> None:
        self._changed: dict[Name, _Changed] = {}

    def change(self, name: Name, before: Descriptor | None, after: Descriptor | None) -> None:
        """Record that this run changes a name."""
        earlier = self._changed[name].before if name in self._changed else frozenset()
        seen = earlier | {_digest(before)} if earlier or before is not None else _NEW
        # Setting a name back to earlier content is a change like any other.
        self._changed[name] = _Changed(after, seen - {_digest(after)})

    def merge(self, index: Index, unwritten: Container[Name]) -> Merge:
        """Compare an index with the changes of this run. unwritten: names that will be written in any case."""
        again: dict[Name, Descriptor | None] = {}
        kept: list[Name] = []
        replaced: list[Name] = []
        for name, (own, before) in list(self._changed.items()):
            found = _digest(index.get(name))
            if found == _digest(own):
                continue
            if found in before:
                again[name] = own
            elif name in unwritten:
                self._changed[name] = _Changed(own, before | {found})
                replaced.append(name)
            else:
                kept.append(name)
                del self._changed[name]
        reverted = [name for name in again if name not in unwritten]
        return Merge({name: again[name] for name in reverted}, tuple(_messages(reverted, kept, replaced)))


def _messages(reverted: list[Name], kept: list[Name], replaced: list[Name]) -> list[str]:
    notices = (
        ("another program removed names that this run had written to index.json; writing them again", reverted),
        ("another program has set the same name in index.json; keeping its value", kept),
        ("another program has set the same name in index.json; replacing its value", replaced),
    )
    return [f"{what}: {_shown(names)}" for what, names in notices if names]


def _shown(names: list[Name]) -> str:
    shown = ", ".join(str(name) for name in islice(names, _NAMES_SHOWN))
    return shown + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")


def _digest(content: Descriptor | None) -> Digest | None:
    return content.digest if content is not None else None
