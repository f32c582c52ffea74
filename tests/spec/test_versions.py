"""Versions in tags: which tags are versions, their order, and which ones a range includes."""

from __future__ import annotations

import random

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.spec.versions import Version, VersionRange, parse_version


def words(text: str) -> list[str]:
    return text.split()


# Numbers and stages as Masterminds/semver (Helm, regsync) and npm read them, in the spellings that tags have.
RELEASES = words(
    "0.0.0 0.0.3 0.0.4 0.1.0 0.2.3 0.2.4 0.3.0 1 1.0.0 1.1.9 1.2 v1.2 1.2.0 1.2.3 1.2.4 1.3 1.3.0 1.4.0 1.4.1 1.4.2 "
    "1.5.0 1.9.9 2 2.0.0 2.0.1 3.0.0"
)
EARLY = words("1.2.3-alpha 1.2.3-beta.2 1.2.3-beta.10 1.2.3-rc1 1.2.3-rc2 1.2.3-rc10 1.2.4-rc1 1.3.0-rc1 2.0.0-rc1")
OTHERS = words("1.2.3-alpine 1.3-alpine 1.2.4-alpine 1.2-0 1.3.0-0 1.2.3.4 20240101 latest stable-1.2")
ALL = [*RELEASES, *EARLY, *OTHERS]


def version(tag: str) -> Version:
    found = parse_version(tag)
    assert found is not None, tag
    return found


def taken(text: str, tags: list[str]) -> list[str]:
    chosen = VersionRange.parse(text)
    return [tag for tag in tags if (found := parse_version(tag)) is not None and found in chosen]


def between(first: str, last: str) -> list[str]:
    return RELEASES[RELEASES.index(first) : RELEASES.index(last) + 1]


def without(*tags: str) -> list[str]:
    return [tag for tag in RELEASES if tag not in tags]


_TWELVE = between("1.2", "1.2.4")

# What Masterminds/semver 3 and node-semver 7 choose of RELEASES and EARLY; both were asked.
AGREED = {
    "1.2.3": ["1.2.3"],
    "=1.2.3": ["1.2.3"],
    "1.2": _TWELVE,
    "=1.2": _TWELVE,
    "v1.2": _TWELVE,
    "1.2.x": _TWELVE,
    "1": between("1", "1.9.9"),
    "1.x": between("1", "1.9.9"),
    "1.X": between("1", "1.9.9"),
    "1.*": between("1", "1.9.9"),
    "*": RELEASES,
    "x": RELEASES,
    ">=*": RELEASES,
    "~x": RELEASES,
    "<*": [],
    ">1.2": between("1.3", "3.0.0"),
    ">=1.2": between("1.2", "3.0.0"),
    ">=v1.2": between("1.2", "3.0.0"),
    "  >=  1.2  ": between("1.2", "3.0.0"),
    "<1.2": between("0.0.0", "1.1.9"),
    "<=1.2": between("0.0.0", "1.2.4"),
    ">1": between("2", "3.0.0"),
    "<=1": between("0.0.0", "1.9.9"),
    "~1": between("1", "1.9.9"),
    "~1.2": _TWELVE,
    "~1.2.3": ["1.2.3", "1.2.4"],
    "~>1.2": _TWELVE,
    "^1": between("1", "1.9.9"),
    "^1.2": between("1.2", "1.9.9"),
    "^1.2.3": between("1.2.3", "1.9.9"),
    "^0": between("0.0.0", "0.3.0"),
    "^0.0": between("0.0.0", "0.0.4"),
    "^0.2": between("0.2.3", "0.2.4"),
    "^0.2.3": between("0.2.3", "0.2.4"),
    "^0.0.3": ["0.0.3"],
    "1.2 - 1.4": between("1.2", "1.4.2"),
    "1.2.0 - 1.4.1": between("1.2", "1.4.1"),
    "1.2.3 - 2": between("1.2.3", "2.0.1"),
    ">=1.2 <2": between("1.2", "1.9.9"),
    ">= 1.2 < 2": between("1.2", "1.9.9"),
    "<1 || >=2": [*between("0.0.0", "0.3.0"), *between("2", "3.0.0")],
    "1.2.x || 2.x": [*_TWELVE, *between("2", "2.0.1")],
    "1.2.3-rc1": ["1.2.3-rc1"],
}

# Where only Masterminds/semver knows the notation, and chooses the same.
MASTERMINDS = {
    ">=1.2, <2": between("1.2", "1.9.9"),
    ">=1.2,<2": between("1.2", "1.9.9"),
    "!=1.2": without(*_TWELVE),
    "!=1.2.3": without("1.2.3"),
    ">=1.2 !=1.3": [tag for tag in between("1.2", "3.0.0") if tag not in ("1.3", "1.3.0")],
}

# Where we differ on purpose: a suffix is a variant, a range that names a pre-release takes all of them that it spans,
# and what would be read in two ways is taken in the one that looks right.
OURS = {
    ">=1.2<2": [*between("1.2", "1.9.9"), "1.2.3.4"],
    "==1.2.3": ["1.2.3", "1.2.3.4"],
    "1.2.3.4": ["1.2.3.4"],
    ">1.2.3.3 <1.2.4": ["1.2.3.4"],
    ">=1.2.3-rc1": [*between("1.2.3", "3.0.0"), *EARLY[3:], "1.2.3.4", "20240101"],
    ">=1.2.3-rc1 <2": [*between("1.2.3", "1.9.9"), *EARLY[3:-1], "1.2.3.4"],
    "<1.2.3-rc2": [*between("0.0.0", "1.2.0"), *EARLY[:4]],
    "<=1.2.3-rc2": [*between("0.0.0", "1.2.0"), *EARLY[:5]],
    ">1.2.3-rc2": [*between("1.2.3", "3.0.0"), *EARLY[5:], "1.2.3.4", "20240101"],
    "~1.2.3-beta.2": ["1.2.3", "1.2.4", *EARLY[1:7], "1.2.3.4"],
    "!=1.2.3-rc1 <2": [*between("0.0.0", "1.9.9"), *EARLY[:3], *EARLY[4:8], "1.2.3.4"],
    "<2": [*between("0.0.0", "1.9.9"), "1.2.3.4"],
    ">=1.2-alpine": ["1.2.3-alpine", "1.3-alpine", "1.2.4-alpine"],
    ">1.2.3-alpine": ["1.3-alpine", "1.2.4-alpine"],
    "~1.2-alpine": ["1.2.3-alpine", "1.2.4-alpine"],
    "1.x-alpine": ["1.2.3-alpine", "1.3-alpine", "1.2.4-alpine"],
    "*-alpine": ["1.2.3-alpine", "1.3-alpine", "1.2.4-alpine"],
    ">=1.2.4-alpine <2-alpine || 1.2.3": ["1.2.3", "1.3-alpine", "1.2.4-alpine", "1.2.3.4"],
    ">=1.2-0": ["1.2-0", "1.3.0-0"],
    ">3": ["20240101"],
    ">*": [],
    "!=*": [],
}


@pytest.mark.parametrize(("text", "expected"), [*AGREED.items(), *MASTERMINDS.items()])
def test_a_range_includes_the_same_as_in_helm_and_npm(text: str, expected: list[str]) -> None:
    assert taken(text, [*RELEASES, *EARLY]) == expected


@pytest.mark.parametrize(("text", "expected"), OURS.items())
def test_a_range_includes_these_tags(text: str, expected: list[str]) -> None:
    assert sorted(taken(text, ALL)) == sorted(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "latest",
        ">=",
        "=>1.2",
        "=<1.2",
        ">=1.2 ||",
        "||",
        ",1",
        "1.2.3.4.5",
        "1.x.3",
        "x.1",
        "1..2",
        "-1",
        "1.2+build",
        ">=1.2-alpine*",
        "1.x-rc1",
        "*-beta",
        "^^1",
        ">=1 <2-alpine",
        "1.2 -1.4",
        "1 - 2 - 3",
        "1,5 - 2",
    ],
)
def test_an_invalid_range_is_rejected_with_a_remedy(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        VersionRange.parse(text)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("tag", "variant", "released"),
    [
        ("3", "", True),
        ("v1.27.3", "", True),
        ("V1", "", True),
        ("2024.01.02", "", True),
        ("2024-01-02", "", True),
        ("2024-01-02-slim", "slim", True),
        ("2024-01-021", "01-021", True),
        ("1.2.3.4", "", True),
        ("1.27.3-alpine", "alpine", True),
        ("1.27.3-alpine3.20", "alpine3.20", True),
        ("3.12-slim-bookworm", "slim-bookworm", True),
        ("8.0_jdk", "jdk", True),
        ("1.0-arm64", "arm64", True),
        ("1.0-x86_64", "x86_64", True),
        ("1.27-mainline", "mainline", True),
        ("7.2.4-debian-12-r3", "debian-12-r3", True),
        ("3.5.9-0", "0", True),
        ("1.27-rc1", "", False),
        ("1.27rc1", "", False),
        ("1.27.rc1", "", False),
        ("1.27_rc.1", "", False),
        ("1.27-RC1", "", False),
        ("3.0.0-M2", "", False),
        ("2.1.0-SNAPSHOT", "", False),
        ("3.14.0a4", "", False),
        ("3.14.0b1", "", False),
        ("1.0.dev3", "", False),
        ("1.0-nightly-20240101", "", False),
        ("21-ea-1-jdk-slim", "jdk-slim", False),
        ("3.14-rc-slim", "slim", False),
        ("1.27-beta.2-alpine", "alpine", False),
    ],
)
def test_a_tag_is_a_version_of_a_variant(tag: str, variant: str, released: bool) -> None:
    found = version(tag)
    assert (found.variant, found.released) == (variant, released)


@pytest.mark.parametrize(
    "tag",
    [
        "latest",
        "alpine",
        "alpine3.20",
        "v",
        "",
        "-1",
        "1.",
        "1..2",
        "1.2.3.4.5",
        "1-",
        "1_",
        "v1v2",
        "release-1.2",
        "8f3e2a1",
        "bookworm-20240101",
        "1.0.Final",
        "1" * 40,
    ],
)
def test_a_tag_is_not_a_version(tag: str) -> None:
    assert parse_version(tag) is None


@pytest.mark.parametrize(
    "same", ["3.18 3.18.0 v3.18.0.0 V3.18", "1-alpine v1.0-alpine", "1.0-rc1 1.0rc1 1.0.RC.1", "01.2 1.02"]
)
def test_these_are_the_same_version(same: str) -> None:
    assert len({version(tag) for tag in same.split()}) == 1


IN_ORDER = words(
    "0 0.0.1 0.9 1.0-dev 1.0-dev.2 1.0-alpha 1.0-a1 1.0-alpha.1.1 1.0-alpha2 1.0-beta1 1.0-beta.10 1.0-m1 1.0-pre "
    "1.0-rc 1.0-rc1 1.0-rc2 1.0-rc10 1.0 1.0.0.1 1.0.1 1.1 1.9 1.10 1.10.1 2 10 20240101"
)


def test_versions_are_in_this_order() -> None:
    keys = [version(tag).key for tag in IN_ORDER]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def _random_tag(chance: random.Random) -> str:
    numbers = ".".join(str(chance.choice([0, 1, 2, 9, 10, 11, 100])) for _ in range(chance.randint(1, 4)))
    stage = chance.choice(["", "", "-alpha", "-beta.", "rc", "-rc", ".dev"])
    number = str(chance.choice([0, 1, 2, 10])) if stage and chance.random() < 0.8 else ""
    stage = stage.rstrip(".") if not number else stage
    return chance.choice(["", "v"]) + numbers + stage + number


def test_versions_are_ordered_by_their_numbers() -> None:
    chance = random.Random(20240101)
    tags = [_random_tag(chance) for _ in range(400)]
    for one, other in zip(tags, reversed(tags), strict=True):
        low, high = sorted([version(one), version(other)], key=lambda found: found.key)
        assert low.key[0] <= high.key[0]
        if low.key[0] == high.key[0] and low.released:
            assert high.released
        # A range agrees with the order, from both sides, whichever way the versions are written.
        low_tag, high_tag = (one, other) if version(one) is not high and version(one).key == low.key else (other, one)
        assert taken(f">={low_tag}", [high_tag]) == ([high_tag] if _seen(low_tag, high_tag) else [])
        assert taken(f"<{low_tag}", [high_tag]) == []


def _seen(named: str, tag: str) -> bool:
    return version(tag).released or not version(named).released


def test_a_version_is_in_the_range_of_itself_and_of_no_other_variant() -> None:
    chance = random.Random(7)
    for tag in [_random_tag(chance) for _ in range(400)]:
        assert taken(f"={tag}", [tag]) == [tag]
        assert taken(f">={tag}", [tag]) == [tag]
        assert taken(f"<={tag}", [tag]) == [tag]
        assert taken(f"~{tag}", [tag]) == [tag]
        assert taken(f"^{tag}", [tag]) == [tag]
        assert taken(f"{tag} - {tag}", [tag]) == [tag]
        assert taken(f">{tag}", [tag]) == []
        assert taken(f"<{tag}", [tag]) == []
        assert taken(f"!={tag}", [tag]) == []
        assert taken(f"={tag}-alpine", [tag]) == []
        assert taken(f"={tag}-alpine", [f"{tag}-alpine"]) == [f"{tag}-alpine"]


def test_a_date_is_three_numbers_in_both_spellings() -> None:
    assert version("2024-01-02").key == version("2024.01.02").key
    dates = ["2023-12-31", "2024-01-02", "2024-01-10", "2024-02-01-slim"]
    assert taken(">=2024-01-02", dates) == ["2024-01-02", "2024-01-10"]
    assert taken("2024-01-02 - 2024-01-09", dates) == ["2024-01-02"]
