"""What differs between two locks, for people: one line for each image, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from mirrorsync.spec.lock import LockChange
from mirrorsync.text import printable

_STATES: Final = ("new", "moved", "gone")


def change_lines(found: Iterable[LockChange]) -> str:
    """Return a line for each image that differs."""
    return "\n".join(printable(f"{one.state:<5}  {one}  {_digests(one)}") for one in found)


def totals(found: Sequence[LockChange]) -> str:
    """Return how many images differ, by kind: `2 new, 1 moved`, or `no difference`."""
    counts = Counter[str](one.state for one in found)
    return ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state]) or "no difference"


def images(number: int) -> str:
    """Return a number of images in words."""
    return "1 image" if number == 1 else f"{number} images"


def _digests(change: LockChange) -> str:
    return " -> ".join(one.short for one in (change.before, change.after) if one is not None)
