"""Durations as people write them: `90s`, `30m`, `2h`, `1h30m`; moments as people read them and as images have them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

from mirrorsync.errors import GrammarError
from mirrorsync.text import printable

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHAPE = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
# A century is as good as unlimited, and fits every clock and timer.
_LONGEST: Final = 100 * 365 * 86400.0


def seconds(text: str) -> float:
    """Return a duration in seconds. Raises: GrammarError if it is malformed, or longer than a century."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise GrammarError(
            f"{printable(text, 60)!r} is not a duration",
            remedy="write a number with its unit: 90s, 30m, 2h, 1h30m",
        )
    total = sum(int(number) * _SECONDS[unit] for number, unit in zip(found.groups(), "dhms", strict=True) if number)
    if total > _LONGEST:
        raise GrammarError(f"{printable(text, 60)!r} is longer than a century", remedy="write a shorter one")
    return total


def moment(time: float) -> str:
    """Return a time (seconds since the epoch) for people: `2026-11-25 03:17 UTC`."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"


def time_text(time: float) -> str:
    """Return a time (seconds since the epoch) for programs: `2026-11-25T03:17:00Z`, in whole seconds, rounded up."""
    return f"{datetime.fromtimestamp(math.ceil(time), UTC):%Y-%m-%dT%H:%M:%SZ}"


def timestamp(text: str) -> float | None:
    """Return an RFC 3339 time in seconds since the epoch, None if it is not one. Nanoseconds are cut."""
    if _TIME.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None
