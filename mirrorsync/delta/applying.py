"""A delta is applied: the new blob is rebuilt from the old one, bit for bit."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from mirrorsync.delta import form
from mirrorsync.delta._deflate import BadResidual, Encoder, Huffman, NotDeflate, Predictor
from mirrorsync.delta.limits import (
    HISTORY,
    LEAST_SEGMENT_BYTES,
    PREDICTORS,
    SEARCH_STEPS,
    SEGMENT_TOKENS,
    WRITING_BYTES,
)
from mirrorsync.delta.model import Head, window_bytes
from mirrorsync.delta.numbers import Reader
from mirrorsync.delta.old import Old, read_old
from mirrorsync.delta.pieces import Written, read_pieces
from mirrorsync.delta.walk import Raw, room
from mirrorsync.delta.zstd import Prefix, decompress
from mirrorsync.errors import Malformed, Mismatch

_YIELD_BYTES: Final = 1 << 16
_BATCH: Final = 16384


def apply(old: BinaryIO, delta: BinaryIO) -> Iterator[bytes]:
    """Yield the new blob. The last piece comes only after the digest of everything was right.

    old: a file that can seek; delta: is read once, from where it is to its end. Raises: Malformed if the delta is
    damaged; Mismatch if the old blob is not the one that the delta is for, or the result has not its digest.
    """
    head = form.read_head(delta)
    try:
        known = read_old(old, head.old, gzip=head.old_gzip, chunk_bytes=head.chunk_bytes, seen=lambda *_: None)
        pieces = _rebuilt(known, head, delta)
        hashed, size, held = head.new.hasher(), 0, b""
        for data in pieces:
            size += len(data)
            if size > head.new_size:
                raise Malformed("the delta makes more than it says")
            hashed.update(data)
            if held:
                yield held
            held = data
    except (NotDeflate, BadResidual, IndexError) as error:
        raise Malformed(f"the delta does not fit the old blob: {error}") from error
    digest = f"{head.new.algorithm}:{hashed.hexdigest()}"
    if size != head.new_size or digest != head.new:
        raise Mismatch(f"the rebuilt blob has the digest {digest}, not {head.new}", size=size, digest=digest)
    if held:
        yield held


def _rebuilt(old: Old, head: Head, delta: BinaryIO) -> Iterator[bytes]:
    rebuilder = Rebuilder()
    made = 0
    for number, segment in enumerate(form.read_segments(delta, head)):
        # Each costs the decompression of its window, even if it has a few bytes and makes none.
        if made < number * LEAST_SEGMENT_BYTES - 4 * _YIELD_BYTES:
            raise Malformed("the delta has segments that make too little")
        for data in _segment(old, head, segment, rebuilder):
            made += len(data)
            yield data
    yield from rebuilder.finish()


def _segment(old: Old, head: Head, segment: form.Segment, rebuilder: Rebuilder) -> Iterator[bytes]:
    if any(chunk >= old.count for chunk in segment.chunks):
        raise Malformed("the delta refers to more than the old blob has")
    content = rebuilder.room(segment.size)
    decompress(segment.content, Prefix(old.content(segment.chunks), window_bytes(segment.chunks, head)), content)
    if not head.new_gzip:
        yield from (bytes(content[at : at + _YIELD_BYTES]) for at in range(0, len(content), _YIELD_BYTES))
        return
    predictor = Predictor(PREDICTORS[segment.predictor], SEARCH_STEPS)
    known = Prefix(old.writing(segment.chunks, predictor), WRITING_BYTES) if segment.by_old else Prefix()
    writing = room(segment.writing_size)
    decompress(segment.writing, known, writing)
    del known
    yield from rebuilder.segment(writing, predictor)


class Rebuilder:
    """Writes segments of content as the gzip file that they are from: first `room`, then `segment`."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._huffman = Huffman()
        self._tokens = room(4 * SEGMENT_TOKENS).cast("I")
        self._buffer = room(HISTORY)  # the content of a segment and HISTORY bytes before it
        self._floor = HISTORY  # where the member begins in the buffer, which is history and content
        self._crc = self._length = 0
        self._body = False  # a deflate stream has begun and not ended
        self._block: Written | None = None  # has begun and not ended
        self._made = bytearray()

    def room(self, size: int) -> memoryview:
        """Return where the content of the next segment is expected."""
        buffer = room(HISTORY + size)
        buffer[:HISTORY] = self._buffer[-HISTORY:]
        self._buffer = buffer
        return buffer[HISTORY:]

    def segment(self, writing: memoryview, predictor: Predictor) -> Iterator[bytes]:
        """Yield the bytes of a segment. Raises: Malformed or BadResidual if what was written does not fit."""
        buffer = self._buffer
        told, residual = _split(writing)
        predictor.start(buffer, self._floor, HISTORY, residual)
        at = HISTORY
        for piece in read_pieces(told):
            if isinstance(piece, Written):
                self._begin(at, predictor)
                if at + piece.length > len(buffer):
                    raise Malformed("the delta has blocks that are longer than their content")
                yield from self._part(buffer, at, piece, predictor)
                at += piece.length
            else:
                self._between(piece)
            if len(self._made) >= _YIELD_BYTES:
                yield self._taken()
        if at != len(buffer):
            raise Malformed("the delta has content that is in no block")
        self._floor = max(0, self._floor - (len(buffer) - HISTORY))

    def finish(self) -> Iterator[bytes]:
        """Yield what is left."""
        if self._made:
            yield self._taken()

    def _taken(self) -> bytes:
        taken = bytes(self._made)
        self._made.clear()
        return taken

    def _begin(self, at: int, predictor: Predictor) -> None:
        if not self._body:
            self._body = True
            self._crc = self._length = 0
            if self._floor != at:
                self._floor = at
                predictor.member(at)

    def _between(self, piece: Raw | None) -> None:
        self._encoder.align()
        self._made += self._encoder.take()
        if piece:
            self._made += piece.data
        else:
            self._made += self._crc.to_bytes(4, "little") + (self._length & 0xFFFFFFFF).to_bytes(4, "little")

    def _part(self, buffer: memoryview, at: int, piece: Written, predictor: Predictor) -> Iterator[bytes]:
        if piece.begins == (self._block is not None):
            raise Malformed("the delta has a block inside another, or the end of none")
        block = self._block or piece
        stop = at + piece.length
        self._crc = zlib.crc32(buffer[at:stop], self._crc)
        self._length += piece.length
        if block.kind == 0:
            if piece.begins:
                self._encoder.begin(block.final, 0, block.stored, b"")
                self._made += self._encoder.take()
            self._made += buffer[at:stop]
        else:
            end = stop if block.final and piece.ends else len(buffer)
            last = predictor.restore(self._tokens, 0, at, stop, end)
            if piece.begins:
                header = self._huffman.header(self._tokens, 0, last, piece.style) if piece.style else piece.header
                self._encoder.begin(block.final, block.kind, 0, header)
                self._made += self._encoder.take()
            for first in range(0, last, _BATCH):
                self._encoder.encode(self._tokens, first, min(first + _BATCH, last))
                self._made += self._encoder.take()
                if len(self._made) >= _YIELD_BYTES:
                    yield self._taken()
            if piece.ends:
                self._encoder.end()
        self._block = None if piece.ends else block
        self._body = not (piece.ends and block.final)


def _split(writing: memoryview) -> tuple[bytes, memoryview]:
    source = io.BytesIO(writing[:16])
    size = Reader(source).number(len(writing))
    first = source.tell()
    if size > len(writing) - first:
        raise Malformed("the delta ends early")
    return bytes(writing[first : first + size]), writing[first + size :]
