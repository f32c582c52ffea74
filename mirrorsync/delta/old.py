"""The old blob: its content in chunks that can be read in any order, with what is needed to find and rebuild them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from mirrorsync.delta._deflate import Huffman, NotDeflate, Predictor
from mirrorsync.delta.limits import CHECKPOINTS_BYTES, CHUNK_BYTES, CHUNKS, HISTORY, SEGMENT_BYTES
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
    def size(self) -> int:
        """How many bytes the blob has."""

    @property
    def count(self) -> int:
        """How many chunks its content has."""

    def content(self, chunk: int) -> bytes:
        """Return the content of a chunk."""

    def writing(self, chunk: int, predictor: Predictor) -> bytes:
        """Return how a chunk was written as gzip: its pieces and the corrections of its tokens."""


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

    def content(self, chunk: int) -> bytes:
        """Return the content of a chunk."""
        self.file.seek(chunk * self.chunk_bytes)
        return self.file.read(self.chunk_bytes)

    def writing(self, chunk: int, predictor: Predictor) -> bytes:  # noqa: ARG002 # as the protocol has it
        """Return b"": it was not written as gzip."""
        return b""


@dataclass(frozen=True, slots=True)
class OldGzip:
    """A gzip file, with a checkpoint at the beginning of each chunk of its content."""

    file: BinaryIO
    size: int
    chunk_bytes: int
    checkpoints: Sequence[Checkpoint]

    @property
    def count(self) -> int:
        """How many chunks its content has."""
        return len(self.checkpoints)

    def content(self, chunk: int) -> bytes:
        """Return the content of a chunk."""
        walk = self._walk(chunk, keep=False)
        walk.segment()
        return bytes(walk.buffer[HISTORY : walk.at])

    def writing(self, chunk: int, predictor: Predictor) -> bytes:
        """Return how a chunk was written: the length of its pieces, its pieces, the corrections of its tokens."""
        walk = self._walk(chunk, keep=True)
        pieces = walk.segment()
        told = described(walk, pieces, Huffman())
        return number(len(told)) + told + corrections(walk, pieces, predictor)

    def _walk(self, chunk: int, *, keep: bool) -> Walk:
        checkpoint = self.checkpoints[chunk]
        self.file.seek(checkpoint.bits // 8)
        return Walk(self.file.read, self.chunk_bytes, keep=keep, start=checkpoint)


def joined(parts: Iterable[bytes]) -> bytearray:
    """Return the parts one after the other; unlike `b"".join` it never holds all of them twice."""
    made = bytearray()
    for part in parts:
        made += part
    return made


def chunk_bytes_for(size: int) -> int:
    """Return the content of a chunk of an old blob of `size` bytes."""
    return min(max(CHUNK_BYTES, -(-size * 4 // CHUNKS)), SEGMENT_BYTES)


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
    checkpoints: list[Checkpoint] = []
    kept = 0
    walk = Walk(hashed.read, chunk_bytes, keep=False)
    try:
        while not walk.done:
            checkpoints.append(walk.checkpoint())
            kept += checkpoints[-1].weight
            if kept > CHECKPOINTS_BYTES:
                raise NotDeflate("it has too much content for its size")
            walk.segment()
            seen(walk.buffer, HISTORY, walk.at)
    except NotDeflate:
        hashed.finish(_WHAT)  # that it is another blob is the better reason
        raise
    hashed.finish(_WHAT)
    return OldGzip(file, hashed.size, chunk_bytes, checkpoints)
