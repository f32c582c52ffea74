"""SIGINT, SIGTERM and the deadline: the first asks the run to end well, a second signal ends it at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final, TypeVar

from mirrorsync.app.loops import run_once
from mirrorsync.app.stop import Cancel, on_loop
from mirrorsync.app.stop import Stop as RunStop
from mirrorsync.errors import ExitCode, Interrupted
from mirrorsync.sync.run.report import Report

T = TypeVar("T")

_SIGNALS: Final = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
_SHOW_CURSOR: Final = "\x1b[?25h"  # progress bars hide it, and have no time to bring it back


class Stop(RunStop):
    """Tells one run to stop at a signal or a deadline, and people that it does. Made on the main thread."""

    def __init__(
        self,
        say: Callable[[str], None],
        deadline: float | None = None,
        later: Callable[[float, Callable[[], None]], Cancel] = on_loop,
    ) -> None:
        super().__init__(deadline, later)
        self._say = say
        self._signal: signal.Signals | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on a fresh event loop, listening for signals meanwhile."""

        async def listening() -> T:
            async with self.watched():
                before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
                try:
                    return await work()
                finally:
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
        self.stop()

    def _heard(self) -> None:
        super()._heard()
        # Said on the event loop: a signal may come in the middle of writing another line to the same stream.
        if self._passed:
            self._say("deadline passed: stopping in order; send a signal to stop at once")
        else:
            self._say("stopping in order; send the signal again to stop at once")

    def code_of(self, report: Report) -> ExitCode:
        """Return what the process says of a run: the signal if that stopped it."""
        return self.exit_code if report.interrupted and not report.deadline else report.exit_code

    @property
    def exit_code(self) -> ExitCode:
        """What the process says when it was told to stop."""
        return _SIGNALS[self._signal] if self._signal else ExitCode.INTERRUPTED

    def interrupted(self) -> Interrupted:
        """Return the error for work that was given up."""
        error = super().interrupted()
        # The class says 130; only the signal can tell.
        return error if self._passed else error.with_(exit_code=self.exit_code)
