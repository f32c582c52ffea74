"""What an image costs of a budget, and how its limits are read."""

from __future__ import annotations

from typing import Any

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.plan.budget import Budget, Limit, over_bytes, read_limit
from mirrorsync.plan.diff import diff
from tests.plan.reader import STAMP, Case

IMAGES: dict[str, Any] = {
    "small": ["cs:1", "ls:9"],
    "amd64": ["camd:50", "base:100"],
    "arm64": ["carm:1", "base:100"],
    "multi": {"index": ["amd64", "arm64"]},
}


@pytest.mark.parametrize(("most", "waits"), [(160, ["multi"]), (161, [])])
def test_a_blob_that_images_of_an_index_share_is_counted_once_and_each_other_too(most: int, waits: list[str]) -> None:
    made = Case({"images": IMAGES, "wanted": ["small -> dst/small:1", "multi -> dst/multi:1"]})
    for name, members in IMAGES.items():
        made._add_image(name, members)
    desired = made.desired()
    plan = diff(desired, made.observed(), spec=STAMP, created="")
    waiting = over_bytes(desired, plan, Budget(bytes=Limit("160 bytes", most)))
    said = "waits for the next run: the budget of 160 bytes is used"
    found = {image.target.repository: (one.verdict, one.reason) for image, one in waiting.items()}
    assert found == dict.fromkeys(waits, ("delay", said))


@pytest.mark.parametrize(
    ("key", "written", "limit"),
    [("bytes", "20MiB", Limit("20MiB", 20 * 2**20)), ("bytes", "1.5GB", Limit("1.5GB", 1.5e9))],
)
def test_a_limit_keeps_its_text_and_its_number(key: str, written: Any, limit: Limit) -> None:
    assert read_limit(key, written) == limit


def test_a_limit_without_a_unit_is_rejected() -> None:
    with pytest.raises(GrammarError):
        read_limit("bytes", "many")
