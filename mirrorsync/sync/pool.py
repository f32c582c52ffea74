"""Bounded concurrency: many requests at a time, but never one task for each of a hundred thousand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Generic, TypeVar

from mirrorsync.errors import MirrorsyncError
from mirrorsync.files.chunks import CHUNK_BYTES

K = TypeVar("K")
V = TypeVar("V")

# Enough to hide 100 ms of round trip behind one event loop's work, if a connection carries many requests at a time.
# The registry client enforces the limit of each host.
REQUESTS_AT_ONCE = 128
# Steps have small blobs in memory, and a step that learns of a host's limit learns it too late for those that run now.
STEPS_AT_ONCE = 64
# Two cores are busy with four streams: one waits for the network or the disk while the other one hashes.
STREAMS_AT_ONCE = 4
# Up to this size a blob is transferred as a whole, on the event loop, with thousands of its kind. A larger one is
# streamed: a thread reads, hashes and writes it without the event loop.
SMALL_BYTES = CHUNK_BYTES


async def for_each(items: Iterable[V], work: Callable[[V], Awaitable[None]], limit: int = REQUESTS_AT_ONCE) -> None:
    """Await `work` for every item, at most `limit` at a time; an item is taken when a worker is free."""
    source = iter(items)

    async def worker(first: V) -> None:
        await work(first)
        for item in source:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for item in islice(source, limit):  # a run has thirty such loops, most of them over a few items
            group.create_task(worker(item))


async def all_of(requests: Iterator[Awaitable[object]]) -> None:
    """Await all requests, in groups, so that thousands need little memory; raise the first failure."""
    while some := list(islice(requests, REQUESTS_AT_ONCE)):
        for answer in await asyncio.gather(*some, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer


class Answers(Generic[K, V]):
    """Makes each request once, for all callers that need the answer, and remembers the answer (or exception)."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Future[V]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the answer for `key`; `ask` is called for the first caller only."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(ask())
        try:
            # If one waiter is cancelled, the others still get the answer.
            return await asyncio.shield(task)
        except MirrorsyncError as error:
            raise error.with_() from error.__cause__  # each waiter gets a copy, with its own traceback

    def forget(self, key: K) -> None:
        """Repeat the request for `key` at the next call; current waiters still get the present answer."""
        self._tasks.pop(key, None)


class MemoryBudget:
    """A limit for bytes in memory at a time; callers that exceed it wait in order of arrival."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Reserve `size` bytes while the block runs; a size above the whole budget reserves all of it."""
        taken = min(size, self._size)
        if self._waiting or taken > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((taken, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._release(taken)
                raise
        else:
            self._free -= taken
        try:
            yield
        finally:
            self._release(taken)

    def _release(self, size: int) -> None:
        self._free += size
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            taken, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= taken
                turn.set_result(None)
