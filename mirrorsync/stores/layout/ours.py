"""What this run has written into index.json, so that it can be told when another program undoes it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.layout.index import Index, Name

_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Laid:
    """What comes of an index that somebody else wrote: which changes to make again, and what to tell the operator."""

    again: Mapping[Name, Descriptor | None] = field(default_factory=dict)
    messages: tuple[str, ...] = ()


class _Changed(NamedTuple):
    """What this run has made of a name, and what it stood for at some time before that."""

    now: Descriptor | None
    before: frozenset[Digest | None]


_NEW: frozenset[Digest | None] = frozenset({None})  # one for all names that are new: there may be 100,000


class Ours:
    """The names that this run has changed: to what, and from what.

    A tool that copies into a layout reads index.json when it begins and writes it when it ends (containers/image does),
    so that a name which has what it had at some time before our change is taken for undone, and not for a wish.
    """

    def __init__(self) -> None:
        self._changed: dict[Name, _Changed] = {}

    def change(self, name: Name, before: Descriptor | None, after: Descriptor | None) -> None:
        """Take up that this run changes a name."""
        earlier = self._changed[name].before if name in self._changed else frozenset()
        seen = earlier | {_digest(before)} if earlier or before is not None else _NEW
        # To set a name back to what it was is a change like any other.
        self._changed[name] = _Changed(after, seen - {_digest(after)})

    def lay_over(self, index: Index, unwritten: Container[Name]) -> Laid:
        """Hold an index against what this run has changed. unwritten: names that will be written in any case."""
        again: dict[Name, Descriptor | None] = {}
        theirs: list[Name] = []
        replaced: list[Name] = []
        for name, (ours, before) in list(self._changed.items()):
            found = _digest(index.get(name))
            if found == _digest(ours):
                continue
            if found in before:
                again[name] = ours
            elif name in unwritten:
                self._changed[name] = _Changed(ours, before | {found})
                replaced.append(name)
            else:
                theirs.append(name)
                del self._changed[name]
        taken_away = [name for name in again if name not in unwritten]
        return Laid({name: again[name] for name in taken_away}, tuple(_messages(taken_away, theirs, replaced)))


def _messages(taken_away: list[Name], theirs: list[Name], replaced: list[Name]) -> list[str]:
    told = (
        ("another program took away what this run had written to index.json, and it is written again", taken_away),
        ("another program has set the same name in index.json, and what it set stays", theirs),
        ("another program has set the same name in index.json, and what this run writes replaces it", replaced),
    )
    return [f"{what}: {_shown(names)}" for what, names in told if names]


def _shown(names: list[Name]) -> str:
    shown = ", ".join(str(name) for name in islice(names, _NAMES_SHOWN))
    return shown + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")


def _digest(content: Descriptor | None) -> Digest | None:
    return content.digest if content is not None else None
