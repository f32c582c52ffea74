"""Find out which slices of files are missing or damaged, and compute them from the others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Final

from mirrorsync.errors import IntegrityError, Malformed, NotFound, StorageError
from mirrorsync.files.disk import regular_size, sync_directory, translated
from mirrorsync.files.parity.code import BLOCK_BYTES, Code
from mirrorsync.files.parity.document import (
    MAX_DOCUMENT_BYTES,
    TRAILER_BYTES,
    Parity,
    parse,
    read_trailer,
    to_bytes,
    trailer,
)
from mirrorsync.files.parity.make import PARTIAL, created, document_name, ignore, write_all
from mirrorsync.files.parity.slices import Columns, Watch, read_at, wrong_slices

# Checks a repaired file before it gets its name, by the name and where it is. Raises: MirrorsyncError if it is wrong.
Accept = Callable[[str, Path], object]
_MOST_FILES: Final = 256


@dataclass(frozen=True)
class Damage:
    """What is wrong with the files of a parity document.

    wrong: the numbers of the slices that are missing or damaged, of each file that is; no numbers if only its length or
    the copy of the document at its end is wrong. missing: files that are not there at all. document: whether the
    document itself has to be written anew.
    """

    parity: Parity
    wrong: Mapping[str, frozenset[int]]
    missing: frozenset[str]
    document: bool

    @cached_property
    def lost(self) -> frozenset[int]:
        """The stripes of which too many slices are wrong."""
        return frozenset(stripe for stripe, wrong in self._wrong_slices.items() if wrong > self.parity.shape.rows)

    @property
    def worst(self) -> int:
        """How many slices are wrong of the stripe with the most."""
        return max(self._wrong_slices.values(), default=0)

    @cached_property
    def _wrong_slices(self) -> Counter[int]:
        return Counter(stripe for name, numbers in self.wrong.items() for stripe in self.stripes(name, numbers))

    def stripes(self, name: str, numbers: Iterable[int]) -> list[int]:
        """Return the stripes of slices of a file."""
        first, stripes = self._firsts.get(name, 0), self.parity.shape.stripes
        return [(first + number) % stripes for number in numbers]

    @cached_property
    def _firsts(self) -> dict[str, int]:
        return {one.name: start for one, start in zip(self.parity.files, self.parity.shape.starts, strict=False)}

    @cached_property
    def repairable(self) -> tuple[str, ...]:
        """The files that can be repaired."""
        return tuple(n for n, numbers in self.wrong.items() if self.lost.isdisjoint(self.stripes(n, numbers)))

    @cached_property
    def hopeless(self) -> tuple[str, ...]:
        """The files that cannot be repaired: more of their stripes is lost than there is parity."""
        repairable = set(self.repairable)
        return tuple(name for name in self.wrong if name not in repairable)


def examine(directory: Path, stem: str, watch: Watch = ignore) -> Damage:
    """Return what is damaged of the files that the parity files STEM.parity... are for. Every file is read once.

    watch: is called with the bytes that are read. Raises: NotFound if there is no parity; Malformed if no copy of its
    document is whole; StorageError.
    """
    parity, document = _found(directory, stem)
    shape = parity.shape
    wrong: dict[str, frozenset[int]] = {}
    missing = set()
    for name, size, sums, end in (
        *((one.name, one.size, one.sums, b"") for one in parity.files),
        *((one.name, one.count * shape.column_bytes, one.sums, document + trailer(document)) for one in parity.parity),
    ):
        path = directory / name
        numbers = wrong_slices(path, size, sums, shape.slice_bytes, watch)
        if numbers is None:
            missing.add(name)
            wrong[name] = frozenset(range(len(sums)))
        elif numbers or regular_size(path) != size + len(end) or _tail(path, size) != end:
            wrong[name] = numbers
    return Damage(parity, wrong, frozenset(missing), _whole(directory / document_name(stem)) != document)


def repair(
    directory: Path, stem: str, damage: Damage, accept: Accept, *, output: Path | None = None, watch: Watch = ignore
) -> list[str]:
    """Write the files that can be repaired anew, durably, and return their names.

    accept: checks each of them, apart from the parity files, before it gets its name: nothing else vouches for them.
    output: the directory to write to, instead of the files' own. watch: is called with the bytes that are written.
    Raises: StorageError; IntegrityError if a repaired file does not match; what `accept` raises.
    """
    into = output or directory
    with ExitStack() as opened:
        names = damage.repairable
        files = {name: opened.enter_context(created(into / (name + PARTIAL), opened)) for name in names}
        _Repair(directory, damage, files, watch).run()
        sizes = _sizes(damage.parity)
        with translated(f"writing to {into}"):
            for file in files.values():
                os.fsync(file.fileno())
        for name in names:
            part = into / (name + PARTIAL)
            size, sums = sizes[name]
            if wrong_slices(part, size, sums, damage.parity.shape.slice_bytes, ignore):
                raise IntegrityError(f"the bytes of {part} do not match the checksums of its parity document")
            if name not in {one.name for one in damage.parity.parity}:
                accept(name, part)
        with translated(f"writing to {into}"):
            if damage.document:
                file = opened.enter_context(created(into / (document_name(stem) + PARTIAL), opened))
                write_all(file, to_bytes(damage.parity), 0)
                os.fsync(file.fileno())
                names = (*names, document_name(stem))
            for name in names:
                (into / (name + PARTIAL)).rename(into / name)
            sync_directory(into)
    return list(names)


def _found(directory: Path, stem: str) -> tuple[Parity, bytes]:
    """Return the parity document and its bytes. The copies at the ends of the parity files have a checksum."""
    copies: Counter[bytes] = Counter()
    holders: dict[bytes, Path] = {}
    for path in sorted(directory.glob("*.par"))[:_MOST_FILES]:
        if path.name.startswith(f"{stem}.parity-") and (copy := _copy(path)) is not None:
            digest = sha256(copy).digest()  # documents that differ are not all in memory
            copies[digest] += 1
            holders.setdefault(digest, path)
    own = document_name(stem)
    document = _copy(holders[max(copies, key=lambda one: copies[one])]) if copies else _whole(directory / own)
    if document is None:
        raise NotFound(
            f"no parity files of {stem} in {directory}", remedy="copy the .par files of the bundle next to its parts"
        )
    parity = parse(document, own)
    names = [*(one.name for one in parity.files), *(one.name for one in parity.parity)]
    if to_bytes(parity) != document or not all(name.startswith(f"{stem}.") for name in names):
        raise Malformed(f"{own} is not a valid parity document")
    return parity, document


def _whole(path: Path) -> bytes | None:
    """Return the content of a file, if it can be read and is not longer than a document."""
    size = regular_size(path)
    try:
        return read_at(path, 0, size) if size is not None and size <= MAX_DOCUMENT_BYTES else None
    except (StorageError, FileNotFoundError):
        return None


def _copy(path: Path) -> bytes | None:
    """Return the document at the end of a parity file, if it is whole."""
    size = regular_size(path) or 0
    try:
        found = read_trailer(read_at(path, size - TRAILER_BYTES, TRAILER_BYTES)) if size > TRAILER_BYTES else None
        if found is None or found[0] > size - TRAILER_BYTES:
            return None
        document = read_at(path, size - TRAILER_BYTES - found[0], found[0])
    except (StorageError, FileNotFoundError):
        return None
    return document if sha256(document).hexdigest() == found[1] else None


def _tail(path: Path, offset: int) -> bytes:
    """Return what a file has from an offset on, at most a document; "" if it cannot be read."""
    try:
        size = path.lstat().st_size - offset
        return read_at(path, offset, min(size, MAX_DOCUMENT_BYTES + TRAILER_BYTES)) if size > 0 else b""
    except (OSError, StorageError):
        return b""


def _sizes(parity: Parity) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return the size and checksums of the slices of each file, by its name."""
    rows = {one.name: (one.count * parity.shape.column_bytes, one.sums) for one in parity.parity}
    return {one.name: (one.size, one.sums) for one in parity.files} | rows


class _Repair:
    """Fills new files: with the slices that are good, and with those that are computed."""

    def __init__(self, directory: Path, damage: Damage, files: Mapping[str, FileIO], watch: Watch) -> None:
        self._directory = directory
        self._damage = damage
        self._parity = damage.parity
        self._shape = damage.parity.shape
        self._files = files
        self._watch = watch
        self._code = Code(self._shape.columns, self._shape.rows)
        self._columns = Columns(self._shape, [directory / one.name for one in self._parity.files])
        self._names = [one.name for one in self._parity.files]
        self._rows = [(one.name, number) for one in self._parity.parity for number in range(one.count)]

    def run(self) -> None:
        """Write all. Raises: StorageError."""
        sizes = _sizes(self._parity)
        stripes: set[int] = set()
        for name, file in self._files.items():
            numbers = self._damage.wrong[name]
            stripes.update(self._damage.stripes(name, numbers))
            self._copy_good(name, file, sizes[name][0], numbers)
        for stripe in sorted(stripes):
            self._fill(stripe)

    def _copy_good(self, name: str, file: FileIO, size: int, wrong: frozenset[int]) -> None:
        step = self._shape.slice_bytes
        with translated(f"writing {name}"):
            for number, start in enumerate(range(0, size, step)):
                if number not in wrong:
                    for at in range(start, min(start + step, size), 1 << 20):
                        data = read_at(self._directory / name, at, min(1 << 20, min(start + step, size) - at))
                        write_all(file, data, at)
                        self._watch(len(data))
            os.ftruncate(file.fileno(), size)
            if name not in self._names:
                document = to_bytes(self._parity)
                write_all(file, document + trailer(document), size)

    def _fill(self, stripe: int) -> None:
        """Write the slices of a stripe that are wrong."""
        shape, window = self._shape, self._columns.window
        columns = [number for number in range(shape.columns) if self._wrong_column(number, stripe)]
        rows = [row for row in range(shape.rows) if self._wrong_row(row, stripe)]
        good = [row for row in range(shape.rows) if row not in rows][: len(columns)]
        rows = [row for row in rows if self._rows[row][0] in self._files]
        for start in range(0, shape.slice_bytes, window):
            count = min(window, shape.slice_bytes - start)
            at = stripe * shape.slice_bytes + start
            blocks = [
                None if number in columns else self._columns.read(number, at, count) for number in range(shape.columns)
            ]
            parity = {row: self._read_row(row, at, count) for row in good}
            for offset in range(0, count, BLOCK_BYTES):
                self._fill_block(
                    at + offset, _cut(blocks, offset), {n: _cut([p], offset)[0] for n, p in parity.items()}, rows
                )

    def _fill_block(
        self, at: int, blocks: list[bytes | None], parity: Mapping[int, bytes | None], rows: Sequence[int]
    ) -> None:
        solved = self._code.decode(blocks, {row: block for row, block in parity.items() if block is not None})
        for column, data in solved.items():
            blocks[column] = data
            number, offset = self._shape.place(column * self._shape.column_bytes + at) or (0, 0)
            if (file := self._files.get(self._names[number])) is not None:
                self._write(file, data[: max(0, self._shape.sizes[number] - offset)], offset)
        if rows:
            made = self._code.encode([block for block in blocks if block is not None], rows)
            for row, data in zip(rows, made, strict=True):
                name, number = self._rows[row]
                self._write(self._files[name], data, number * self._shape.column_bytes + at)

    def _write(self, file: FileIO, data: bytes, offset: int) -> None:
        with translated("writing a repaired file"):
            write_all(file, data, offset)
        self._watch(len(data))

    def _wrong_column(self, column: int, stripe: int) -> bool:
        place = self._shape.place(column * self._shape.column_bytes + stripe * self._shape.slice_bytes)
        if place is None:
            return False
        number, offset = place
        return offset // self._shape.slice_bytes in self._damage.wrong.get(self._names[number], ())

    def _wrong_row(self, row: int, stripe: int) -> bool:
        name, number = self._rows[row]
        return number * self._shape.stripes + stripe in self._damage.wrong.get(name, ())

    def _read_row(self, row: int, at: int, count: int) -> bytes:
        name, number = self._rows[row]
        return read_at(self._directory / name, number * self._shape.column_bytes + at, count)


def _cut(blocks: Sequence[bytes | None], offset: int) -> list[bytes | None]:
    return [None if block is None else block[offset : offset + BLOCK_BYTES] for block in blocks]
