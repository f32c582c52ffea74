"""Versions in tags: which tags are versions, their order, and which ones a range includes."""

from __future__ import annotations

import random

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.spec.ranges import VersionRange
from mirrorsync.spec.versions import Version, parse_version


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
    # Helm's "with pre-releases", which the tags of etcd are for Helm, too.
    ">=1.2-0": [*between("1.2", "3.0.0"), *EARLY, "1.2-0", "1.3.0-0", "1.2.3.4", "20240101"],
    ">=1.2.4-0 <2": [*between("1.2.4", "1.9.9"), *EARLY[6:8], "1.3.0-0"],
    ">1.2.3-0 <1.2.4-0": ["1.2.3", "1.2.3.4", *EARLY[:6]],
    "^1.3-0": [*between("1.3", "1.9.9"), "1.3.0-rc1", "1.3.0-0"],
    "1.3.x-0": ["1.3", "1.3.0", "1.3.0-rc1", "1.3.0-0"],
    "*-0": [*RELEASES, *EARLY, "1.2-0", "1.3.0-0", "1.2.3.4", "20240101"],
    "1.3.0-0": ["1.3.0-0"],
    ">=1.2-N": ["1.2-0", "1.3.0-0"],
    ">=stable-1.1": ["stable-1.2"],
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
        "1.x-k3s1",
        "1.x_8-jre",
        "*-1",
        ">=alpine-1 <3",
        "sha-1",
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
        ("7.2.4-debian-12-r3", "debian-12", True),
        ("7.2.4-debian-12", "debian-12", True),
        ("3.5.9-0", "N", True),
        ("1.2.3-r10", "r", True),
        ("v1.30.2-k3s1", "k3s", True),
        ("v1.30.2-rc1-k3s1", "k3s", False),
        ("v1.30.2-k3s2-amd64", "k3s-amd64", True),
        ("7.0.5-debian-12-r10-arm64", "debian-12-arm64", True),
        ("1.2.3-r1-slim-bookworm", "slim-bookworm", True),
        ("1.0-l4t-r36.2.0", "l4t-r36.2.0", True),
        ("v1.30.2-rke2r1", "rke2", True),
        ("v1.30.2-eksbuild.3", "eksbuild", True),
        ("v1.30.2-gke.1587003", "gke", True),
        ("10.9.2-ls45", "ls", True),
        ("1.2.3-alpine-build.7", "alpine", True),
        ("17.0.5_8-jre", "jre", True),
        ("17.0.5_8", "", True),
        ("3.9-eclipse-temurin-17", "eclipse-temurin-17", True),
        ("1.2-ubuntu-22.04", "ubuntu-22.04", True),
        ("1.2.3-alpine3", "alpine3", True),
        ("1.2.3-jdk11", "jdk11", True),
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
        "8f3e2a1",
        "a1b2c3d-20240101",
        "sha-1234567",
        "sha256-1234567",
        "main-8f3e2a1-1700000000",
        "main-a1b2c3d-1700000000",
        "alpine-3.",
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


def test_java_8_counts_its_updates_behind_a_u() -> None:
    assert version("8u352-b08-jdk-alpine") == version("8.0.352_8-jdk-alpine")
    tags = ["7u80", "8u92-b14", "8u352-b08", "11.0.17_8"]
    assert taken(">=8 <9", tags) == ["8u92-b14", "8u352-b08"]
    assert parse_version("8ubuntu") is None


@pytest.mark.parametrize(
    ("tag", "prefix", "same"),
    [
        ("alpine-v3.18", "alpine", "3.18"),
        ("alpine-3.18-slim", "alpine", "3.18-slim"),
        ("release-1.2", "release", "1.2"),
        ("release_1.2-rc1", "release", "1.2-rc1"),
        ("bookworm-20240101", "bookworm", "20240101"),
        ("my-app-1.2.3-r4", "my-app", "1.2.3-r4"),
        ("php8.3-fpm-1.2", "php8.3-fpm", "1.2"),
        ("debian-12-v1.2.3", "debian-12", "1.2.3"),
        ("RELEASE.2024-05-10T01-41-38Z", "RELEASE", "2024.5.10.14138"),
        ("RELEASE.2024-05-10T01-41-38Z.fips", "RELEASE", "2024.5.10.14138-fips"),
        ("RELEASE.2024-05-10T01-41-38Z-cpuv1", "RELEASE", "2024.5.10.14138-cpuv1"),
        ("nightly-20240510T014138Z", "nightly", "20240510.14138"),
    ],
)
def test_a_prefix_before_a_version_is_a_line_of_its_own(tag: str, prefix: str, same: str) -> None:
    found, plain = version(tag), version(same)
    assert (found.line.prefix, found.variant, found.key) == (prefix, plain.variant, plain.key)


@pytest.mark.parametrize(
    "in_order",
    [
        "7.0.5-debian-11 7.0.5-debian-11-r0 7.0.5-debian-11-r9 7.0.5-debian-11-r10 7.0.8-debian-11-r0",
        "1.2.3-r0 1.2.3-r1 1.2.3-r10 1.2.4-r0",
        "v1.29.5-k3s4 v1.30.2-rc1-k3s9 v1.30.2-k3s1 v1.30.2-k3s2 v1.30.2-k3s10",
        "17.0.5-jre 17.0.5_8-jre 17.0.5_10-jre 17.0.5.1_1-jre",
        "3.5.9-0 3.5.9-1 3.5.9-10 3.5.10-0",
        "v1.11.1-eksbuild.9 v1.11.1-eksbuild.10",
        "alpine-v1.0.0 alpine-v2.0.0 alpine-v15.7.1",
        "RELEASE.2023-12-31T23-59-59Z RELEASE.2024-05-10T01-41-38Z RELEASE.2024-05-10T11-00-00Z",
        "8u92-b14-jre 8u352-jre 8u352-b08-jre 8u352-b10-jre 8u362-b09-jre 11.0.17_8-jre",
    ],
)
def test_versions_of_one_line_are_in_this_order(in_order: str) -> None:
    found = [version(tag) for tag in in_order.split()]
    assert len({one.line for one in found}) == 1
    assert [one.key for one in found] == sorted({one.key for one in found})


_K3S = words("v1.29.5-k3s4 v1.30.2-k3s1 v1.30.2-k3s2 v1.30.3-k3s1 v1.30.2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">=1.30-k3s", "v1.30.2-k3s1 v1.30.2-k3s2 v1.30.3-k3s1"),
        (">=1.30.2-k3s2", "v1.30.2-k3s2 v1.30.3-k3s1"),
        (">1.30.2-k3s1", "v1.30.2-k3s2 v1.30.3-k3s1"),
        ("<1.30.2-k3s2", "v1.29.5-k3s4 v1.30.2-k3s1"),
        ("<=1.30.2-k3s1", "v1.29.5-k3s4 v1.30.2-k3s1"),
        ("<1.30.2-k3s", "v1.29.5-k3s4"),
        ("1.30.2-k3s1", "v1.30.2-k3s1"),
        ("1.30.2-k3s", "v1.30.2-k3s1 v1.30.2-k3s2"),
        ("~1.30.2-k3s2", "v1.30.2-k3s2 v1.30.3-k3s1"),
        ("1.30.x-k3s", "v1.30.2-k3s1 v1.30.2-k3s2 v1.30.3-k3s1"),
        ("!=1.30.2-k3s1", "v1.29.5-k3s4 v1.30.2-k3s2 v1.30.3-k3s1"),
        ("1.30.x", "v1.30.2"),
    ],
)
def test_a_range_that_names_a_revision_has_its_end_there(text: str, expected: str) -> None:
    assert taken(text, _K3S) == expected.split()


def test_a_range_with_a_prefix_is_for_the_versions_of_that_prefix() -> None:
    tags = words("alpine-v3.18 alpine-v3.19 alpine-v3.19-slim debian-v3.19 3.19 RELEASE.2024-05-10T01-41-38Z")
    assert taken(">=alpine-3.19", tags) == ["alpine-v3.19"]
    assert taken("alpine-v3.x", tags) == ["alpine-v3.18", "alpine-v3.19"]
    assert taken(">=RELEASE.2024-05-10", tags) == ["RELEASE.2024-05-10T01-41-38Z"]
    assert taken(">RELEASE.2024-05-10T01-41-38Z", tags) == []
    assert taken(">=3", tags) == ["3.19"]
