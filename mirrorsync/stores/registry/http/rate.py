"""A rate that several share: requests or bytes per second, spread evenly, with no burst after a silence. No I/O."""

from __future__ import annotations

import math
import threading


class Rate:
    """Spreads what is taken from it over time. Thread-safe. per_second: how much of it, on average and at any time."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._free_at = -math.inf
        self._lock = threading.Lock()

    def take(self, now: float, amount: float = 1) -> float:
        """Take an amount, and return in how many seconds its turn is, in the order of calls. now: in seconds.

        What is taken after it waits until it has had its time. An amount of 0 has the turn of what came before it.
        """
        with self._lock:
            at = max(now, self._free_at)
            self._free_at = at + amount / self._per_second
        return at - now
