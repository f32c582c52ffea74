"""Count the pulls of one host, and read what it says about its limit of them.

A GET of a manifest is a pull, a HEAD is not (docs.docker.com, "usage and limits"): so an index of two images costs
three. Docker Hub sends `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600` and `docker-ratelimit-source`
with both, and nothing to accounts without a limit. The limits that were published contradict each other: none is
assumed here.
"""

from __future__ import annotations

import re
from typing import Final

from mirrorsync.hosts import Pulls
from mirrorsync.stores.registry.http.messages import Answer, Request
from mirrorsync.text import printable

_MANIFESTS: Final = "/manifests/"
_NUMBER: Final = re.compile(r"\s*(\d{1,9})\s*(?:[;,].*)?", re.ASCII)
_WINDOW: Final = re.compile(r";\s*w=(\d{1,9})\b", re.ASCII)


class Meter:
    """The pulls of one host in this run. For any thread."""

    def __init__(self) -> None:
        self._used = 0
        self._limit: int | None = None
        self._remaining: int | None = None
        self._window: int | None = None
        self._source = ""

    def see(self, request: Request, answer: Answer) -> None:
        """Note an answer to a request, whatever its status."""
        if _MANIFESTS not in request.url:
            return
        if request.method == "GET" and answer.ok:
            self._used += 1
        said = answer.header("ratelimit-remaining")
        if not said or (remaining := _number(said)) is None:
            return
        limit = answer.header("ratelimit-limit")
        source = printable(answer.header("docker-ratelimit-source"), 64)
        window = _WINDOW.search(said) or _WINDOW.search(limit)
        if self._remaining is not None and source == self._source:
            # Answers overtake each other, so the lowest number is the latest. What comes back meanwhile is not counted.
            remaining = min(remaining, self._remaining)
        self._remaining, self._source = remaining, source
        self._limit, self._window = _number(limit), int(window[1]) if window else None

    @property
    def pulls(self) -> Pulls:
        """The pulls so far, and the least that the host said to remain."""
        return Pulls(self._used, self._remaining, self._limit, self._window, self._source)


def remedy(answer: Answer) -> str:
    """Return what to do about an answer that refuses a pull, "" if it does not name a limit of pulls."""
    limit = answer.header("ratelimit-limit")
    if not limit:
        return ""
    number, window = _number(limit), _WINDOW.search(limit)
    allowed = "" if number is None else f" of {number} pulls" + (f" in {_hours(int(window[1]))} h" if window else "")
    return (
        f"log in for a higher limit than this{allowed}, or set pulls: {{keep: 20}} for this host under registries: in "
        "the spec, so that images wait for a later run instead of failing"
    )


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:.3g}"


def _number(text: str) -> int | None:
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else None
