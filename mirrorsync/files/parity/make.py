"""Write parity files next to the files that they are for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Final

from mirrorsync.errors import NotFound
from mirrorsync.files.disk import discard_file, regular_size, sync_directory, translated
from mirrorsync.files.parity.code import BLOCK_BYTES, Code
from mirrorsync.files.parity.document import Covered, Parity, ParityFile, Shape, shape_of, to_bytes, trailer
from mirrorsync.files.parity.slices import Columns, Sums, Watch

PARTIAL: Final = ".partial"
# With one parity file its loss would be the loss of all parity, and of all but one copy of the checksums.
_LEAST_FILES: Final = 2


def ignore(_bytes: int) -> None:
    """Watch nothing."""


def document_name(stem: str) -> str:
    """Return the name of the file with the checksums."""
    return f"{stem}.parity.json"


def protect(
    directory: Path,
    stem: str,
    parts: Sequence[str],
    others: Sequence[str] = (),
    *,
    share: Fraction,
    subject: str,
    watch: Watch = ignore,
) -> list[str]:
    """Write parity files for files of a directory, durably; return their names: STEM.parity-01.par, STEM.parity.json.

    parts: names of the files of which `share` may be lost (rounded down); others: of small files that are covered, too.
    share: of parity, 0 < share <= 1. subject: what they belong to. watch: is called with the bytes that are read, each
    byte once. The same files have the same parity. Raises: StorageError; NotFound if a file is missing.
    """
    sizes = [_size(directory / name) for name in (*parts, *others)]
    shape = shape_of(sizes[: len(parts)], sizes[len(parts) :], share)
    names = _files(stem, shape)
    with ExitStack() as opened:
        rows: list[_Row] = []
        for name, _first, count in names:
            file = opened.enter_context(created(directory / (name + PARTIAL), opened))
            rows += (_Row(file, at, shape) for at in range(count))
        sums = _encode(shape, [directory / name for name in (*parts, *others)], rows, watch)
        covered = [
            Covered(name, size, tuple(sums[start:end]))
            for name, size, (start, end) in zip((*parts, *others), sizes, pairwise(shape.starts), strict=True)
        ]
        made = [
            ParityFile(
                name, first, count, tuple(one for row in rows[first : first + count] for one in row.sums.finished)
            )
            for name, first, count in names
        ]
        document = to_bytes(Parity(subject, shape, tuple(covered), tuple(made)))
        with translated(f"writing parity in {directory}"):
            for row in rows:
                if row.number == 0:
                    row.finish(document)
            file = opened.enter_context(created(directory / (document_name(stem) + PARTIAL), opened))
            write_all(file, document, 0)
            os.fsync(file.fileno())
            written = [*(name for name, _, _ in names), document_name(stem)]
            for name in written:
                (directory / (name + PARTIAL)).rename(directory / name)
            sync_directory(directory)
    return written


def _size(path: Path) -> int:
    size = regular_size(path)
    if size is None:
        raise NotFound(f"{path} is not a file")
    return size


def _files(stem: str, shape: Shape) -> list[tuple[str, int, int]]:
    """Return the name of each parity file, its first row and how many rows it has: none is larger than the files."""
    largest = max((*shape.sizes, 1))
    count = min(shape.rows, max(_LEAST_FILES, -(-shape.rows * shape.column_bytes // largest)))
    borders = [shape.rows * number // count for number in range(count + 1)]
    return [
        (f"{stem}.parity-{number:02}.par", first, end - first)
        for number, (first, end) in enumerate(pairwise(borders), 1)
    ]


def created(path: Path, opened: ExitStack) -> FileIO:
    """Open a new file for writing, also if a killed run has left one; it is removed unless it is renamed."""
    with translated(f"writing {path}"):
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    opened.callback(discard_file, path)
    return FileIO(descriptor, "r+b")


def write_all(file: FileIO, data: bytes, offset: int) -> None:
    """Write at an offset of a file. Raises: OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        view, offset = view[written:], offset + written


class _Row:
    """A row of parity, written from its start on. number: in its file."""

    def __init__(self, file: FileIO, number: int, shape: Shape) -> None:
        self.number = number
        self.sums = Sums(shape.slice_bytes, ())
        self._file = file
        self._offset = number * shape.column_bytes

    def add(self, data: bytes) -> None:
        """Write the next bytes. Raises: OSError."""
        self.sums.add(data)
        write_all(self._file, data, self._offset)
        self._offset += len(data)

    def finish(self, document: bytes) -> None:
        """Write the document to the end of the file, durably. Raises: OSError."""
        write_all(self._file, document + trailer(document), self._file.seek(0, os.SEEK_END))
        os.fsync(self._file.fileno())


def _encode(shape: Shape, paths: Sequence[Path], rows: Sequence[_Row], watch: Watch) -> list[str]:
    """Write all rows; return the checksums of the slices of all files. Raises: StorageError."""
    code = Code(shape.columns, shape.rows)
    sums = [Sums(shape.slice_bytes, shape.lengths(number)) for number in range(shape.columns)]
    # Entered here, and not in the generator: the garbage collector may end a generator in a thread that just begins,
    # and there it must not wait for another one.
    with ThreadPoolExecutor(1, "parity") as reader:
        for blocks in Columns(shape, paths).windows(sums, reader):
            watch(sum(map(len, blocks)))
            made = [
                code.encode([block[start : start + BLOCK_BYTES] for block in blocks], range(shape.rows))
                for start in range(0, len(blocks[0]), BLOCK_BYTES)
            ]
            with translated("writing parity"):
                for row, pieces in zip(rows, zip(*made, strict=True), strict=True):
                    row.add(b"".join(pieces))
    return [one for column in sums for one in column.finished]
