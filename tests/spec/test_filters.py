"""Which of a repository's tags are wanted: each key of `tags:`, and how they are combined."""

from __future__ import annotations

import fnmatch
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


def chosen_by_glob(pattern: str) -> str:
    return " ".join(tag for tag in TAGS if fnmatch.fnmatchcase(tag, pattern))


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
        ({"glob": ["3.*"], "exclude_regex": [r".*[-_].*", r"3\.18.*"]}, "3.19 3.19.1 3.20 3.20.0"),
        ({"glob": ["3.*"], "exclude_regex": ["3", "rc", "18"]}, chosen_by_glob("3.*")),
        ({"glob": ["3.*"], "keep": [r".*-.*"]}, "3.20.0-rc2 3.18-alpine 3.19-alpine 3.20-alpine 3.19-slim"),
        ({"glob": ["3.*"], "keep": [r".*-.*", r".*alpine", r"3\.(18|20).*"]}, "3.18-alpine 3.20-alpine"),
        ({"all": True, "keep": ["alpine"]}, ""),
        ({"all": True, "exclude": ["latest"], "exclude_regex": ["edge"], "keep": ["[a-z]*"]}, ""),
        # the newest of each variant, equal versions together, without tags that are not versions
        ({"semver": "3.x", "newest": 1}, "3.20 3.20.0"),
        ({"semver": "3.x", "newest": 2}, "3.19.1 3.20 3.20.0"),
        ({"glob": ["3.*"], "newest": 1}, "3.20 3.20.0 3.20-alpine 3.19-slim"),
        ({"semver": ">=3-alpine", "newest": 2}, "3.19-alpine 3.20-alpine"),
        ({"glob": ["latest", "edge", "3.18.*"], "newest": 9}, "3.18.0 3.18.4"),
        ({"semver": ">=3.18", "newest": 1}, "20240101"),
        ({"glob": ["4*", "3.20*rc*"], "newest": 2}, "3.20.0-rc2 4.0-beta"),
        # a prefix is a line of its own
        ({"glob": ["latest", "[a-z]*"], "newest": 1}, "v3.19"),
        # what is excluded is not counted
        ({"semver": "3.x", "exclude": ["3.20*"], "newest": 1}, "3.19.1"),
        ({"newest": 1, "exclude": ["3.20*"], "semver": "3.x"}, "3.19.1"),
        ({"semver": "3.x", "exclude_regex": [r"3\.20.*"], "newest": 1}, "3.19.1"),
        ({"newest": 1, "keep": [r"3\.18.*"], "semver": "3.x"}, "3.18.4"),
        # exact tags are united first and narrowed with the others
        ({"exact": ["3.18", "9.9"], "semver": "3.x", "newest": 1}, "9.9"),
    ],
)
def test_including_filters_are_united_and_then_narrowed(tags: dict[str, Any], expected: str) -> None:
    assert chosen(tags) == expected


REVISIONS = [f"7.0.5-debian-11-r{number}" for number in range(11)]
REVISIONS += [f"7.0.8-debian-11-r{number}" for number in range(4)] + ["7.0.9-debian-12-r0"]


@pytest.mark.parametrize(
    ("listed", "newest", "expected"),
    [
        (REVISIONS, 1, "7.0.8-debian-11-r3 7.0.9-debian-12-r0"),
        (REVISIONS, 2, "7.0.8-debian-11-r2 7.0.8-debian-11-r3 7.0.9-debian-12-r0"),
        (["v1.30.2-k3s1", "v1.30.2-k3s2", "v1.29.5-k3s4"], 1, "v1.30.2-k3s2"),
        (["v1.30.2-rke2r1", "v1.30.2-rke2r10", "v1.30.2-rke2r9"], 1, "v1.30.2-rke2r10"),
        (["1.2.3-r0", "1.2.3-r1", "1.2.3-r10", "1.2.4-r0"], 1, "1.2.4-r0"),
        (["1.2.3-r0", "1.2.3-r1", "1.2.3-r10"], 1, "1.2.3-r10"),
        (["17.0.5_8-jre", "17.0.5_10-jre", "17.0.5_10-jdk"], 1, "17.0.5_10-jre 17.0.5_10-jdk"),
        (["3.5.9-0", "3.5.10-0", "3.5.10-1"], 1, "3.5.10-1"),
        # The plain version is another variant: it moves with the newest revision, and is what most clients pull.
        (["1.2.3", "1.2.4", "1.2.4-r0", "1.2.4-r1"], 1, "1.2.4 1.2.4-r1"),
        # What an image was built on is not a revision.
        (["3.9-temurin-17", "3.9-temurin-21", "3.9-alpine3.19", "3.9-alpine3.20"], 1,
         "3.9-temurin-17 3.9-temurin-21 3.9-alpine3.19 3.9-alpine3.20"),
    ],
)  # fmt: skip
def test_the_newest_revision_is_the_newest_of_its_variant(listed: list[str], newest: int, expected: str) -> None:
    assert chosen({"all": True, "newest": newest}, listed) == expected


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("alpine-v1.0.0 alpine-v15.7.1", "alpine-v15.7.1"),
        ("alpine-v1.0.0 alpine-v15.7.1 debian-v2.0.0 1.0.0 latest", "alpine-v15.7.1 debian-v2.0.0 1.0.0"),
        ("release-1.2 release-1.10 release-1.10-rc1", "release-1.10"),
        ("RELEASE.2024-05-10T01-41-38Z RELEASE.2024-05-10T11-00-00Z RELEASE.2023-12-31T23-59-59Z latest",
         "RELEASE.2024-05-10T11-00-00Z"),
        ("RELEASE.2024-05-10T01-41-38Z.fips RELEASE.2023-05-10T01-41-38Z.fips RELEASE.2022-01-01T00-00-00Z",
         "RELEASE.2024-05-10T01-41-38Z.fips RELEASE.2022-01-01T00-00-00Z"),
        ("bookworm-20240101 bookworm-20240211 bullseye-20230101", "bookworm-20240211 bullseye-20230101"),
    ],
)  # fmt: skip
def test_the_newest_of_each_prefix_is_wanted(listed: str, expected: str) -> None:
    assert chosen({"all": True, "newest": 1}, listed.split()) == expected


def test_helms_idiom_includes_prereleases() -> None:
    listed = ["0.9.0", "1.0.0", "1.1.0-rc1", "1.1.0", "1.2.0-beta.1", "1.2.0-alpine", "1.2.0-1", "latest"]
    assert chosen({"semver": ">=1.0-0"}, listed) == "1.0.0 1.1.0-rc1 1.1.0 1.2.0-beta.1 1.2.0-1"
    assert chosen({"semver": ">=1.0.0-0 <1.2.0-0"}, listed) == "1.0.0 1.1.0-rc1 1.1.0"


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
    "tags",
    [
        {"regex": "(a+)+b"},
        {"glob": ["*a*a*a*a*a*a*a*a*b"]},
        {"all": True, "exclude": ["*a*a*a*a*b"]},
        {"all": True, "exclude_regex": ["(a+)+b"]},
        {"all": True, "keep": ["(a+)+b"]},
    ],
)
def test_patterns_run_in_linear_time(tags: dict[str, Any]) -> None:
    # An engine that backtracks would need longer than the age of the earth, and this test would never end.
    assert chosen(tags, ["a" * 128] * 100) in ("", " ".join(["a" * 128] * 100))


def test_tags_are_chosen_among_100_000() -> None:
    listed = [f"{major}.{minor}.{patch}" for major in range(10) for minor in range(100) for patch in range(100)]
    assert chosen({"semver": ">=3", "exclude": ["*.9*"], "newest": 2}, listed) == "9.89.88 9.89.89"
