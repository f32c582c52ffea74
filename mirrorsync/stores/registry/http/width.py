"""How many requests at a time a host gets: it follows what the host says, without I/O and without a clock.

Additive increase, multiplicative decrease, as TCP does: halved if the host throttles (429, 503, connections that break
while others are open), and one more after as many successes as it is wide. It begins at its ceiling, so that a host
that never throttles never notices it.
"""

from __future__ import annotations


class Width:
    """The number of requests that a host may be sent at a time: at least 1, at most `ceiling`.

    round: counts the halvings. A request remembers the round in which it was sent: thirty requests that were in flight
    together and are all throttled are one reason to halve, and not thirty.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = ceiling
        self.round = 0
        self._successes = 0

    def throttled(self, sent_in: int, in_flight: int) -> None:
        """Record that the host throttled a request. sent_in: its round; in_flight: how many there were, with it."""
        if sent_in == self.round:
            self.limit = max(1, min(self.limit, in_flight) // 2)
            self.round += 1
            self._successes = 0

    def succeeded(self, sent_in: int) -> None:
        """Record that the host answered a request of a round otherwise."""
        if self.limit < self.ceiling and sent_in == self.round:
            self._successes += 1
            if self._successes >= self.limit:
                self.limit += 1
                self._successes = 0

    def raise_ceiling(self, ceiling: int) -> None:
        """Allow more; a host that has throttled grows there step by step."""
        if ceiling > self.ceiling:
            self.limit = ceiling if self.limit == self.ceiling else self.limit
            self.ceiling = ceiling

    def part(self, of: int) -> int:
        """Return how many of `of` connections of another kind may be open: the same part as of the requests."""
        return max(1, of * self.limit // self.ceiling)
