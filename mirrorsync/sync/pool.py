"""Bounded concurrency for questions: many at a time, never one task for each of a hundred thousand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Enough to hide 20 ms of round trip behind one event loop's work. The registry client holds the limit of each host.
QUESTIONS_AT_ONCE = 64


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
        # A waiter that is cancelled must not take the answer from the others.
        return await asyncio.shield(task)
