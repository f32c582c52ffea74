"""SIGINT, SIGTERM and the deadline: the first stops the run in order, another signal ends the process at once."""

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
_SHOW_CURSOR: Final = "\x1b[?25h"  # progress bars hide it, and cannot restore it before os._exit


class Stop(RunStop):
    """Stops one run at a signal or a deadline, and prints a notice. Must be created on the main thread."""

    def __init__(
        self,
        notice: Callable[[str], None],
        deadline: float | None = None,
        later: Callable[[float, Callable[[], None]], Cancel] = on_loop,
    ) -> None:
        super().__init__(deadline, later)
        self._notice = notice
        self._signal: signal.Signals | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on a new event loop, with handlers for the signals."""

        async def with_handlers() -> T:
            async with self.listening():
                before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
                try:
                    return await work()
                finally:
                    for number, handler in before.items():
                        signal.signal(number, handler)

        return run_once(with_handlers())

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        # A plain handler, not the event loop's: the second signal must end a process whose event loop is stuck.
        if self._signal is not None or self._passed:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
            os._exit(_SIGNALS[signal.Signals(number)])
        self._signal = signal.Signals(number)
        self.stop()

    def _on_stop(self) -> None:
        super()._on_stop()
        # Printed from the event loop: a signal can arrive while another line is being written to the same stream.
        if self._passed:
            self._notice("deadline passed: stopping in order; send a signal to stop at once")
        else:
            self._notice("stopping in order; send the signal again to stop at once")

    def code_of(self, report: Report) -> ExitCode:
        """Return the exit code for a report: that of the signal if it stopped the run."""
        return self.exit_code if report.interrupted and not report.deadline else report.exit_code

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a stopped run, by its signal."""
        return _SIGNALS[self._signal] if self._signal else ExitCode.INTERRUPTED

    def interrupted(self) -> Interrupted:
        """Return the error for cancelled work, with the exit code of the signal."""
        error = super().interrupted()
        return error if self._passed else error.with_(exit_code=self.exit_code)
