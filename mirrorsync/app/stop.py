"""Telling a run to stop, in order: from a signal handler, from any thread, or when its time is over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from mirrorsync.errors import DeadlinePassed, Interrupted

if TYPE_CHECKING:
    from mirrorsync.sync.run.report import Report

T = TypeVar("T")

Cancel = Callable[[], object]


def on_loop(seconds: float, call: Callable[[], None]) -> Cancel:
    """Call something on the running event loop after so many seconds; return what prevents it."""
    return asyncio.get_running_loop().call_later(seconds, call).cancel


class Stop:
    """Tells one run to stop: no more work is begun, streams are given up within seconds, what is done stays.

    A run that only asks raises Interrupted then; one that changes something returns its report. deadline: after how
    many seconds the run is told so anyway, None = never. later: the timer for that. event: whether it was told, for
    the engine.
    """

    def __init__(
        self, deadline: float | None = None, later: Callable[[float, Callable[[], None]], Cancel] = on_loop
    ) -> None:
        self.event = threading.Event()
        self._deadline = deadline
        self._later = later
        self._passed = False
        self._asked: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Tell the run to stop; for any thread, and for signal handlers. Does nothing the second time."""
        loop = self._loop
        if not self.event.is_set():
            self.event.set()
            if loop is not None:
                with suppress(RuntimeError):  # it was closed meanwhile
                    loop.call_soon_threadsafe(self._heard)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Listen while the block runs, on its event loop, and count the time. Another one inside does nothing."""
        if self._asked is not None:
            yield
            return
        self._asked, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self.event.is_set():
            self._asked.set()
        cancel = self._later(self._deadline, self._pass) if self._deadline is not None else None
        try:
            yield
        finally:
            if cancel is not None:
                cancel()
            self._asked = self._loop = None

    async def wait(self) -> None:
        """Wait until the run is told to stop."""
        if self._asked is not None:
            await self._asked.wait()

    async def unless(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, or give it up when the run is told to stop. Raises: Interrupted."""
        task = asyncio.ensure_future(work)
        waiter = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            raise self.interrupted()
        return task.result()

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds in a thread. Raises: Interrupted as soon as the run is told to stop."""
        if self.event.wait(seconds):
            raise self.interrupted()

    async def asleep(self, seconds: float) -> None:
        """Wait so many seconds on the event loop. Raises: Interrupted as soon as the run is told to stop."""
        try:
            await asyncio.wait_for(self.wait(), seconds)
        except TimeoutError:
            return
        raise self.interrupted()

    def interrupted(self) -> Interrupted:
        """Return the error for work that was given up."""
        if self._passed:
            return DeadlinePassed(f"the deadline of {self._deadline:g} seconds passed")
        return Interrupted("the run was interrupted")

    def reported(self, report: Report) -> Report:
        """Return a run's report with whether it was the deadline that stopped it."""
        return replace(report, deadline=True) if report.interrupted and self._passed else report

    def _heard(self) -> None:
        """Wake up what waits; on the event loop."""
        if self._asked is not None:
            self._asked.set()

    def _pass(self) -> None:
        """Stop since the time is over; on the event loop."""
        if not self.event.is_set():
            self._passed = True
            self.event.set()
            self._heard()
