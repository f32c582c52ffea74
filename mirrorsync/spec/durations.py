"""Lengths of time as people write them: `90s`, `30m`, `2h`, `1h30m`."""

from __future__ import annotations

import re
from typing import Final

from mirrorsync.errors import GrammarError, printable

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHAPE = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
# A century is as good as for ever, and fits every clock and timer.
_LONGEST: Final = 100 * 365 * 86400.0


def seconds(text: str) -> float:
    """Return a length of time in seconds. Raises: GrammarError when it is not written as one, or is no sensible one."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise GrammarError(
            f"{printable(text, 60)!r} is no length of time",
            remedy="write numbers with units, from days to seconds: 90s, 30m, 2h, 1h30m",
        )
    total = sum(int(number) * _SECONDS[unit] for number, unit in zip(found.groups(), "dhms", strict=True) if number)
    if total > _LONGEST:
        raise GrammarError(f"{printable(text, 60)!r} is longer than anybody waits", remedy="write less")
    return total
