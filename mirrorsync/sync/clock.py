"""The time, in the format of documents."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def at(seconds: float) -> str:
    """Return a time, given in seconds since the epoch, in UTC as ISO 8601 with seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """Return the time, UTC, as ISO 8601 with seconds."""
    return at(time.time())
