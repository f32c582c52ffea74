"""A gzip file read from front to back, or from a checkpoint on: content, and the pieces that it was written as."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap

from mirrorsync.delta._deflate import Decoder, NotDeflate
from mirrorsync.delta.limits import HEADER_BYTES, HISTORY, RAW_BYTES, SEGMENT_PIECES, SEGMENT_TOKENS


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes outside of deflate streams, as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Trailer:
    """A member's trailer with the right CRC32 and size."""


@dataclass(frozen=True, slots=True)
class Part:
    """A deflate block, or the part of one that is in this segment.

    begins, ends: whether the block begins and ends here; final, kind: as in deflate; stored: the length of a stored
    block; header: of a dynamic block, see Decoder.header; start, stop: of its content in the buffer; first, last: of
    its tokens; floor: where its member begins in the buffer, 0 if that is before.
    """

    begins: bool
    ends: bool
    final: bool
    kind: int
    stored: int
    header: bytes
    start: int
    stop: int
    first: int
    last: int
    floor: int


Piece = Raw | Trailer | Part


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place from which a gzip file can be read on.

    bits: its position; state: of the block that it is in, None between blocks; history: the content before, in the
    same member, compressed; body: whether a deflate stream goes on (otherwise a header or the end follows).
    """

    bits: int
    state: tuple[int, int, int, int, int, bytes] | None
    history: bytes
    body: bool


def room(size: int) -> memoryview:
    """Return zeros that need no memory until they are written, and give it back when nothing refers to them."""
    return memoryview(mmap(-1, max(size, 1)))[:size]


class Walk:
    """Reads a gzip file, segment by segment.

    `buffer` has HISTORY bytes of earlier content and then the content of the segment, until `at`; `floor` is where the
    member begins that is read, `began` where the one began that the segment begins in; `tokens` has the tokens of the
    segment if they are kept. Raises: NotDeflate if the file is not
    gzip; exceptions of `read` pass through.
    """

    def __init__(self, read: Callable[[int], bytes], size: int, *, keep: bool, start: Checkpoint | None = None) -> None:
        self.buffer = room(HISTORY + size + 258)
        self.tokens = room(4 * (min(SEGMENT_TOKENS, size + 258) if keep else 1 << 16)).cast("I")
        self.at = self.floor = HISTORY
        self.began = HISTORY
        self.done = False
        self._keep = keep
        self._size = size
        self._body = False
        self._crc = self._length = 0
        self._members = 0
        self._decoder = Decoder(read, start.bits // 8 if start else 0)
        if start:
            self._decoder.resume(start.bits % 8, start.state)
            history = zlib.decompress(start.history) if start.history else b""
            self.floor = HISTORY - len(history)
            self.buffer[self.floor : HISTORY] = history
            self._body = start.body
            self._members = 1

    @property
    def position(self) -> int:
        """Where the file is read, in bits."""
        return self._decoder.position

    def checkpoint(self) -> Checkpoint:
        """Return where the next segment begins."""
        history = zlib.compress(self.buffer[max(self.floor, self.at - HISTORY) : self.at], 1)
        return Checkpoint(self._decoder.position, self._decoder.state(), history if self._body else b"", self._body)

    def segment(self, most: int = SEGMENT_TOKENS) -> list[Piece]:
        """Read until the content has `size` bytes or `most` tokens, or the file ends (then `done` is True).

        Also until there are RAW_BYTES outside of streams, or SEGMENT_PIECES pieces.
        """
        self._slide()
        pieces: list[Piece] = []
        raw = written = 0
        end = HISTORY + self._size
        while self.at < end and written < most and raw < RAW_BYTES and len(pieces) < SEGMENT_PIECES:
            if not self._body:
                data = self._between()
                if not data:
                    self.done = True
                    break
                raw += len(data)
                pieces.append(Raw(data))
                continue
            part, written = self._part(written if self._keep else 0, most)
            pieces.append(part)
            if part.ends and part.final:
                self._decoder.align()
                trailer = self._decoder.take(8)
                right = trailer == self._crc.to_bytes(4, "little") + (self._length & 0xFFFFFFFF).to_bytes(4, "little")
                pieces.append(Trailer() if right and self._keep else Raw(trailer))
                raw += len(trailer)
                self._body = False
        return pieces

    def _slide(self) -> None:
        moved = self.at - HISTORY
        self.buffer[:HISTORY] = self.buffer[moved : self.at]
        self.floor = self.began = max(0, self.floor - moved)
        self.at = HISTORY

    def _part(self, first: int, most: int) -> tuple[Part, int]:
        decoder, start = self._decoder, self.at
        begins = not decoder.inside
        if begins:
            decoder.begin()
        stored = decoder.stored
        header = decoder.header if begins else b""
        written = first
        limit = HISTORY + self._size
        while True:
            tokens = self.tokens[:most] if self._keep else self.tokens
            self.at, written = decoder.decode(self.buffer, self.floor, self.at, limit, tokens, written)
            if self._keep or not decoder.inside or self.at >= limit:
                break
            written = 0
        if self._keep:
            self._crc = zlib.crc32(self.buffer[start : self.at], self._crc)
            self._length += self.at - start
        ends = not decoder.inside
        part = Part(
            begins, ends, bool(decoder.final), decoder.kind, stored, header, start, self.at, first, written, self.floor
        )
        return part, written

    def _between(self) -> bytes:
        """Read the header of the next member, or data that is not one; b"" at the end of the file."""
        take = self._decoder.take
        header = bytearray(take(10))
        if len(header) == 10 and header[:3] == b"\x1f\x8b\x08":
            flags = header[3]
            if flags & 4:
                length = take(2)
                header += length + take(int.from_bytes(length, "little"))
            for flag in (8, 16):  # a name, a comment
                while flags & flag and len(header) < HEADER_BYTES:
                    byte = take(1)
                    header += byte
                    if byte in (b"\0", b""):
                        break
            if flags & 2:
                header += take(2)
            self._body = True
            self._crc = self._length = 0
            self._members += 1
            self.floor = self.at
            return bytes(header)
        if not self._members:
            raise NotDeflate("not a gzip file")
        return bytes(header) + take((1 << 16) - len(header)) if header else b""
