"""Detect stalled exchanges: a stall is a lack of progress, in bytes that the server accepted or sent.

A time limit on a whole transfer would abort blobs of many GiB, and one on a single send fails on slow lines: 4 MiB in
the socket's buffer take 200 s at 20 KB/s, in which nothing more can be sent although all is well. And a limit on
silence alone never ends an exchange with a server that sends a byte now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

_KIB: Final = 1024


class Phase(Enum):
    """The phase of an exchange."""

    SENDING = "sending"  # the server has not accepted all of the request yet
    WAITING = "waiting"  # for the first byte of the final answer
    RECEIVING = "receiving"


@dataclass(frozen=True, slots=True)
class Least:
    """The least progress: `rate` bytes per second, counted over `window` seconds."""

    rate: int = _KIB
    window: float = 60.0

    @property
    def size(self) -> int:
        """The least number of bytes in one window; at least one."""
        return max(1, int(self.rate * self.window))


class Pace:
    """Watches one exchange. now: seconds of a monotonic clock; patience: seconds that the answer may take to begin."""

    def __init__(self, now: float, patience: float, least: Least) -> None:
        self._patience = patience
        self._least = least
        self._phase = Phase.SENDING
        self._since = now
        self._moved = 0

    def resume(self, now: float) -> None:
        """Restart the window: the delay was on this side (the other end of a copy is slower)."""
        self._since = now

    def stalled(self, now: float, phase: Phase, moved: int) -> str:
        """Return why the exchange is to be aborted, "" if it is not. moved: bytes in this phase so far."""
        if phase is not self._phase:
            self._phase, self._since, self._moved = phase, now, moved
            return ""
        if phase is Phase.WAITING:
            return f"no answer for {self._patience:g} seconds" if now - self._since >= self._patience else ""
        if moved - self._moved >= self._least.size:
            self._since, self._moved = now, moved
            return ""
        if now - self._since < self._least.window:
            return ""
        did = "accepted" if phase is Phase.SENDING else "sent"
        return f"the server {did} only {max(0, moved - self._moved)} bytes in {self._least.window:g} seconds"
