"""Whether a tag moves back to an older image, by what is known of both, and the sentence for it. Pure."""

from __future__ import annotations

import pytest

from mirrorsync.plan.direction import Ages, moves_back

DAY = 86400.0
HAD = "moves back to an image that this mirror had until"
SEEN = "moves back to an image that was first seen earlier: 1970-01-02 00:00 UTC, the present one 1970-01-03 00:00 UTC"
BUILT = "moves back to an older image: created 1970-01-02 00:00 UTC, the present one 1970-01-03 00:00 UTC"


@pytest.mark.parametrize(
    ("ages", "sentence"),
    [
        (Ages(), ""),
        (Ages(had_until=0.0), f"{HAD} 1970-01-01 00:00 UTC"),
        (Ages(had_until=DAY, first_before=1.0, first_found=2.0), f"{HAD} 1970-01-02 00:00 UTC"),
        (Ages(first_before=2 * DAY, first_found=DAY), SEEN),
        (Ages(first_before=2 * DAY, first_found=DAY, created_before=DAY, created_found=2 * DAY), SEEN),
        (Ages(first_before=DAY, first_found=DAY), ""),
        (Ages(first_before=DAY, first_found=2 * DAY), ""),
        (Ages(first_before=DAY), ""),
        (Ages(first_found=DAY), ""),
        (Ages(created_before=2 * DAY, created_found=DAY), BUILT),
        (Ages(first_before=DAY, first_found=DAY, created_before=2 * DAY, created_found=DAY), BUILT),
        (Ages(first_before=DAY, created_before=2 * DAY, created_found=DAY), BUILT),
        (Ages(created_before=DAY, created_found=DAY), ""),
        (Ages(created_before=DAY, created_found=2 * DAY), ""),
        (Ages(created_before=DAY), ""),
        (Ages(created_found=DAY), ""),
    ],
)
def test_a_tag_moves_back_by_the_memory_first_and_then_by_the_times_in_images(ages: Ages, sentence: str) -> None:
    assert moves_back(ages) == sentence
