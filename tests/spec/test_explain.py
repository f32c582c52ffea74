"""Why each tag is wanted or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mirrorsync.oci.ref import Tag
from mirrorsync.schema_files import load_schema
from mirrorsync.spec.explain import explain
from mirrorsync.spec.filters import FILTERS
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.tags import read_tags

LISTED = [Tag(tag) for tag in ("1.0", "1.1", "1.2-rc1", "2.0", "2.0-alpine", "edge", "latest")]
NO, NOT_A_VERSION = "matches no filter", "matches no filter (not a version)"


def selection(tags: Mapping[str, Any]) -> Selection:
    return read_tags(tags, "", lambda *problem: pytest.fail(str(problem)))


@pytest.mark.parametrize(
    ("tags", "reasons"),
    [
        ({"all": True}, dict.fromkeys(LISTED, "+all")),
        (
            {"glob": ["1.*", "*-rc*", "edge"]},
            {
                "1.0": "+glob 1.*",
                "1.1": "+glob 1.*",
                "1.2-rc1": "+glob 1.*, glob *-rc*",
                "2.0": NO,
                "2.0-alpine": NO,
                "edge": "+glob edge",
                "latest": NO,
            },
        ),
        (
            {"semver": ">=1.1 <3", "exact": ["latest"]},
            {
                "1.0": NO,
                "1.1": "+semver >=1.1 <3",
                "1.2-rc1": "matches no filter (a pre-release)",
                "2.0": "+semver >=1.1 <3",
                "2.0-alpine": "matches no filter (the range is for versions without prefix and suffix)",
                "edge": NOT_A_VERSION,
                "latest": "+exact",
            },
        ),
        (
            {"all": True, "exclude_regex": [".*rc1", "1.*"], "keep": [r"\d.*", ".*[0e]"]},
            {
                "1.0": "excluded by exclude_regex 1.*",
                "1.1": "excluded by exclude_regex 1.*",
                "1.2-rc1": "excluded by exclude_regex .*rc1, exclude_regex 1.*",
                "2.0": r"+all, keep \d.*, keep .*[0e]",
                "2.0-alpine": r"+all, keep \d.*, keep .*[0e]",
                "edge": r"not matched by keep \d.*",
                "latest": r"not matched by keep \d.*, keep .*[0e]",
            },
        ),
        (
            {"regex": r"\d.*", "glob": ["edge"], "exclude": ["*-rc*", "*.1"], "newest": 1},
            {
                "1.0": "not among newest 1",
                "1.1": "excluded by exclude *.1",
                "1.2-rc1": "excluded by exclude *-rc*",
                "2.0": r"+regex \d.*, newest 1",
                "2.0-alpine": r"+regex \d.*, newest 1 of *-alpine",
                "edge": "not a version",
                "latest": NO,
            },
        ),
    ],
)
def test_each_tag_has_its_reasons(tags: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    verdicts = explain(selection(tags), LISTED)
    said = {one.tag: ("+" if one.wanted else "") + ", ".join(one.reasons) for one in verdicts}
    assert said == reasons
    assert [one.tag for one in verdicts] == LISTED


@pytest.mark.parametrize(
    "tags",
    [
        {"all": True, "newest": 1},
        {"all": True, "exclude": ["1*"], "newest": 2},
        {"semver": "*", "glob": ["l*"], "exclude": ["latest"]},
        {"exact": ["2.0", "edge"], "regex": "1.*"},
    ],
)
def test_wanted_tags_are_those_that_the_selection_chooses(tags: Mapping[str, Any]) -> None:
    chosen = selection(tags)
    wanted = {one.tag for one in explain(chosen, LISTED) if one.wanted}
    assert wanted == {exact.tag for exact in chosen.choose(LISTED)}


def test_an_exact_tag_that_is_missing_is_reported() -> None:
    (*_, absent) = explain(selection({"exact": ["1.0", "3.0"]}), LISTED)
    assert (absent.tag, absent.wanted, absent.reasons) == ("3.0", False, ("not in the repository",))


def test_reasons_name_the_line_in_which_versions_are_ordered() -> None:
    listed = [Tag(tag) for tag in ("alpine-v1.2", "alpine-v1.10", "7.0-debian-11-r2", "7.0-debian-11-r10", "1.0")]
    said = {one.tag: one.reasons for one in explain(selection({"all": True, "newest": 1}), listed)}
    assert {str(tag): reasons for tag, reasons in said.items()} == {
        "alpine-v1.2": ("not among newest 1 of alpine-*",),
        "alpine-v1.10": ("all", "newest 1 of alpine-*"),
        "7.0-debian-11-r2": ("not among newest 1 of *-debian-11",),
        "7.0-debian-11-r10": ("all", "newest 1 of *-debian-11"),
        "1.0": ("all", "newest 1"),
    }


def test_reasons_name_the_lines_that_a_range_is_for() -> None:
    said = {one.tag: one.reasons for one in explain(selection({"semver": ">=9-slim || >=9-rc1-k3s"}), LISTED)}
    assert said[Tag("1.0")] == ("matches no filter (the range is for *-slim and *-k3s)",)
    alpine = explain(selection({"semver": ">=alpine-v3"}), [Tag("alpine-v3.1"), Tag("alpine-v2"), Tag("v3")])
    assert [one.reasons for one in alpine] == [
        ("semver >=alpine-v3",),
        (NO,),
        ("matches no filter (the range is for alpine-*)",),
    ]


def test_reasons_name_the_key_of_the_filter() -> None:
    examples = load_schema("mirror")["$defs"]["tags"]["properties"]
    listed = [*LISTED, Tag("v3.0")]
    for key in FILTERS:
        value = examples[key]["examples"][0]
        include = {} if not FILTERS[key].narrows else {"all": True}
        said = {reason for one in explain(selection({**include, key: value}), listed) for reason in one.reasons}
        assert any(key in reason for reason in said), key


def test_a_thousand_tags_and_patterns_are_explained_at_once() -> None:
    listed = [Tag(f"1.{number}") for number in range(5000)]
    verdicts = explain(selection({"all": True, "exclude": ["*7"], "newest": 10}), listed)
    assert sum(one.wanted for one in verdicts) == 10
