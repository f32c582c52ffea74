"""The old blob: its content in chunks that can be read in any order, with what is needed to find and rebuild them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from mirrorsync.delta._deflate import Huffman, NotDeflate, Predictor
from mirrorsync.delta.limits import (
    CHECKPOINTS,
    CHUNK_BYTES,
    CHUNKS,
    HISTORY,
    MOST_CHUNKS,
    SEGMENT_BYTES,
)
from mirrorsync.delta.numbers import number
from mirrorsync.delta.pieces import corrections, described
from mirrorsync.delta.walk import Checkpoint, Walk
from mirrorsync.errors import Mismatch
from mirrorsync.oci.digest import Digest

_READ_BYTES: Final = 1 << 20
_WHAT: Final = "the old blob"

Seen = Callable[[bytes | bytearray | memoryview, int, int], None]


class Old(Protocol):
    """The old blob after it was read once."""

    @property
    def chunk_bytes(self) -> int:
        """How much content a chunk has."""

    @property
    def count(self) -> int:
        """How many chunks its content has."""

    def content(self, chunks: Sequence[int]) -> Iterator[bytes]:
        """Yield the content of each of some chunks, which are in order."""

    def writing(self, chunks: Sequence[int], predictor: Predictor) -> Iterator[bytes]:
        """Yield how each chunk was written as gzip: its pieces and the corrections of its tokens."""


class Hashed:
    """A file that is read to its end, and hashed on the way."""

    def __init__(self, file: BinaryIO, expected: Digest) -> None:
        self._file = file
        self._expected = expected
        self._hash = expected.hasher()
        self.size = 0

    def read(self, count: int) -> bytes:
        """Return at most `count` bytes, b"" at the end."""
        data = self._file.read(count)
        self._hash.update(data)
        self.size += len(data)
        return data

    def finish(self, what: str) -> None:
        """Read what is left. what: names the file. Raises: Mismatch if it has not the expected digest."""
        while self.read(_READ_BYTES):
            pass
        digest = f"{self._expected.algorithm}:{self._hash.hexdigest()}"
        if digest != self._expected:
            raise Mismatch(f"{what} has the digest {digest}, not {self._expected}", size=self.size, digest=digest)


@dataclass(frozen=True, slots=True)
class OldBytes:
    """A blob that is its own content."""

    file: BinaryIO
    size: int
    chunk_bytes: int

    @property
    def count(self) -> int:
        """How many chunks its content has."""
        return -(-self.size // self.chunk_bytes)

    def content(self, chunks: Sequence[int]) -> Iterator[bytes]:
        """Yield the content of each chunk."""
        for chunk in chunks:
            self.file.seek(chunk * self.chunk_bytes)
            yield self.file.read(self.chunk_bytes)

    def writing(self, chunks: Sequence[int], predictor: Predictor) -> Iterator[bytes]:  # noqa: ARG002 # the protocol's
        """Yield nothing: it was not written as gzip."""
        return iter(())


@dataclass(frozen=True, slots=True)
class OldGzip:
    """A gzip file. checkpoints: where chunk 0 of its content begins, chunk `every`, and so on."""

    file: BinaryIO
    chunk_bytes: int
    count: int
    checkpoints: Sequence[Checkpoint]
    every: int

    def content(self, chunks: Sequence[int]) -> Iterator[bytes]:
        """Yield the content of each chunk."""
        for walk in self._walks(chunks):
            walk.segment()
            yield bytes(walk.buffer[HISTORY : walk.at])

    def writing(self, chunks: Sequence[int], predictor: Predictor) -> Iterator[bytes]:
        """Yield how each chunk was written: the length of its pieces, its pieces, the corrections of its tokens."""
        huffman = Huffman()
        for walk in self._walks(chunks):
            kept = self._resumed(walk.checkpoint(), keep=True)
            pieces = kept.segment()
            told = described(kept, pieces, huffman)
            yield number(len(told)) + told + corrections(kept, pieces, predictor)
            walk.segment()

    def _walks(self, chunks: Sequence[int]) -> Iterator[Walk]:
        """Yield a walk that is at the beginning of each chunk, and has to read it: it may be used for the next one."""
        walk, reached = None, 0
        for chunk in chunks:
            nearest = chunk - chunk % self.every
            if walk is None or reached < nearest:
                walk, reached = self._resumed(self.checkpoints[chunk // self.every], keep=False), nearest
            for _ in range(reached, chunk):
                walk.segment()
            yield walk
            reached = chunk + 1

    def _resumed(self, checkpoint: Checkpoint, *, keep: bool) -> Walk:
        at = checkpoint.bits // 8

        def read(count: int) -> bytes:
            nonlocal at
            self.file.seek(at)  # another walk has read from elsewhere
            data = self.file.read(count)
            at += len(data)
            return data

        return Walk(read, self.chunk_bytes, keep=keep, start=checkpoint)


def chunk_bytes_for(size: int, *, gzip: bool) -> int:
    """Return the content of a chunk of an old blob of `size` bytes."""
    content = 4 * size if gzip else size
    return min(max(CHUNK_BYTES, -(-content // CHUNKS)), SEGMENT_BYTES)


def read_old(file: BinaryIO, digest: Digest, *, gzip: bool, chunk_bytes: int, seen: Seen) -> Old:
    """Read the old blob once, from the beginning to the end.

    seen: is called for each chunk with a buffer and where the chunk begins and ends in it. Raises: NotDeflate if it
    should be gzip and is not, or expands to too much; Mismatch if it has not that digest.
    """
    file.seek(0)
    hashed = Hashed(file, digest)
    if not gzip:
        while data := hashed.read(chunk_bytes):
            while len(data) < chunk_bytes and (more := hashed.read(chunk_bytes - len(data))):
                data += more
            seen(data, 0, len(data))
        hashed.finish(_WHAT)
        return OldBytes(file, hashed.size, chunk_bytes)
    try:
        count, checkpoints, every = _walked(Walk(hashed.read, chunk_bytes, keep=False), seen)
    except NotDeflate:
        hashed.finish(_WHAT)  # that it is another blob is the better reason
        raise
    hashed.finish(_WHAT)
    return OldGzip(file, chunk_bytes, count, checkpoints, every)


def _walked(walk: Walk, seen: Seen) -> tuple[int, list[Checkpoint], int]:
    """Read to the end; return how many chunks there are, checkpoints, and how many chunks are from one to the next."""
    checkpoints: list[Checkpoint] = []
    count, every = 0, 1
    while not walk.done:
        if count == MOST_CHUNKS:
            raise NotDeflate("it has too much content for its size")
        if count % every == 0:
            if len(checkpoints) == CHECKPOINTS:
                del checkpoints[1::2]
                every *= 2
            checkpoints.append(walk.checkpoint())
        walk.segment()
        seen(walk.buffer, HISTORY, walk.at)
        count += 1
    return count, checkpoints, every
