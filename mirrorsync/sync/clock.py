"""The time, in the format of documents."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """Return the time, UTC, as ISO 8601 with seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
