"""Filters by age, with what they choose of tags that were first listed at some time."""

from __future__ import annotations

import pytest

from mirrorsync.oci.ref import Tag
from mirrorsync.spec.ages import Ages, MinAge
from mirrorsync.spec.tags import read_tags

DAY = 86400.0
# Tags with the days since they were first listed.
LISTED = {"1.0.0": 90, "1.0.1": 40, "1.1.0": 20, "1.1.1": 1, "2.0.0": 0.5, "edge": 200}
AGES = Ages(1000 * DAY, {Tag(tag): (1000 - days) * DAY for tag, days in LISTED.items()})


def problem(pointer: str, message: str, remedy: str) -> None:
    raise AssertionError(f"{pointer}: {message}")


@pytest.mark.parametrize(
    ("tags", "min_age", "chosen"),
    [
        ({"all": True}, "", "1.0.0 1.0.1 1.1.0 1.1.1 2.0.0 edge"),
        ({"all": True, "max_age": "30d"}, "", "1.1.0 1.1.1 2.0.0"),
        ({"all": True, "max_age": "40d"}, "", "1.1.0 1.1.1 2.0.0"),
        ({"all": True, "max_age": "41d"}, "", "1.0.1 1.1.0 1.1.1 2.0.0"),
        ({"semver": ">=1", "newest": 1}, "", "2.0.0"),
        # The newest is wanted and waits (by the policy); meanwhile the newest that is old enough is wanted.
        ({"semver": ">=1", "newest": 1}, "3d", "2.0.0 1.1.0"),
        ({"semver": ">=1", "newest": 1}, "12h", "2.0.0"),
        ({"semver": ">=1", "newest": 2}, "1d", "1.1.1 2.0.0 1.1.0"),
        ({"semver": ">=1", "newest": 1, "max_age": "10d"}, "3d", "2.0.0"),
        ({"all": True, "newest": 1, "per": "major"}, "", "1.1.1 2.0.0"),
        ({"all": True, "newest": 1, "per": "minor"}, "", "1.0.1 1.1.1 2.0.0"),
        ({"all": True, "newest": 2, "per": "minor"}, "", "1.0.0 1.0.1 1.1.0 1.1.1 2.0.0"),
    ],
)
def test_tags_are_chosen_by_age(tags: dict[str, object], min_age: str, chosen: str) -> None:
    selection = read_tags(tags, "/tags", problem)
    if min_age:
        selection = selection.waiting(MinAge.parse(min_age))
    found = selection.aged(AGES).choose([Tag(tag) for tag in LISTED])
    assert [str(wanted.tag) for wanted in found] == chosen.split()


def test_exact_tags_are_not_dropped_since_they_are_not_listed() -> None:
    selection = read_tags(["1", "2"], "/tags", problem).waiting(MinAge.parse("3d"))
    assert not selection.needs_ages
    assert len(selection.choose([])) == 2


@pytest.mark.parametrize(
    ("tag", "selected", "why"),
    [
        ("2.0.0", False, "max_age 12h: first seen 1972-09-26 12:00 UTC, too old since 1972-09-27 00:00 UTC"),
        ("2.0.0", True, "max_age 12h: first seen 1972-09-26 12:00 UTC"),
    ],
)
def test_an_age_is_explained(tag: str, selected: bool, why: str) -> None:
    (narrowing,) = read_tags({"all": True, "max_age": "12h"}, "/tags", problem).narrows
    from mirrorsync.spec.ages import MaxAge

    assert isinstance(narrowing, MaxAge)
    assert list(narrowing.bound(AGES).why(Tag(tag), selected=selected)) == [why]


def test_per_needs_newest() -> None:
    found = []
    read_tags({"all": True, "per": "major"}, "/tags", lambda *problem: found.append(problem))
    assert found == [("/tags/per", "this has no effect without newest:", "add newest: N")]
