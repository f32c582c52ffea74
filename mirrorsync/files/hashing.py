"""Digests of large content, computed in a thread of their own while the caller reads and writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, Protocol

from mirrorsync.oci.digest import Digest

# Content up to this size, in bytes, is hashed by the caller: a thread costs more than it saves.
_INLINE_BYTES: Final = 2 * 1024 * 1024
# Chunks that are read and not hashed yet. With 4 the allocator gives memory back and takes it again all the time: seven
# times as many page faults, and no gain (measured).
_BEHIND: Final = 2


class Hasher(Protocol):
    """What a digest is computed with."""

    def update(self, data: bytes, /) -> object:
        """Add bytes, which must not change afterwards."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""


@contextmanager
def hashing(digest: Digest, size: int) -> Iterator[Hasher]:
    """Return what computes a digest of `size` bytes, in a thread if they are many. digest: of the same algorithm.

    SHA-256 takes about as long as reading and writing the same bytes together, and hashlib releases the GIL: with two
    cores a blob is copied in half the time.
    """
    if size <= _INLINE_BYTES:
        yield digest.hasher()
        return
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as thread:
        yield _Behind(digest.hasher(), thread)


class _Behind:
    """A hasher that gets its bytes in another thread, a few chunks later."""

    def __init__(self, hasher: Hasher, thread: ThreadPoolExecutor) -> None:
        self._hasher = hasher
        self._thread = thread
        self._pending: deque[Future[object]] = deque()

    def update(self, data: bytes, /) -> None:
        self._pending.append(self._thread.submit(self._hasher.update, data))
        if len(self._pending) > _BEHIND:
            self._pending.popleft().result()

    def hexdigest(self) -> str:
        while self._pending:
            self._pending.popleft().result()
        return self._hasher.hexdigest()
