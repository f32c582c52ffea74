"""What an image costs of a budget, and how its limits are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.hosts import Pulls
from mirrorsync.plan.budget import Allowance, Budget, Limit, delayed, over_bytes, read_limit
from mirrorsync.plan.diff import diff
from mirrorsync.plan.model import State
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
    [
        ("bytes", "20MiB", Limit("20MiB", 20 * 2**20)),
        ("bytes", "1.5GB", Limit("1.5GB", 1.5e9)),
        ("pulls", 80, Limit("80", 80)),
        ("time", "2h", Limit("2h", 7200)),
    ],
)
def test_a_limit_keeps_its_text_and_its_number(key: str, written: Any, limit: Limit) -> None:
    assert read_limit(key, written) == limit


@pytest.mark.parametrize("key", ["bytes", "time"])
def test_a_limit_without_a_unit_is_rejected(key: str) -> None:
    with pytest.raises(GrammarError):
        read_limit(key, "many")


@pytest.mark.parametrize(
    ("limit", "window", "said"),
    [
        (100, 6 * 3600, "hub.example has 5 of 100 pulls left, and keep is 20; it refills within 6 h"),
        (100, 5400, "hub.example has 5 of 100 pulls left, and keep is 20; it refills within 1.5 h"),
        (100, 3600, "hub.example has 5 of 100 pulls left, and keep is 20; it refills within 1 h"),
        (100, 3540, "hub.example has 5 of 100 pulls left, and keep is 20; it refills within 59 min"),
        (100, 20, "hub.example has 5 of 100 pulls left, and keep is 20; it refills within 1 min"),
        (100, None, "hub.example has 5 of 100 pulls left, and keep is 20"),
        (None, None, "hub.example has 5 pulls left, and keep is 20"),
    ],
)
def test_a_host_that_keeps_its_pulls_says_what_is_left(limit: int | None, window: int | None, said: str) -> None:
    pulls = {"hub.example": Pulls(0, 5, limit, window)}
    assert Allowance(None, {"hub.example": 20}).refusal("hub.example", 1, pulls) == said


def test_no_pulls_are_left_if_fewer_remain_than_were_promised() -> None:
    allowance = Allowance(None, {"hub.example": 20})
    allowance.promise("hub.example", 30)
    allowance.promise("hub.example", 3)
    said = allowance.refusal("hub.example", 1, {"hub.example": Pulls(0, 10, None, None)})
    assert said == "hub.example has 0 pulls left, and keep is 20"


def test_the_first_reason_of_a_host_holds() -> None:
    allowance = Allowance(None, {"hub.example": 20})
    allowance.end("hub.example", "it refuses")
    assert allowance.end("hub.example", "it refuses again") == "it refuses again"
    assert allowance.used_up("hub.example") == "it refuses"


def test_the_reason_of_a_host_is_not_replaced_by_what_it_has_left() -> None:
    allowance = Allowance(None, {"hub.example": 20})
    allowance.end("hub.example", "it refuses")
    assert allowance.refusal("hub.example", 1, {"hub.example": Pulls(0, 0)}) == "it refuses"


def test_a_host_that_has_not_been_asked_yet_has_pulls() -> None:
    assert Allowance(10, {"hub.example": 20}).take("hub.example", 1, {}) == ""


@pytest.mark.parametrize(
    ("need", "remaining", "waits"), [(80, 99, True), (81, 99, False), (99, 99, False), (100, 99, True)]
)
def test_an_image_may_use_what_is_kept_only_if_it_never_fits_and_is_possible_now(
    need: int, remaining: int, waits: bool
) -> None:
    pulls = {"hub.example": Pulls(0, remaining, 100)}
    allowance = Allowance(None, {"hub.example": 20})
    assert bool(allowance.refusal("hub.example", need, pulls)) is waits
    assert bool(Allowance(None, {"hub.example": 20}).take("hub.example", need, pulls)) is waits


def test_delayed_changes_of_a_plan_keep_everything_but_state_decision_and_step() -> None:
    made = Case({"images": IMAGES, "wanted": ["small -> dst/small:1", "amd64 -> dst/amd64:1"]})
    for name, members in IMAGES.items():
        made._add_image(name, members)
    plan = diff(made.desired(), made.observed(), spec=STAMP, created="")
    small, amd64 = plan.changes
    reason = "waits for the next run: its time is over"
    waits = replace(amd64, state=State.DELAYED, reason=reason, policy="budget", verdict="delay", step="")
    assert delayed(plan, [amd64], "its time is over") == replace(plan, changes=(small, waits))
    assert waits.waits_for == "its time is over"
