"""`max_staleness: 5d`: an alarm for images that have to be renewed, such as the databases of scanners. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from mirrorsync.durations import moment, seconds
from mirrorsync.errors import Stale

_REMEDY: Final = "find out why its source has no newer one, or raise max_staleness"


@dataclass(frozen=True, slots=True)
class MaxStaleness:
    """The oldest that what a destination has may be. text: the duration as written; seconds: its length."""

    text: str
    seconds: float

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read a duration. Raises: GrammarError."""
        return cls(value, seconds(value))

    def alarm(self, created: float | None, first_seen: float, now: float) -> Stale | None:
        """Return the error for an image that is too old, None if it is not.

        created: when it says it was created, None if it does not say; first_seen: when this mirror first saw it, which
        counts then; all in seconds since the epoch.
        """
        since = first_seen if created is None else created
        if now - since <= self.seconds:
            return None
        what = "first seen" if created is None else "created"
        return Stale(f"older than max_staleness {self.text} allows: {what} {moment(since)}", remedy=_REMEDY)
