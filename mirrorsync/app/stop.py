"""Stop a run in order: from a signal handler, from any thread, or at its deadline."""

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
    """Schedule a call on the running event loop; return a function that cancels it."""
    return asyncio.get_running_loop().call_later(seconds, call).cancel


class Stop:
    """Stops one run: no new work is started, transfers are aborted within seconds, what is done stays.

    A run that changes nothing then raises Interrupted; others return their report. deadline: seconds after which the
    run is stopped anyway, None = never. later: the timer for the deadline. event: set once the run is to stop, for the
    engine.
    """

    def __init__(
        self, deadline: float | None = None, later: Callable[[float, Callable[[], None]], Cancel] = on_loop
    ) -> None:
        self.event = threading.Event()
        self._deadline = deadline
        self._later = later
        self._passed = False
        self._stopped: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Stop the run. Can be called from any thread and from signal handlers; the second call does nothing."""
        loop = self._loop
        if not self.event.is_set():
            self.event.set()
            if loop is not None:
                with suppress(RuntimeError):  # it was closed meanwhile
                    loop.call_soon_threadsafe(self._on_stop)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """React to `stop` and to the deadline while the block runs, on its event loop. Nested calls do nothing."""
        if self._stopped is not None:
            yield
            return
        self._stopped, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self.event.is_set():
            self._stopped.set()
        cancel = self._later(self._deadline, self._on_deadline) if self._deadline is not None else None
        try:
            yield
        finally:
            if cancel is not None:
                cancel()
            self._stopped = self._loop = None

    async def wait(self) -> None:
        """Wait until the run is stopped."""
        if self._stopped is not None:
            await self._stopped.wait()

    async def interruptible(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, and cancel it if the run is stopped. Raises: Interrupted."""
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
        """Sleep in a thread. Raises: Interrupted as soon as the run is stopped."""
        if self.event.wait(seconds):
            raise self.interrupted()

    async def asleep(self, seconds: float) -> None:
        """Sleep on the event loop. Raises: Interrupted as soon as the run is stopped."""
        try:
            await asyncio.wait_for(self.wait(), seconds)
        except TimeoutError:
            return
        raise self.interrupted()

    def interrupted(self) -> Interrupted:
        """Return the error for cancelled work."""
        if self._passed:
            return DeadlinePassed(f"the deadline of {self._deadline:g} seconds passed")
        return Interrupted("the run was interrupted")

    def mark_deadline(self, report: Report) -> Report:
        """Return the report, marked if the deadline stopped the run."""
        return replace(report, deadline=True) if report.interrupted and self._passed else report

    def _on_stop(self) -> None:
        """Wake up `wait`; on the event loop."""
        if self._stopped is not None:
            self._stopped.set()

    def _on_deadline(self) -> None:
        """Stop at the deadline; on the event loop."""
        if not self.event.is_set():
            self._passed = True
            self.event.set()
            self._on_stop()
