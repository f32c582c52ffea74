"""The document of parity files: how the slices of files make stripes, and the checksum of every slice.

Files are cut into slices of equal size, their last ones filled up with zeros. All slices of all files, one after the
other, are laid out in columns of `stripes` slices; slice n of every column is in stripe n, and so are `rows` slices of
parity. So damage in one stretch, a lost file for instance, takes as few slices as possible from each stripe.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from itertools import accumulate, pairwise
from math import ceil, floor
from typing import Any, Final

from mirrorsync.errors import GrammarError, Malformed
from mirrorsync.files.parity.code import BLOCK_BYTES, MOST_BLOCKS
from mirrorsync.oci.json_weight import MAX_WEIGHT, json_weight
from mirrorsync.text import printable

FORMAT: Final = "mirrorsync.parity"
VERSION: Final = 1
# With 100 slices in a stripe, a tenth of them may be damaged at random places, and the work stays that of 10 rows.
_COLUMNS: Final = 100
# More slices would make the document large, with fewer each damaged sector would cost more.
_SLICES: Final = 20_000
# Of a SHA-256, for each slice: enough for damage; what is repaired is compared with a whole digest anyway.
SUM_DIGITS: Final = 32
MAX_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
_MAX_BYTES: Final = 1 << 60
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}")
_SUM: Final = re.compile(rf"[0-9a-f]{{{SUM_DIGITS}}}")
_TRAILER: Final = re.compile(rb"mirrorsync\.parity (\d{20}) ([0-9a-f]{64})\n")
TRAILER_BYTES: Final = 18 + 20 + 1 + 64 + 1


def read_percent(text: str) -> Fraction:
    """Return the share that `10%` means. Raises: GrammarError if it is not a number from 1% to 100%."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)%", text, re.ASCII)
    share = Fraction(found[1]) / 100 if found else Fraction(0)
    if not Fraction(1, 100) <= share <= 1:
        raise GrammarError(f"{printable(text, 40)!r} is not a share of parity", remedy="write 1% to 100%, such as 10%")
    return share


@dataclass(frozen=True)
class Shape:
    """How files make stripes. sizes: of the files in bytes, in order; rows: of parity; the rest follows from these."""

    sizes: tuple[int, ...]
    rows: int

    @cached_property
    def slice_bytes(self) -> int:
        """The size of a slice, a multiple of BLOCK_BYTES."""
        return max(1, -(-sum(self.sizes) // (_SLICES * BLOCK_BYTES))) * BLOCK_BYTES

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The number of the first slice of each file, and of all slices at the end."""
        return (0, *accumulate(-(-size // self.slice_bytes) for size in self.sizes))

    @cached_property
    def stripes(self) -> int:
        """How many stripes there are, and slices in each column."""
        return max(1, -(-self.starts[-1] // _COLUMNS))

    @cached_property
    def columns(self) -> int:
        """How many slices of files a stripe has."""
        return max(1, -(-self.starts[-1] // self.stripes))

    @property
    def column_bytes(self) -> int:
        """The size of a column, and of a row of parity."""
        return self.stripes * self.slice_bytes

    def place(self, at: int) -> tuple[int, int] | None:
        """Return the number of the file and the offset in it, for a byte of all columns; None after the last file."""
        number = bisect_right(self.starts, at // self.slice_bytes) - 1
        return (number, at - self.starts[number] * self.slice_bytes) if number < len(self.sizes) else None

    def lengths(self, column: int) -> Iterator[int]:
        """Yield how many bytes of each slice of a column are a file's; the others are zeros."""
        for start in range(column * self.column_bytes, (column + 1) * self.column_bytes, self.slice_bytes):
            place = self.place(start)
            yield min(self.slice_bytes, self.sizes[place[0]] - place[1]) if place else 0


@dataclass(frozen=True, slots=True)
class Covered:
    """A file that parity is for. sums: of each slice, without the zeros: SUM_DIGITS of its SHA-256."""

    name: str
    size: int
    sums: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParityFile:
    """A file with `count` rows of parity from `first` on. sums: of the slices of the first row, then of the next."""

    name: str
    first: int
    count: int
    sums: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """The document. subject: what the files belong to, a digest; free text for this module."""

    subject: str
    shape: Shape
    files: tuple[Covered, ...]
    parity: tuple[ParityFile, ...]


def shape_of(parts: Sequence[int], others: Sequence[int], share: Fraction) -> Shape:
    """Return the shape for files of these sizes. share: of parity, 0 < share <= 1.

    The parity is `share` of the slices, and enough for `share` of the parts to be lost, rounded down, the largest ones.
    """
    shape = Shape((*parts, *others), 1)
    largest = sorted(parts, reverse=True)[: floor(len(parts) * share)]
    whole = sum(-(-size // shape.slice_bytes // shape.stripes) for size in largest)
    return replace(shape, rows=min(max(1, ceil(shape.columns * share), whole), shape.columns))


def to_bytes(parity: Parity) -> bytes:
    """Return the document: canonical JSON."""
    shape = parity.shape
    value = {
        "format": FORMAT,
        "version": VERSION,
        "subject": parity.subject,
        "slice": shape.slice_bytes,
        "columns": shape.columns,
        "rows": shape.rows,
        "stripes": shape.stripes,
        "files": [{"name": one.name, "size": one.size, "sums": one.sums} for one in parity.files],
        "parity": [
            {"name": one.name, "first": one.first, "rows": one.count, "sums": one.sums} for one in parity.parity
        ],
    }
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{text}\n".encode()


def trailer(document: bytes) -> bytes:
    """Return the last line of a parity file: the size and SHA-256 of the document before it."""
    return f"mirrorsync.parity {len(document):020d} {sha256(document).hexdigest()}\n".encode()


def read_trailer(line: bytes) -> tuple[int, str] | None:
    """Return the size and SHA-256 of the document before this last line of a parity file; None if it is damaged."""
    found = _TRAILER.fullmatch(line)
    if found is None or int(found[1]) > MAX_DOCUMENT_BYTES:
        return None
    return int(found[1]), found[2].decode()


def parse(raw: bytes, where: str) -> Parity:
    """Return what a document says; it may be damaged or hostile. where: for messages. Raises: Malformed."""
    if len(raw) > MAX_DOCUMENT_BYTES or json_weight(raw) > MAX_WEIGHT:
        raise Malformed(f"{where} is larger than a parity document may be")
    try:
        value = json.loads(raw.decode("utf-8"))
        if value["format"] != FORMAT or value["version"] != VERSION:
            raise Malformed(f"{where} is not a parity document of version {VERSION}")
        return _checked(value)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Malformed(f"{where} is not a valid parity document") from error


def _checked(value: Any) -> Parity:
    """Raises: ValueError, KeyError or TypeError for whatever `to_bytes` would not write."""
    files = tuple(
        Covered(_name(one["name"]), _number(one["size"], 0, _MAX_BYTES), _sums(one["sums"])) for one in value["files"]
    )
    parity = tuple(
        ParityFile(
            _name(one["name"]),
            _number(one["first"], 0, MOST_BLOCKS),
            _number(one["rows"], 1, MOST_BLOCKS),
            _sums(one["sums"]),
        )
        for one in value["parity"]
    )
    shape = Shape(tuple(one.size for one in files), _number(value["rows"], 1, MOST_BLOCKS))
    layout = (value["slice"], value["columns"], value["stripes"])
    names = [one.name.lower() for one in files] + [one.name.lower() for one in parity]
    firsts = [0, *accumulate(one.count for one in parity)]
    fits = (
        len(set(names)) == len(names)
        and layout == (shape.slice_bytes, shape.columns, shape.stripes)
        and shape.columns + shape.rows <= MOST_BLOCKS
        and [len(one.sums) for one in files] == [end - start for start, end in pairwise(shape.starts)]
        and [len(one.sums) for one in parity] == [one.count * shape.stripes for one in parity]
        and [*(one.first for one in parity), shape.rows] == firsts
    )
    if not fits or type(value["subject"]) is not str or len(value["subject"].encode()) > 1024:
        raise ValueError
    return Parity(value["subject"], shape, files, parity)


def _name(value: Any) -> str:
    if type(value) is not str or not _NAME.fullmatch(value):
        raise ValueError
    return value


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError
    return value


def _sums(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(one) is str and _SUM.fullmatch(one) for one in value):
        raise ValueError
    return tuple(value)
