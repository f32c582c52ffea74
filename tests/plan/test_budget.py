"""Which images wait for the next run, because the budget of this one is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mirrorsync.hosts import Pulls
from mirrorsync.plan.budget import Allowance, Budget, Limit, over_bytes
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Image, State
from tests.plan.reader import STAMP, Case

IMAGES = {"a": ["ca:1", "la:99"], "b": ["cb:1", "lb:99"], "c": ["cc:1", "lc:9"], "shared": ["cs:1", "la:99", "ls:9"]}


def case(*wanted: str, **more: Any) -> Case:
    made = Case({"images": IMAGES, "wanted": [f"{name} -> dst/{name}:1" for name in wanted], **more})
    for name, members in IMAGES.items():
        made._add_image(name, members)
    return made


def left(made: Case, most: int, desired: Desired | None = None, observed: Observed | None = None) -> list[str]:
    """Return the repositories whose images do not wait, for a budget of so many bytes."""
    desired, observed = desired or made.desired(), observed or made.observed()
    plan = diff(desired, observed, spec=STAMP, created="")
    waiting = over_bytes(desired, plan, Budget(bytes=Limit(f"{most}B", most)))
    observed = replace(observed, decisions=waiting)
    second = diff(desired, observed, spec=STAMP, created="")
    assert second.read_bytes <= max(most, 100), "more than one image, and more than the budget"
    assert not {step.id for step in second.steps} - {step.id for step in plan.steps}
    delayed = [change for change in second.changes if change.state == State.DELAYED]
    assert all(change.waits_for == f"the budget of {most}B is used" for change in delayed)
    assert len(second.changes) == len(plan.changes)
    return [change.target.repository for change in second.changes if change.state != State.DELAYED]


@pytest.mark.parametrize(
    ("wanted", "most", "done"),
    [
        ("a b c", 1000, "a b c"),
        ("a b c", 210, "a b c"),
        ("a b c", 209, "a b"),
        ("a b c", 200, "a b"),
        ("c b a", 200, "c b"),
        ("a b c", 110, "a"),  # c would fit, and does not overtake b
        ("a b c", 100, "a"),
        ("a b c", 5, "a"),  # an image that is larger than the budget is mirrored alone
        ("c a b", 5, "c"),
        ("a shared b", 110, "a shared"),  # what they share is read once
        ("shared a b", 110, "shared a"),
        ("b a shared", 109, "b"),
    ],
)
def test_images_are_taken_in_the_order_of_the_spec_until_one_does_not_fit(wanted: str, most: int, done: str) -> None:
    assert left(case(*wanted.split()), most) == done.split()


def test_an_image_that_costs_no_bytes_never_waits() -> None:
    made = case("a", "b", "c", contents={"dst/c": ["cc", "lc"]}, present={})
    assert left(made, 100) == ["a", "c"]


def test_bytes_that_are_there_already_are_not_counted() -> None:
    made = case("a", "b", "c", elsewhere={"dst": {"la": "other"}})
    assert left(made, 101) == ["a", "b"]


def test_damaged_images_go_first() -> None:
    made = case("a", "b", deep=True, present={"dst/b:1": "b"}, contents={"dst/b": ["b", "cb"]})
    assert left(made, 100) == ["b"]


def test_referrers_come_along_with_their_image_and_wait_only_if_all_of_their_images_do() -> None:
    made = case("a", "b", "c")
    desired = made.desired()
    a, b, c = desired.images

    def with_carriers(*carriers: Image) -> Desired:
        return replace(desired, carriers={c: frozenset(carriers)})

    assert left(made, 110, with_carriers(a)) == ["a", "c"]
    assert left(made, 110, with_carriers(a, b)) == ["a", "c"]
    assert left(made, 110, with_carriers(b)) == ["a"]
    assert left(made, 109, with_carriers(b)) == ["a"]


def test_there_is_no_limit_without_the_key() -> None:
    made = case("a", "b")
    plan = diff(made.desired(), made.observed(), spec=STAMP, created="")
    assert over_bytes(made.desired(), plan, Budget()) == {}


def pulls(used: int = 0, remaining: int | None = None, limit: int | None = 100) -> dict[str, Pulls]:
    return {"hub.example": Pulls(used, remaining, limit if remaining is not None else None, 21600)}


@pytest.mark.parametrize(
    ("most", "used", "needs", "taken"),
    [
        (None, 0, [50, 50, 50], [50, 50, 50]),
        (10, 0, [3, 3, 3, 3, 1], [3, 3, 3]),  # the last one would fit, and does not overtake
        (10, 0, [3, 3, 4, 1], [3, 3, 4]),
        (10, 5, [3, 3], [3]),  # what resolving has used counts
        (10, 0, [0, 30, 0, 1, 0], [0, 30, 0, 0]),  # larger than the budget, and the first: alone
        (10, 20, [1, 1], [1]),  # one image in each run
        (1, 0, [1, 1], [1]),
    ],
)
def test_pulls_are_taken_in_the_order_of_the_spec(
    most: int | None, used: int, needs: list[int], taken: list[int]
) -> None:
    allowance = Allowance(most, {})
    assert [need for need in needs if not allowance.take("hub.example", need, pulls(used))] == taken
    if needs != taken:
        noun = "pull" if most == 1 else "pulls"
        assert allowance.used_up("any.example") == f"the budget of {most} {noun} is used"


@pytest.mark.parametrize(
    ("remaining", "limit", "needs", "taken"),
    [
        (None, None, [50, 50], [50, 50]),  # the registry says nothing
        (30, 100, [3, 3, 3, 3], [3, 3, 3]),
        (30, None, [3, 3, 3, 3], [3, 3, 3]),
        (20, 100, [1], []),
        (22, 100, [3, 1], []),  # no image overtakes
        (0, 100, [1], []),
        (100, 100, [81, 1], [81]),  # it would never fit, so it may use what was to be kept
        (100, 100, [80, 1], [80]),
        (100, 100, [101, 1], []),
        (60, 100, [81], []),
        (100, 100, [1, 81], [1]),
        (100, 20, [1], [1]),  # keep is the whole limit
    ],
)
def test_a_host_keeps_some_of_its_pulls(
    remaining: int | None, limit: int | None, needs: list[int], taken: list[int]
) -> None:
    allowance = Allowance(None, {"hub.example": 20})
    said = pulls(0, remaining, limit)
    assert [need for need in needs if not allowance.take("hub.example", need, said)] == taken
    assert allowance.used_up("other.example") == ""
    assert allowance.take("other.example", 50, said) == "", "other hosts go on"


def test_the_reason_says_what_is_left_and_within_which_time_it_refills() -> None:
    allowance = Allowance(None, {"hub.example": 20})
    assert allowance.take("hub.example", 2, pulls(5, 23)) == ""
    why = "hub.example has 21 of 100 pulls left, and keep is 20; it refills within 6 h"
    assert allowance.refusal("hub.example", 2, pulls(5, 23)) == why
    assert allowance.take("hub.example", 1, pulls(5, 90)) == why, "what was said of one image holds for the later ones"


@pytest.mark.parametrize(
    ("window", "words"), [(3655, "1.02 h"), (3600, "1 h"), (3599, "60 min"), (90, "2 min"), (1, "1 min")]
)
def test_a_window_is_said_in_hours_or_minutes(window: int, words: str) -> None:
    said = {host: replace(one, window=window) for host, one in pulls(5, 0).items()}
    assert Allowance(None, {"hub.example": 20}).refusal("hub.example", 1, said).endswith(f"refills within {words}")


def test_pulls_that_were_used_to_find_out_what_an_image_needs_count_for_it() -> None:
    allowance = Allowance(None, {"hub.example": 20})
    assert allowance.take("hub.example", 80, pulls(1, 99), read=1) == "", "81 never fit"
    allowance = Allowance(None, {"hub.example": 20})
    assert allowance.take("hub.example", 79, pulls(1, 98), read=1), "80 fit when the account is full"


def test_a_host_that_refuses_is_not_asked_again_if_its_limit_is_respected() -> None:
    allowance = Allowance(None, {"hub.example": 20})
    assert allowance.end("hub.example", "it refuses") == "it refuses"
    assert allowance.take("hub.example", 1, pulls()) == "it refuses"
    assert Allowance(None, {}).end("hub.example", "it refuses") == ""
