"""Whether an exchange still moves: a stall is the absence of progress, in bytes that the other side took or sent.

A limit on the whole of a transfer would end blobs of many GiB, and one on a single send fails on slow lines: 4 MiB in
the socket's buffer are 200 s at 20 KB/s, in which nothing can be sent and everything is well. And a limit on silence
alone never ends a server that sends a byte now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

_KIB: Final = 1024


class Phase(Enum):
    """What an exchange is doing."""

    SENDING = "sending"  # the other side has not taken all of the request yet
    WAITING = "waiting"  # for the first byte of the final answer
    RECEIVING = "receiving"


@dataclass(frozen=True, slots=True)
class Least:
    """What the other side has to do at least: move `rate` bytes per second, counted over `window` seconds."""

    rate: int = _KIB
    window: float = 60.0

    @property
    def size(self) -> int:
        """The bytes that have to move in one window; at least one."""
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
        """Begin to count again: it was this side that did not go on (the other end of a copy is slower)."""
        self._since = now

    def stalled(self, now: float, phase: Phase, moved: int) -> str:
        """Return why the exchange is to be given up, "" while it is not. moved: bytes in this phase so far."""
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
        did = "took" if phase is Phase.SENDING else "sent"
        return f"the other side {did} {max(0, moved - self._moved)} bytes in {self._least.window:g} seconds"
