"""Which of a repository's tags are wanted: each key of `tags:`, and how they are combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.spec.selection import Selection, Wanted
from mirrorsync.spec.tags import read_tags

PIN = Digest.of(b"pinned")
_LISTED = (
    "latest edge 3 3.18 3.18.0 3.18.4 v3.19 3.19 3.19.1 3.20 3.20.0 3.20.0_rc1 3.20.0-rc2 4.0-beta 3.18-alpine "
    "3.19-alpine 3.20-alpine 3.19-slim 20240101 sha-abc"
)
TAGS = [Tag(tag) for tag in _LISTED.split()]


def selection(tags: Any) -> Selection:
    problems: list[tuple[str, str, str]] = []
    found = read_tags(tags, "/tags", lambda *problem: problems.append(problem))
    assert problems == []
    return found


def chosen(tags: Any, listed: Sequence[str] = TAGS) -> str:
    return " ".join(str(wanted.tag) for wanted in selection(tags).choose(map(Tag, listed)))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"all": True}, " ".join(TAGS)),
        ({"glob": ["3.18*"]}, "3.18 3.18.0 3.18.4 3.18-alpine"),
        ({"glob": ["3.1?", "edge"]}, "edge 3.18 3.19"),
        ({"glob": ["3.[!12]*", "[ls]*"]}, "latest sha-abc"),
        ({"glob": ["LATEST", "3.18"]}, "3.18"),
        ({"glob": ["3*0", "nothing"]}, "3.18.0 3.20 3.20.0"),
        ({"regex": "3"}, "3"),
        ({"regex": r"v?\d+\.\d+"}, "3.18 v3.19 3.19 3.20"),
        ({"regex": r"^3\.18|.*-alpine$"}, "3.18 3.18-alpine 3.19-alpine 3.20-alpine"),
        ({"regex": r"(?i)LATEST|\p{L}+"}, "latest edge"),
        ({"semver": "3.18"}, "3.18 3.18.0 3.18.4"),
        ({"semver": ">=3.19 <4"}, "v3.19 3.19 3.19.1 3.20 3.20.0"),
        ({"semver": ">=3.20"}, "3.20 3.20.0 20240101"),
        ({"semver": ">=3.20-rc1 <4"}, "3.20 3.20.0 3.20.0_rc1 3.20.0-rc2"),
        ({"semver": ">=3.19-alpine"}, "3.19-alpine 3.20-alpine"),
        ({"semver": ">=4-slim"}, ""),
    ],
)
def test_a_filter_includes(tags: dict[str, Any], expected: str) -> None:
    assert chosen(tags) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        # united
        ({"exact": ["latest"], "glob": ["edge"], "semver": "3.18"}, "latest edge 3.18 3.18.0 3.18.4"),
        ({"glob": ["3.18*"], "regex": "3.18.4", "semver": "3.18.4"}, "3.18 3.18.0 3.18.4 3.18-alpine"),
        # narrowed
        ({"all": True, "exclude": ["*-*", "*_*", "[!3]*"]}, "3 3.18 3.18.0 3.18.4 3.19 3.19.1 3.20 3.20.0"),
        ({"exact": ["3.18"], "glob": ["3.19*"], "exclude": ["*-*"]}, "3.18 3.19 3.19.1"),
        ({"all": True, "exclude": ["*"]}, ""),
        # the newest of each variant, equal versions together, without tags that are not versions
        ({"semver": "3.x", "newest": 1}, "3.20 3.20.0"),
        ({"semver": "3.x", "newest": 2}, "3.19.1 3.20 3.20.0"),
        ({"glob": ["3.*"], "newest": 1}, "3.20 3.20.0 3.20-alpine 3.19-slim"),
        ({"semver": ">=3-alpine", "newest": 2}, "3.19-alpine 3.20-alpine"),
        ({"glob": ["latest", "edge", "3.18.*"], "newest": 9}, "3.18.0 3.18.4"),
        ({"semver": ">=3.18", "newest": 1}, "20240101"),
        ({"glob": ["4*", "3.20*rc*"], "newest": 2}, "3.20.0-rc2 4.0-beta"),
        # what is excluded is not counted
        ({"semver": "3.x", "exclude": ["3.20*"], "newest": 1}, "3.19.1"),
        ({"newest": 1, "exclude": ["3.20*"], "semver": "3.x"}, "3.19.1"),
        # exact tags are united first and narrowed with the others
        ({"exact": ["3.18", "9.9"], "semver": "3.x", "newest": 1}, "9.9"),
    ],
)
def test_including_filters_are_united_and_then_narrowed(tags: dict[str, Any], expected: str) -> None:
    assert chosen(tags) == expected


def test_exact_tags_are_wanted_whether_or_not_they_are_listed() -> None:
    wanted = selection(["9.9", "latest"])
    assert not wanted.lists
    assert wanted.choose(()) == (Wanted(Tag("9.9"), Tag("9.9")), Wanted(Tag("latest"), Tag("latest")))


def test_exact_tags_need_no_list_of_tags() -> None:
    assert not selection({"exact": ["1", "2", "3"], "newest": 2, "exclude": ["x"]}).lists
    assert selection({"exact": ["1"], "glob": ["x"]}).lists


def test_an_exact_tag_keeps_its_digest_when_a_filter_finds_it_too() -> None:
    found = selection({"exact": [f"3.20@{PIN}"], "glob": ["3.20*"], "exclude": ["*-*", "*_*"], "newest": 1})
    assert found.choose(TAGS) == (Wanted(Tag("3.20"), PIN), Wanted(Tag("3.20.0"), Tag("3.20.0")))


def test_digests_are_not_narrowed() -> None:
    found = selection({"exact": [str(PIN), "1"], "exclude": ["sha256*"], "newest": 1})
    assert found.exact == (Wanted(None, PIN), Wanted(Tag("1"), Tag("1")))
    assert found.choose(()) == (Wanted(Tag("1"), Tag("1")), Wanted(None, PIN))


def test_a_tag_that_is_listed_twice_is_wanted_once_under_newest() -> None:
    assert chosen({"semver": "3.x", "newest": 1}, ["3.18", "3.19", "3.18", "3.19"]) == "3.19"


@pytest.mark.parametrize(
    "tags", [{"regex": "(a+)+b"}, {"glob": ["*a*a*a*a*a*a*a*a*b"]}, {"all": True, "exclude": ["*a*a*a*a*b"]}]
)
def test_patterns_run_in_linear_time(tags: dict[str, Any]) -> None:
    # An engine that backtracks would need longer than the age of the earth, and this test would never end.
    assert chosen(tags, ["a" * 128] * 100) in ("", " ".join(["a" * 128] * 100))


def test_tags_are_chosen_among_100_000() -> None:
    listed = [f"{major}.{minor}.{patch}" for major in range(10) for minor in range(100) for patch in range(100)]
    assert chosen({"semver": ">=3", "exclude": ["*.9*"], "newest": 2}, listed) == "9.89.88 9.89.89"
