"""SIGINT, SIGTERM and the deadline: the first asks the run to end well, a second signal ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import FrameType
from typing import Any, Final, TypeVar

from mirrorsync.errors import DeadlinePassed, ExitCode, Interrupted
from mirrorsync.library import run_once
from mirrorsync.sync.run.report import Report

T = TypeVar("T")

_SIGNALS: Final = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
_SHOW_CURSOR: Final = "\x1b[?25h"  # progress bars hide it, and have no time to bring it back


Cancel = Callable[[], object]


def on_loop(seconds: float, call: Callable[[], None]) -> Cancel:
    """Call something on the running event loop after so many seconds; return what prevents it."""
    return asyncio.get_running_loop().call_later(seconds, call).cancel


class Stop:
    """Whether the run was told to stop. Made on the main thread; `event` is for the engine.

    deadline: after how many seconds it is told so anyway, None = never. later: the timer that says when they are over.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        deadline: float | None = None,
        later: Callable[[float, Callable[[], None]], Cancel] = on_loop,
    ) -> None:
        self.event = threading.Event()
        self._say = say
        self._deadline = deadline
        self._later = later
        self._passed = False
        self._signal: signal.Signals | None = None
        self._asked: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on a fresh event loop, listening for signals meanwhile."""

        async def listening() -> T:
            self._asked = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
            cancel = self._later(self._deadline, self._pass) if self._deadline is not None else None
            try:
                return await work()
            finally:
                if cancel is not None:
                    cancel()
                for number, handler in before.items():
                    signal.signal(number, handler)

        return run_once(listening())

    def _hear(self, number: int, _: FrameType | None) -> None:
        # A plain handler, and not the event loop's: the second signal must end a process whose loop is stuck.
        if self._signal is not None or self._passed:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
            os._exit(_SIGNALS[signal.Signals(number)])
        self._signal = signal.Signals(number)
        self.event.set()
        if self._loop is not None:
            # Not said here: the signal may have come in the middle of writing another line to the same stream.
            self._loop.call_soon_threadsafe(self._heard)

    def _heard(self) -> None:
        if self._asked is not None:
            self._asked.set()
        self._say("stopping; once more to stop at once")

    def _pass(self) -> None:
        """Stop since the time is over; on the event loop."""
        if self.event.is_set():
            return
        self._passed = True
        self.event.set()
        if self._asked is not None:
            self._asked.set()
        self._say("the deadline has come: stopping; a signal stops at once")

    def ended(self, report: Report) -> tuple[Report, ExitCode]:
        """Return a run's report, with what told it to stop if anything did, and what the process says."""
        if not report.interrupted:
            return report, report.exit_code
        if self._signal is None and self._passed:
            report = replace(report, deadline=True)
            return report, report.exit_code
        return report, self.exit_code

    @property
    def exit_code(self) -> ExitCode:
        """What the process says when it was told to stop."""
        return _SIGNALS[self._signal] if self._signal else ExitCode.INTERRUPTED

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
            raise self._interrupted()
        return task.result()

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds in a thread. Raises: Interrupted as soon as the run is told to stop."""
        if self.event.wait(seconds):
            raise self._interrupted()

    async def asleep(self, seconds: float) -> None:
        """Wait so many seconds on the event loop. Raises: Interrupted as soon as the run is told to stop."""
        try:
            await asyncio.wait_for(self.wait(), seconds)
        except TimeoutError:
            return
        raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        if self._passed and self._signal is None:
            return DeadlinePassed(f"the deadline came after {self._deadline:g} seconds")
        # The class says 130; only the signal can tell.
        return Interrupted("the run was told to stop").with_(exit_code=self.exit_code)
