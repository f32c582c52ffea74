"""How content was written as gzip: the pieces of a segment and the corrections of its tokens, as bytes and back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mirrorsync.delta._deflate import Huffman, Predictor
from mirrorsync.delta.limits import HEADER_BYTES, HISTORY, RAW_BYTES, SEGMENT_BYTES
from mirrorsync.delta.numbers import Reader, number, string
from mirrorsync.delta.walk import Part, Piece, Raw, Walk
from mirrorsync.errors import Malformed

# Tokens that are looked at between two buffers; the compiled part has room for the corrections of so many.
_BATCH: Final = 8192
_RAW, _TRAILER, _BLOCK = range(3)
_BEGINS, _ENDS, _FINAL = 1, 2, 4
# How the header of a dynamic block is written: as it is, or as zlib or Go make it from the tokens of the block.
HEADER_STYLES: Final = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Written:
    """A part of a block as the delta has it: like Part, but only with the length of its content."""

    begins: bool
    ends: bool
    final: bool
    kind: int
    stored: int
    style: int
    header: bytes
    length: int


def described(walk: Walk, pieces: list[Piece], huffman: Huffman) -> bytes:
    """Return the pieces of a segment that `walk` has just read."""
    made = bytearray()
    style = 1
    for piece in pieces:
        if isinstance(piece, Raw):
            made += number(_RAW) + string(piece.data)
        elif not isinstance(piece, Part):
            made += number(_TRAILER)
        else:
            style = _style_of(piece, walk.tokens, huffman, style)
            flags = _BEGINS * piece.begins | _ENDS * piece.ends | _FINAL * piece.final | piece.kind << 3 | style << 5
            made += number(_BLOCK) + bytes((flags if piece.begins else flags & 7,)) + number(piece.stop - piece.start)
            if piece.begins and piece.kind == 0:
                made += number(piece.stored)
            if piece.begins and piece.kind == 2 and style == 0:
                made += string(piece.header)
    return bytes(made)


def _style_of(part: Part, tokens: memoryview, huffman: Huffman, before: int) -> int:
    if part.kind != 2 or not (part.begins and part.ends):
        return 0
    for style in sorted(HEADER_STYLES[1:], key=lambda style: style != before):
        if huffman.header(tokens, part.first, part.last, style) == part.header:
            return style
    return 0


def read_pieces(data: bytes) -> Iterator[Raw | Written | None]:
    """Yield the pieces; None is a right trailer. Raises: Malformed, also for pieces that make nothing: of these a few
    bytes could have millions.
    """
    source = io.BytesIO(data)
    reader = Reader(source)
    while source.tell() < len(data):
        operation = reader.number(_BLOCK)
        if operation == _RAW:
            raw = reader.string(RAW_BYTES + HEADER_BYTES)
            if not raw and source.tell() < len(data):  # a file that ends with a stream has an empty trailer
                raise Malformed("the delta has an empty piece")
            yield Raw(raw)
        elif operation == _TRAILER:
            yield None
        else:
            yield _block(reader)


def _block(reader: Reader) -> Written:
    (flags,) = reader.exactly(1)
    length = reader.number(SEGMENT_BYTES + 258)
    begins, kind, style = bool(flags & _BEGINS), flags >> 3 & 3, flags >> 5
    if kind > 2 or style not in HEADER_STYLES:
        raise Malformed("the delta has a block of an unknown kind")
    if not length and not flags & (_BEGINS | _ENDS):
        raise Malformed("the delta has an empty part of a block")
    stored = reader.number(0xFFFF) if begins and kind == 0 else 0
    header = reader.string(1 << 10) if begins and kind == 2 and style == 0 else b""
    return Written(begins, bool(flags & _ENDS), bool(flags & _FINAL), kind, stored, style, header, length)


def corrections(walk: Walk, pieces: list[Piece], predictor: Predictor) -> bytes:
    """Return the corrections for the tokens of a segment that `walk` has just read."""
    made = []
    floor = walk.began
    predictor.start(walk.buffer[: walk.at], floor, HISTORY)
    for piece in pieces:
        if not isinstance(piece, Part):
            continue
        if piece.floor != floor:
            floor = piece.floor
            predictor.member(floor)
        if piece.kind:
            at = piece.start
            end = piece.stop if piece.final and piece.ends else walk.at
            for first in range(piece.first, piece.last, _BATCH):
                last = min(first + _BATCH, piece.last)
                at, fixed = predictor.correct(walk.tokens, first, last, at, end)
                made.append(fixed)
    return b"".join(made)
