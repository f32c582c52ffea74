"""Durations as people write them."""

from __future__ import annotations

import pytest

from mirrorsync.durations import seconds
from mirrorsync.errors import GrammarError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1d2h3m4s", 93784),
        ("0s", 0),
        (" 5m ", 300),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "90", "h", "-5m", "5 m", "1.5h", "5M", "30m1h", "5m5m", "٣s", "2h\n3m", "x" * 1000, "999999999d"]
)
def test_an_invalid_duration_is_rejected_in_one_line(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        seconds(text)
    assert caught.value.remedy
    assert len(caught.value.message) < 120
    assert caught.value.message.isprintable()
