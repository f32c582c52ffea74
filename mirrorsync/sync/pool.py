"""Bounded concurrency for questions: many at a time, never one task for each of a hundred thousand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from mirrorsync.errors import MirrorsyncError
from mirrorsync.files.chunks import CHUNK_BYTES

K = TypeVar("K")
V = TypeVar("V")

# Enough to hide 100 ms of round trip behind one event loop's work, where a connection carries many questions at a time.
# The registry client holds the limit of each host.
QUESTIONS_AT_ONCE = 128
# Steps have small blobs in memory, and a step that learns of a host's limit learns it too late for those that run now.
STEPS_AT_ONCE = 64
# Two cores are busy with four streams: one waits for the network or the disk while the other one hashes.
STREAMS_AT_ONCE = 4
# Up to this size a blob is transferred as a whole, on the event loop, with thousands of its kind. A larger one is
# streamed: a thread reads, hashes and writes it without the event loop.
SMALL_BYTES = CHUNK_BYTES


async def for_each(items: Iterable[V], work: Callable[[V], Awaitable[None]], limit: int = QUESTIONS_AT_ONCE) -> None:
    """Await `work` for every item, at most `limit` at a time; items are taken as workers come free."""
    source = iter(items)

    async def worker() -> None:
        for item in source:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(worker())


class Answers(Generic[K, V]):
    """Asks each question once, however many want the answer, and remembers it (an exception too)."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Future[V]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the answer for `key`; `ask` is called when nobody asked before."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(ask())
        try:
            # A waiter that is cancelled must not take the answer from the others.
            return await asyncio.shield(task)
        except MirrorsyncError as error:
            raise error.with_() from error.__cause__  # each waiter has its own, with its own traceback

    def forget(self, key: K) -> None:
        """Ask again when the answer for `key` is wanted the next time; who waits for it now gets it."""
        self._tasks.pop(key, None)


class Room:
    """So many bytes that may be in memory at a time; who wants more waits, first come, first served."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Hold room for `size` bytes while the block runs; what is larger than all of the room waits for all of it."""
        taken = min(size, self._size)
        if self._waiting or taken > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((taken, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back(taken)
                raise
        else:
            self._free -= taken
        try:
            yield
        finally:
            self._give_back(taken)

    def _give_back(self, size: int) -> None:
        self._free += size
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            taken, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= taken
                turn.set_result(None)
