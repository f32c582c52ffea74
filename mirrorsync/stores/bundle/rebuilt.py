"""Blobs that are rebuilt from a delta in a part, and from an older blob that the destination has."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, cast

from mirrorsync.delta import apply
from mirrorsync.errors import IntegrityError
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.files.disk import translated
from mirrorsync.files.unnamed import unnamed_file
from mirrorsync.oci.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class Base:
    """A blob that deltas are applied to. opened: opens it for reading, blocking."""

    content: Descriptor
    opened: Callable[[], AbstractContextManager[Iterator[bytes]]]


def rebuilt(base: Base, delta: Iterator[bytes], offset: int = 0) -> Iterator[bytes]:
    """Yield the bytes of a blob from `offset` on. Blocking; `base` is copied to a temporary file, which is sought.

    The last bytes come only after the digest of all was right. Raises: Mismatch if the base or the delta is damaged,
    Malformed, StorageError; errors of reading either pass through.
    """
    with translated("reading the base of a delta into a temporary file"), unnamed_file() as old:
        try:
            with base.opened() as chunks:
                for chunk in VerifiedChunks(base.content, chunks):
                    old.write(chunk)
        except IntegrityError as error:
            raise error.with_(
                message=f"the delta's base is damaged: {error.message}",
                remedy="apply the bundle again: its images wait then, and are in the answer code",
            ) from error
        old.seek(0)
        for data in apply(cast("BinaryIO", old), cast("BinaryIO", io.BufferedReader(_Reader(delta)))):
            if offset < len(data):
                yield data[offset:]
            offset = max(0, offset - len(data))


class _Reader(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed wants every kind of buffer
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
