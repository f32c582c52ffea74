"""A delta is made: each segment of the new blob is compressed with the old content that is most like it before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from mirrorsync.delta import form
from mirrorsync.delta._deflate import BadResidual, Fingerprints, Huffman, NotDeflate, Predictor
from mirrorsync.delta.limits import HISTORY, PREDICTORS, SEARCH_STEPS, SEGMENT_BYTES, WINDOW_BYTES, WRITING_BYTES
from mirrorsync.delta.model import Blob, Head, Made, window_bytes
from mirrorsync.delta.numbers import number
from mirrorsync.delta.old import Hashed, Old, chunk_bytes_for, read_old
from mirrorsync.delta.pieces import corrections, described
from mirrorsync.delta.walk import Part, Piece, Walk, room
from mirrorsync.delta.zstd import Prefix, compressed

GZIP: Final = b"\x1f\x8b\x08"
_CONTENT_LEVEL: Final = 8
_WRITING_LEVEL: Final = 12
# Corrections of less than this part of the new blob are not worth reading the old blob's as well.
_FEW: Final = 0.005
# Tokens for which every predictor is tried, and the part of the blob from which none is looked for that is better.
_SAMPLE: Final = 1 << 16
_GOOD: Final = 0.01
# A blob of which that much comes out larger than this part of it is not like the old one: it is left. Less may be one
# new file that does not compress.
_ENOUGH: Final = 32 << 20
_HOPELESS: Final = 0.97
_INDEX_BITS: Final = 21
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Chosen:
    content: memoryview
    read: int
    writing: bytes
    predictor: int


def make(old: Blob, new: Blob, out: BinaryIO, limit: int) -> Made | None:
    """Write the delta from `old` to `new`; None if it would not be smaller than `limit` bytes, or is not possible.

    What was written to `out` is of no use then. Raises: Mismatch if a blob has not its digest; exceptions of the files
    pass through.
    """
    index, known, old_gzip = _indexed(old)
    new.file.seek(0)
    new_gzip = new.file.read(len(GZIP)) == GZIP
    new.file.seek(0)
    hashed = Hashed(new.file, new.digest)
    segments = _gzip_segments(hashed) if new_gzip else _plain_segments(hashed)
    head = Head(old.digest, old.size, old_gzip, new.digest, new.size, new_gzip, known.chunk_bytes)
    written = out.write(form.head_bytes(head))
    before = 0
    try:
        for chosen in segments:
            data = form.segment_bytes(_segment(chosen, known, index, chosen.read - before, head))
            written += out.write(data)
            before = chosen.read
            if written >= limit or (before > _ENOUGH and written > _HOPELESS * before):
                return None
    except (NotDeflate, BadResidual):  # the latter: what its compressor chose takes too long to find
        return None
    hashed.finish("the new blob")
    written += out.write(form.end_bytes())
    return Made(written, hashed.size) if written < limit else None


def _indexed(old: Blob) -> tuple[Fingerprints, Old, bool]:
    old.file.seek(0)
    gzip = old.file.read(len(GZIP)) == GZIP
    content = old.size * 4 if gzip else old.size
    rate = min(max((content >> (_INDEX_BITS - 2)).bit_length(), 6), 24)
    size = min(max((content >> rate).bit_length() + 2, 10), _INDEX_BITS)
    index = Fingerprints(rate, size)
    if gzip:
        chunk_bytes = chunk_bytes_for(old.size, gzip=True)
        try:
            return index, read_old(old.file, old.digest, gzip=True, chunk_bytes=chunk_bytes, seen=index.add), True
        except NotDeflate:
            index = Fingerprints(rate, size)
    chunk_bytes = chunk_bytes_for(old.size, gzip=False)
    return index, read_old(old.file, old.digest, gzip=False, chunk_bytes=chunk_bytes, seen=index.add), False


def _plain_segments(source: Hashed) -> Iterator[_Chosen]:
    content = room(SEGMENT_BYTES)
    while True:
        at = 0
        while data := source.read(min(_READ_BYTES, SEGMENT_BYTES - at)):
            content[at : at + len(data)] = data
            at += len(data)
        if not at:
            return
        yield _Chosen(content[:at], source.size, b"", 0)


def _gzip_segments(source: Hashed) -> Iterator[_Chosen]:
    walk, huffman = Walk(source.read, SEGMENT_BYTES, keep=True), Huffman()
    choice = -1
    predictor = _predictor(0)
    while not walk.done:
        pieces = walk.segment()
        if choice < 0 and any(isinstance(piece, Part) and piece.kind for piece in pieces):
            choice = _best_predictor(walk, pieces)
            predictor = _predictor(choice)
        told = described(walk, pieces, huffman)
        writing = number(len(told)) + told + corrections(walk, pieces, predictor)
        yield _Chosen(walk.buffer[HISTORY : walk.at], walk.position // 8, writing, max(choice, 0))


def _best_predictor(walk: Walk, pieces: Sequence[Piece]) -> int:
    """Return the predictor that needs the fewest corrections for the largest part of a segment, or its beginning."""
    part = max((piece for piece in pieces if isinstance(piece, Part) and piece.kind), key=lambda it: it.last - it.first)
    best, fewest = 0, 1 << 60
    content = walk.buffer[: walk.at]
    last = min(part.last, part.first + _SAMPLE)
    for choice in range(len(PREDICTORS)):
        predictor, size, at = _predictor(choice), 0, part.start
        predictor.start(content, part.floor, part.start)
        try:
            for first in range(part.first, last, 8192):
                at, fixed = predictor.correct(walk.tokens, first, min(first + 8192, last), at, walk.at)
                size += len(fixed)
        except BadResidual:  # it would take too long
            continue
        if size < fewest:
            best, fewest = choice, size
        if size < _GOOD * (last - part.first):
            break
    return best


def _predictor(choice: int) -> Predictor:
    return Predictor(PREDICTORS[choice], SEARCH_STEPS // 2)  # a reader allows more, however it counts


def _segment(chosen: _Chosen, old: Old, index: Fingerprints, read: int, head: Head) -> form.Segment:
    votes = index.vote(chosen.content, 0, len(chosen.content))
    chunks = choose(votes, max(1, WINDOW_BYTES // head.chunk_bytes))
    content = compressed(chosen.content, Prefix(old.content(chunks), window_bytes(chunks, head)), _CONTENT_LEVEL)
    if not head.new_gzip:
        return form.Segment(len(chosen.content), chunks, content, 0, 0, b"", by_old=False)
    writing, by_old = compressed(chosen.writing, Prefix(), _WRITING_LEVEL), False
    if head.old_gzip and len(writing) > _FEW * read:
        other = _by_old(chosen, old, chunks)
        if other is not None and len(other) < len(writing):
            writing, by_old = other, True
    return form.Segment(
        len(chosen.content), chunks, content, chosen.predictor, len(chosen.writing), writing, by_old=by_old
    )


def _by_old(chosen: _Chosen, old: Old, chunks: Sequence[int]) -> bytes | None:
    try:
        known = Prefix(old.writing(chunks, _predictor(chosen.predictor)), WRITING_BYTES)
    except BadResidual:
        return None
    return compressed(chosen.writing, known, _WRITING_LEVEL)


def choose(votes: Sequence[int], most: int) -> list[int]:
    """Return which chunks of the old content are read for a segment: those with most votes, then their neighbours.

    most: how many there may be. They are in the order of the old content.
    """
    if len(votes) <= most:
        return list(range(len(votes)))
    ranked = sorted((chunk for chunk, count in enumerate(votes) if count > 1), key=lambda chunk: -votes[chunk])
    chosen = set(ranked[:most])
    for chunk in ranked[:most]:
        for neighbour in (chunk + 1, chunk - 1):
            if len(chosen) < most and 0 <= neighbour < len(votes):
                chosen.add(neighbour)
    return sorted(chosen)
