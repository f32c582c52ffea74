"""The slices of files on disk: read as columns of stripes, and compared with their checksums."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from hashlib import sha256
from pathlib import Path
from typing import Final

from mirrorsync.errors import StorageError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import open_regular, translated
from mirrorsync.files.parity.code import BLOCK_BYTES
from mirrorsync.files.parity.document import SUM_DIGITS, Shape

Watch = Callable[[int], object]
# Of all columns together; what is read ahead takes as much again. A disk with a head moves it once for each column.
_WINDOW_BYTES: Final = 24 * 1024 * 1024


class Columns:
    """The columns of files. paths: of the files, in the order of `shape.sizes`."""

    def __init__(self, shape: Shape, paths: Sequence[Path]) -> None:
        self._shape = shape
        self._paths = paths

    @property
    def window(self) -> int:
        """How many bytes of each column to read at a time."""
        return max(1, _WINDOW_BYTES // self._shape.columns // BLOCK_BYTES) * BLOCK_BYTES

    def read(self, column: int, start: int, count: int) -> bytes:
        """Return `count` bytes of a column, from the byte `start` of it on, zeros where no file is.

        Raises: StorageError if a file cannot be read, or is shorter than it should be.
        """
        return b"".join(self._pieces(column * self._shape.column_bytes + start, count))

    def windows(self, sums: Sequence[Sums], reader: Executor) -> Iterator[list[bytes]]:
        """Yield some bytes of all columns, then the next ones, which `reader` reads and adds to `sums` meanwhile.

        sums: of each column. Nothing is waited for if the iterator is not read to its end. Raises: StorageError.
        """

        def read(start: int) -> list[bytes]:
            count = min(self.window, self._shape.column_bytes - start)
            blocks = [self.read(number, start, count) for number in range(self._shape.columns)]
            for one, block in zip(sums, blocks, strict=True):
                one.add(block)
            return blocks

        ahead = reader.submit(read, 0)
        for start in range(self.window, self._shape.column_bytes, self.window):
            blocks, ahead = ahead.result(), reader.submit(read, start)
            yield blocks
        yield ahead.result()

    def _pieces(self, at: int, count: int) -> Iterator[bytes]:
        while count:
            place = self._shape.place(at)
            if place is None:
                yield bytes(count)
                return
            number, offset = place
            # Up to the end of a slice: after the last one the next file begins.
            step = min(count, self._shape.slice_bytes - offset % self._shape.slice_bytes)
            there = max(0, min(step, self._shape.sizes[number] - offset))
            if there:
                yield read_at(self._paths[number], offset, there)
            yield bytes(step - there)
            at += step
            count -= step


def read_at(path: Path, offset: int, count: int) -> bytes:
    """Return `count` bytes of a file. Raises: StorageError if it cannot be read, or is shorter."""
    with translated(f"reading {path}"), open_regular(path, offset) as file:
        pieces = []
        while count and (piece := file.read(min(count, CHUNK_BYTES))):
            pieces.append(piece)
            count -= len(piece)
    if count:
        raise StorageError(f"{path} became shorter while it was read")
    return b"".join(pieces)


class Sums:
    """The checksum of each slice of a column, whose bytes come one after the other.

    lengths: how many bytes of each slice count; the others are zeros.
    """

    def __init__(self, slice_bytes: int, lengths: Iterable[int]) -> None:
        self._slice_bytes = slice_bytes
        self._lengths = iter(lengths)
        self._begin()
        self.finished: list[str] = []

    def _begin(self) -> None:
        self._hasher = sha256()
        self._left = self._slice_bytes
        self._zeros = self._slice_bytes - next(self._lengths, self._slice_bytes)

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        view = memoryview(data)
        while view:
            piece = view[: self._left]
            self._hasher.update(piece[: max(0, self._left - self._zeros)])
            self._left -= len(piece)
            view = view[len(piece) :]
            if not self._left:
                self.finished.append(self._hasher.hexdigest()[:SUM_DIGITS])
                self._begin()


def wrong_slices(path: Path, size: int, sums: Sequence[str], slice_bytes: int, watch: Watch) -> frozenset[int] | None:
    """Return the numbers of the slices that do not match, or cannot be read; None if there is no such file.

    size: of the slices together in bytes. Raises: StorageError if it is not a file.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return None
    with file:
        wrong = set()
        for number, wanted in enumerate(sums):
            start = number * slice_bytes
            count = min(slice_bytes, size - start)
            if _sum_at(file.fileno(), start, count) != wanted:
                wrong.add(number)
            watch(count)
        return frozenset(wrong)


def _sum_at(descriptor: int, start: int, count: int) -> str:
    """Return the checksum of a slice; "" if it cannot be read: the file ends before, or a sector is damaged."""
    hasher = sha256()
    end = start + count
    for offset in range(start, end, CHUNK_BYTES):
        wanted = min(CHUNK_BYTES, end - offset)
        try:
            data = os.pread(descriptor, wanted, offset)
        except OSError:
            return ""
        if len(data) != wanted:
            return ""
        hasher.update(data)
    return hasher.hexdigest()[:SUM_DIGITS]
