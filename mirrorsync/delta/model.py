"""The values of deltas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from mirrorsync.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob: its file, which can seek and is read from its beginning, its digest and its size in bytes."""

    file: BinaryIO
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Made:
    """A delta that was written. size: its bytes; read: those of the new blob."""

    size: int
    read: int


@dataclass(frozen=True, slots=True)
class Head:
    """What a delta is for: digests, sizes, whether a blob is read as gzip, and the content of a chunk of the old."""

    old: Digest
    old_size: int
    old_gzip: bool
    new: Digest
    new_size: int
    new_gzip: bool
    chunk_bytes: int


def window_bytes(chunks: Sequence[int], head: Head) -> int:
    """Return how many bytes the content of some chunks has at most."""
    return len(chunks) * (head.chunk_bytes + 257)
