"""How old an image may be. Pure."""

from __future__ import annotations

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.plan.staleness import MaxStaleness

DAY = 86400.0
NOW = 1000 * DAY


@pytest.mark.parametrize(
    ("created", "first_seen", "words"),
    [
        (NOW - 6 * DAY, NOW, "created 1972-09-21 00:00 UTC"),
        (NOW - 5 * DAY, NOW, ""),
        (NOW - 4 * DAY, NOW - 100 * DAY, ""),
        (None, NOW - 6 * DAY, "first seen 1972-09-21 00:00 UTC"),
        (None, NOW - 5 * DAY, ""),
        (None, NOW, ""),
        (NOW + DAY, NOW, ""),
    ],
)
def test_an_image_is_too_old_by_its_own_time_or_else_by_its_first_sighting(
    created: float | None, first_seen: float, words: str
) -> None:
    error = MaxStaleness.parse("5d").alarm(created, first_seen, NOW)
    assert (error is None) == (words == "")
    if error is not None:
        assert error.message == f"older than max_staleness 5d allows: {words}"
        assert (error.exit_code, bool(error.remedy)) == (3, True)


def test_what_is_no_duration_is_rejected() -> None:
    with pytest.raises(GrammarError, match="not a duration"):
        MaxStaleness.parse("five days")
