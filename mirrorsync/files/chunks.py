"""A blob's bytes in chunks, verified (digest and size) while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self

from mirrorsync.errors import Mismatch
from mirrorsync.files.hashing import hashing
from mirrorsync.oci.descriptor import Descriptor

# How much of a blob moves at a time. At 1 MiB the cost of a read is the copy itself and no longer the call (measured:
# 64 KiB chunks cost half as much CPU again).
CHUNK_BYTES: Final = 1024 * 1024


class VerifiedChunks:
    """A blob's chunks; a caller that reads all of them without an exception has the content that the descriptor names.

    A writer that commits only after the last chunk therefore never commits wrong content. Each instance can be
    iterated once. Raises, while iterating: Mismatch as soon as there are too many bytes, and at the end if there
    are too few or the digest differs; exceptions of the chunks pass through.
    """

    def __init__(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        self.blob = blob
        self._chunks = chunks
        self._proved = False

    @classmethod
    def elsewhere(cls, blob: Descriptor, chunks: Iterable[bytes]) -> Self:
        """Return chunks that another VerifiedChunks verifies, and that end with an exception if that fails.

        So one reader for several writers hashes once.
        """
        verified = cls(blob, chunks)
        verified._proved = True
        return verified

    @classmethod
    def of(cls, blob: Descriptor, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """Return `chunks` as verified chunks of `blob`: as they are if they are that already."""
        if isinstance(chunks, VerifiedChunks) and chunks.blob == blob:
            return chunks
        return cls(blob, chunks)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks) if self._proved else self._verifying()

    def _verifying(self) -> Iterator[bytes]:
        blob = self.blob
        size = 0
        chunks = iter(self._chunks)
        with hashing(blob.digest, blob.size) as hasher:
            for chunk in chunks:
                size += len(chunk)
                if size > blob.size:
                    raise _too_much(blob)
                hasher.update(chunk)
                if size == blob.size:
                    _check(blob, size, hasher.hexdigest())
                    # Checked before the last chunk is yielded: a registry completes an upload at its last byte.
                    if any(chunks):
                        raise _too_much(blob)
                yield chunk
            _check(blob, size, hasher.hexdigest())


def verified(blob: Descriptor, data: bytes) -> bytes:
    """Return `data` if it is the content of `blob`. Raises: Mismatch."""
    if len(data) != blob.size:
        raise Mismatch(f"blob {blob.digest} has {len(data)} bytes; its descriptor says {blob.size}", size=len(data))
    hasher = blob.digest.hasher()
    hasher.update(data)
    _check(blob, len(data), hasher.hexdigest())
    return data


def prove(content: Descriptor, chunks: Iterable[bytes], watch: Callable[[int], object]) -> None:
    """Read all chunks, and compare them with `content`. watch: is called with the bytes of each. Raises: Mismatch."""
    for chunk in VerifiedChunks(content, chunks):
        watch(len(chunk))


def _too_much(blob: Descriptor) -> Mismatch:
    return Mismatch(f"blob {blob.digest} has more than the {blob.size} bytes its descriptor says")


def _check(blob: Descriptor, size: int, encoded: str) -> None:
    if size != blob.size:
        raise Mismatch(f"blob {blob.digest} ends after {size} of {blob.size} bytes", size=size)
    if encoded != blob.digest.encoded:
        found = f"{blob.digest.algorithm}:{encoded}"
        raise Mismatch(f"blob does not match its digest: expected {blob.digest}, got {found}", size=size, digest=found)
