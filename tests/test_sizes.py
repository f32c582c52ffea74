"""Sizes as people write them."""

from __future__ import annotations

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.sizes import size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1B", 1),
        ("500KiB", 512_000),
        ("500kB", 500_000),
        ("500KB", 500_000),
        ("20MiB", 20_971_520),
        ("20MB", 20_000_000),
        ("50GiB", 53_687_091_200),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("1.25TiB", 1_374_389_534_720),
        ("2TB", 2_000_000_000_000),
        (" 5MiB ", 5_242_880),
        ("1.999B", 1),
    ],
)
def test_a_size_is_read_in_bytes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "20", "MiB", "20M", "20m", "20mib", "20 MiB", "-20MiB", "1,5GB", "1.5", ".5GB", "1.GB", "1e3B",
        "20MiB/s", "20Mbit", "٣MiB", "2MiB\n3MiB", "0B", "0.0GiB", "0.5B", "x" * 1000, "9" * 12 + "TiB", "9" * 13 + "B",
    ],
)  # fmt: skip
def test_an_invalid_size_is_rejected_in_one_line(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        size(text)
    assert caught.value.remedy
    assert len(caught.value.message) < 120
    assert caught.value.message.isprintable()
