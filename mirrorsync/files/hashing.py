"""Digests of large content, computed in a thread of their own while the caller reads and writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

from mirrorsync.oci.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash

# Content up to this size, in bytes, is hashed by the caller: a thread costs more than it saves.
_INLINE_BYTES: Final = 2 * 1024 * 1024
# Chunks that are read and not hashed yet; with 4 nothing is faster (measured).
_BEHIND: Final = 2
# glibc gives memory back from twice this size on. It begins with a size that a few chunks exceed, so that it would give
# back and take again all the time: up to 70,000 page faults for each GiB, 7 % of the CPU that a download costs.
_KEPT_BYTES: Final = 8 * 1024 * 1024


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
    behind = Behind(digest.hasher())
    try:
        yield behind
    finally:
        behind.end()


class Behind:
    """A hasher that gets its bytes in another thread, a few chunks later. `end` it.

    A stream that fails may be left to the garbage collector, which ends it in whatever thread it runs: also in one that
    is just beginning, and holds a lock of the interpreter that a join needs. So nothing waits for the thread to end;
    and `SimpleQueue.put`, unlike that of other queues, may be called there.
    """

    def __init__(self, hasher: _Hash) -> None:
        _keep_freed()
        self._hasher = hasher
        self._given: SimpleQueue[bytes | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._pending = 0
        work = (hasher, self._given, self._done)
        threading.Thread(target=_hash, args=work, name="hash", daemon=True).start()

    def update(self, data: bytes, /) -> None:
        """Add bytes, which must not change afterwards; wait if the thread is more than two chunks behind."""
        self._given.put(data)
        self._pending += 1
        if self._pending > _BEHIND:
            self._wait()

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        return self.settled().hexdigest()

    def settled(self) -> _Hash:
        """Return the hasher after it got all bytes; it may be used until the next `update`."""
        while self._pending:
            self._wait()
        return self._hasher

    def end(self) -> None:
        """Let the thread end, after what it was given."""
        self._given.put(None)

    def _wait(self) -> None:
        self._pending -= 1
        error = self._done.get()
        if error is not None:
            raise error


def _hash(hasher: Hasher, given: SimpleQueue[bytes | None], done: SimpleQueue[BaseException | None]) -> None:
    while (data := given.get()) is not None:
        try:
            hasher.update(data)
        except BaseException as error:  # noqa: BLE001 - raised by the caller's next update
            done.put(error)
        else:
            done.put(None)


@cache
def _keep_freed() -> None:
    """Let the allocator keep what chunks free for those that follow; once for the process.

    If a block of this size is freed, glibc takes it for a common one, and raises its limits (mallopt(3), "dynamic mmap
    threshold"). Nothing is written to it, so it takes no memory. Other allocators have no such limit.
    """
    bytes(_KEPT_BYTES)
