"""Deltas of blobs: a new blob rebuilt bit for bit from an old one and little more, even if both are gzip.

Content is expressed by the old content, and the choices of the compressor by what a known compressor would have
chosen; docs/delta-format.md has the format. Memory does not grow with the blobs. `available` says whether the compiled
part is installed; without it `make` and `apply` raise DeltasUnavailable, and blobs go whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from mirrorsync.delta.compiled import Availability, DeltasUnavailable, available
from mirrorsync.delta.form import KIND
from mirrorsync.delta.model import Blob, Head, Made

__all__ = [
    "KIND",
    "Availability",
    "Blob",
    "DeltasUnavailable",
    "Head",
    "Made",
    "apply",
    "available",
    "make",
    "read_head",
    "readable",
]


def readable(kind: str) -> Availability:
    """Return whether deltas of a format can be applied by this installation. kind: its name in a bundle."""
    if kind != KIND:
        return Availability(f"this mirrorsync does not read deltas of the kind {kind}, only {KIND}")
    return available()


def make(old: Blob, new: Blob, out: BinaryIO, limit: int) -> Made | None:
    """Write the delta from `old` to `new`; None if it would not be smaller than `limit` bytes, or is not possible.

    What was written to `out` is of no use then. The caller applies a delta once before relying on it. Raises: Mismatch
    if a blob has not its digest; DeltasUnavailable; exceptions of the files pass through.
    """
    _require()
    from mirrorsync.delta import making  # the compiled part may be missing

    return making.make(old, new, out, limit)


def apply(old: BinaryIO, delta: BinaryIO) -> Iterator[bytes]:
    """Yield the new blob. The last piece comes only after the digest of everything was right.

    old: a file that can seek; delta: is read once, from where it is to its end. Raises: Malformed if the delta is
    damaged; Mismatch if the old blob is not the one that the delta is for, or the result has not its digest;
    DeltasUnavailable.
    """
    _require()
    from mirrorsync.delta import applying  # the compiled part may be missing

    return applying.apply(old, delta)


def read_head(delta: BinaryIO) -> Head:
    """Return what a delta is for: the digests and sizes of the old and the new blob. Raises: Malformed."""
    from mirrorsync.delta import form

    return form.read_head(delta)


def _require() -> None:
    if not (there := available()):
        raise DeltasUnavailable(f"deltas of layers are not available: {there.reason}")
