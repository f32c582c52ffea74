"""A registry behind a rate limit, as GHCR and nginx (limit_req) have it: a number of requests in each window."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.parts.tiny_registry import App, Asked, Reply, refusal

# The ways in which hosts refuse what is too much for them.
REFUSALS: dict[str, Callable[[], Reply]] = {
    "429 with Retry-After": lambda: Reply(429, {"Retry-After": "1"}),
    "429": lambda: Reply(429),
    "503": lambda: Reply(503),
    "400 of ECR": lambda: refusal(400, "TOOMANYREQUESTS"),
    "broken connections": lambda: Reply(200, body=b"x" * 1000, cut=100),
}


class Throttling:
    """An app that refuses requests beyond `most` in a window; a window is a second of `clock`.

    refuse: how. refused: how many requests were.
    """

    def __init__(self, app: App, clock: Callable[[], float], most: int, refuse: Callable[[], Reply]) -> None:
        self.app = app
        self.refused = 0
        self._clock = clock
        self._most = most
        self._refuse = refuse
        self._ends = 0.0
        self._left = 0
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        with self._lock:
            if self._clock() >= self._ends:
                self._ends, self._left = self._clock() + 1, self._most
            self._left -= 1
            refuses = self._left < 0
            self.refused += refuses
        return self._refuse() if refuses else self.app(asked)
