"""A registry that limits pulls as Docker Hub does: a GET of a manifest is one, a HEAD is not; both say what remains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.parts.tiny_registry import Asked, Reply, TinyRegistry, refusal

_REFUSED = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"


@dataclass
class Hub:
    """An app for `Unruly`. limit: pulls in a window, left: what is left of them. pulled: all pulls so far."""

    limit: int = 100
    left: int = 100
    registry: TinyRegistry = field(default_factory=TinyRegistry)
    pulled: int = 0
    refused: int = 0

    def refill(self) -> None:
        """Let the window pass."""
        self.left = self.limit

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the limit."""
        window = ";w=21600"
        return {
            "ratelimit-limit": f"{self.limit}{window}",
            "ratelimit-remaining": f"{self.left}{window}",
            "docker-ratelimit-source": "192.0.2.7",
        }

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        if asked.method not in ("GET", "HEAD") or "/manifests/" not in asked.path:
            return self.registry(asked)
        if asked.method == "GET" and self.left == 0:
            self.refused += 1
            return refusal(429, "TOOMANYREQUESTS", _REFUSED, {**self.headers(), "Retry-After": "3600"})
        reply = self.registry(asked)
        if asked.method == "GET" and reply.status == 200:
            self.left -= 1
            self.pulled += 1
        reply.headers.update(self.headers())
        return reply
