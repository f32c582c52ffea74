"""A delta as it is written: a head, segments, an end. docs/delta-format.md describes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.delta.limits import CHUNK_BYTES, PREDICTORS, SEGMENT_BYTES, WINDOW_BYTES, WRITING_BYTES
from mirrorsync.delta.model import Head
from mirrorsync.delta.numbers import Reader, Source, number, string
from mirrorsync.errors import GrammarError, Malformed
from mirrorsync.oci.digest import Digest

MAGIC: Final = b"mirrorsync delta\n"
VERSION: Final = 1
# What the document of a bundle calls this format.
KIND: Final = f"mirrorsync-{VERSION}"
_SIZE: Final = 1 << 50
_CONTENT: Final = SEGMENT_BYTES + 258
_OLD_GZIP, _NEW_GZIP = 1, 2
_END, _SEGMENT, _SEGMENT_BY_OLD = range(3)


@dataclass(frozen=True, slots=True)
class Segment:
    """Some content of the new blob, and how it was written.

    size: of the content; chunks: of the old content, which is before the content for zstd; content: its frame;
    predictor: a number of PREDICTORS; writing_size, writing: pieces and corrections and their frame, b"" if the new
    blob is its content; by_old: whether the writing of the same old chunks is before it.
    """

    size: int
    chunks: Sequence[int]
    content: bytes
    predictor: int
    writing_size: int
    writing: bytes
    by_old: bool


def head_bytes(head: Head) -> bytes:
    """Return the head of a delta."""
    made = MAGIC + number(VERSION) + number(_OLD_GZIP * head.old_gzip | _NEW_GZIP * head.new_gzip)
    made += string(head.old.encode()) + number(head.old_size) + string(head.new.encode()) + number(head.new_size)
    return made + number(head.chunk_bytes)


def read_head(source: Source) -> Head:
    """Return the head of a delta. Raises: Malformed if it is not one, or of another version."""
    reader = Reader(source)
    if reader.exactly(len(MAGIC)) != MAGIC:
        raise Malformed("this is not a delta of mirrorsync")
    version = reader.number(1 << 32)
    if version != VERSION:
        raise Malformed(f"a delta of version {version}; this mirrorsync reads {VERSION}")
    flags = reader.number(_OLD_GZIP | _NEW_GZIP)
    try:
        old, old_size = Digest(reader.string(200).decode("ascii", "replace")), reader.number(_SIZE)
        new, new_size = Digest(reader.string(200).decode("ascii", "replace")), reader.number(_SIZE)
    except GrammarError as error:
        raise Malformed(f"the delta names no digest: {error.message}") from error
    chunk_bytes = reader.number(SEGMENT_BYTES)
    if chunk_bytes < CHUNK_BYTES:
        raise Malformed("the delta has chunks that are too small")  # what is kept of each would be too much
    return Head(old, old_size, bool(flags & _OLD_GZIP), new, new_size, bool(flags & _NEW_GZIP), chunk_bytes)


def segment_bytes(segment: Segment) -> bytes:
    """Return a segment as it is written."""
    runs: list[list[int]] = []
    for chunk in segment.chunks:
        if runs and sum(runs[-1]) == chunk:
            runs[-1][1] += 1
        else:
            runs.append([chunk, 1])
    made = number(_SEGMENT_BY_OLD if segment.by_old else _SEGMENT) + number(segment.size) + number(len(runs))
    for first, count in runs:
        made += number(first) + number(count)
    content = (number(len(segment.content)), segment.content)
    writing = (number(segment.writing_size), number(len(segment.writing)), segment.writing)
    return b"".join((made, *content, number(segment.predictor), *writing))


def end_bytes() -> bytes:
    """Return the end of a delta."""
    return number(_END)


def read_segments(source: Source, head: Head) -> Iterator[Segment]:
    """Yield the segments after the head. Raises: Malformed if a value is above its limit, or the delta ends early."""
    reader = Reader(source)
    most = WINDOW_BYTES // head.chunk_bytes
    while kind := reader.number(_SEGMENT_BY_OLD):
        size = reader.number(_CONTENT)
        chunks: list[int] = []
        for _ in range(reader.number(most)):
            first, count = reader.number(_SIZE), reader.number(most - len(chunks))
            if chunks and first <= chunks[-1]:
                raise Malformed("the delta has a window whose chunks are not in order")
            chunks.extend(range(first, first + count))
        content = reader.string(_CONTENT + (1 << 16))
        predictor = reader.number(len(PREDICTORS) - 1)
        writing_size = reader.number(WRITING_BYTES if head.new_gzip else 0)
        writing = reader.string(writing_size + (1 << 16) if head.new_gzip else 0)
        yield Segment(size, chunks, content, predictor, writing_size, writing, kind == _SEGMENT_BY_OLD)
    if source.read(1):
        raise Malformed("data follows the end of the delta")
