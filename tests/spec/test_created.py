"""`newest: {by: created}`: what it chooses of tags whose images claim a time."""

from __future__ import annotations

from typing import Any

import pytest

from mirrorsync.durations import timestamp
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.spec.ages import Ages, MinAge
from mirrorsync.spec.created import Creation
from mirrorsync.spec.explain import explain
from mirrorsync.spec.filters import Newest
from mirrorsync.spec.selection import Selection
from mirrorsync.spec.tags import read_tags

# Tags with the image that they name and the time that it claims.
SIGNATURE = "sha256-" + 64 * "a" + ".sig"
LISTED = {
    "1.0": ("a", "2026-03-01T00:00:00Z"),
    "1.1": ("b", "2026-02-01T00:00:00Z"),
    "1.10": ("c", "2026-02-01T00:00:00+00:00"),
    "edge": ("d", "2026-04-01T12:00:00.123456789Z"),
    "latest": ("a", "2026-03-01T00:00:00Z"),
    "1.2-alpine": ("e", "2025-12-31T23:59:59-01:00"),
    "zip": ("f", "1980-01-01T00:00:00Z"),
    "2.0": ("g", "1970-01-01T00:00:00Z"),
    "none": ("h", ""),
    "odd": ("i", "yesterday"),
    SIGNATURE: ("j", "2026-05-01T00:00:00Z"),
}
ALL = [Tag(tag) for tag in LISTED]


def creations(*, without: str = "") -> dict[Tag, Creation]:
    found = {tag: Creation(Digest.of(name.encode()), timestamp(time)) for tag, (name, time) in LISTED.items()}
    return {Tag(tag): creation for tag, creation in found.items() if tag != without}


def read(tags: Any) -> Selection:
    return read_tags(tags, "/tags", lambda *problem: pytest.fail(str(problem)))


def chosen(selection: Selection) -> str:
    return " ".join(str(wanted.tag) for wanted in selection.choose(ALL))


@pytest.mark.parametrize(
    ("count", "tags"),
    [
        (1, "edge"),
        (2, "1.0 edge latest"),  # both tags of one image
        (3, "1.0 1.10 edge latest"),  # equal times: the higher version
        (4, "1.0 1.1 1.10 edge latest"),
        (5, "1.0 1.1 1.10 edge latest 1.2-alpine"),  # in UTC it was 2026 already
        # Without a time that counts: versions first, then names.
        (6, "1.0 1.1 1.10 edge latest 1.2-alpine 2.0"),
        (7, "1.0 1.1 1.10 edge latest 1.2-alpine 2.0 none"),
        (8, "1.0 1.1 1.10 edge latest 1.2-alpine 2.0 none odd"),
        (99, "1.0 1.1 1.10 edge latest 1.2-alpine zip 2.0 none odd"),
    ],
)
def test_the_images_that_were_created_last_are_chosen(count: int, tags: str) -> None:
    selection = read({"all": True, "newest": {"count": count, "by": "created"}})
    assert chosen(selection.dated(creations())) == tags


def test_the_order_of_the_list_does_not_decide() -> None:
    for count in range(1, 10):
        selection = read({"all": True, "newest": {"count": count, "by": "created"}}).dated(creations())
        assert {one.tag for one in selection.choose(ALL)} == {one.tag for one in selection.choose(ALL[::-1])}


def test_an_image_that_could_not_be_read_is_not_chosen() -> None:
    selection = read({"all": True, "newest": {"count": 1, "by": "created"}})
    assert chosen(selection.dated(creations(without="edge"))) == "1.0 latest"
    assert chosen(selection.dated({})) == ""


def test_only_what_the_other_filters_choose_has_to_be_read() -> None:
    newest = {"count": 1, "by": "created"}
    narrow = read({"glob": ["1.*", "sha256-*"], "exclude": ["*-alpine"], "newest": newest})
    assert [one.tag for one in narrow.candidates(ALL)] == ["1.0", "1.1", "1.10"]
    pinned = read({"exact": [f"1.0@{Digest.of(b'')}"], "glob": ["edge"], "newest": newest})
    assert [one.ref for one in pinned.candidates(ALL)] == [Digest.of(b""), "edge"]
    assert not read({"all": True, "newest": 1}).needs_creations


def test_while_the_newest_waits_the_one_before_it_is_wanted() -> None:
    selection = read({"all": True, "newest": {"count": 1, "by": "created"}}).waiting(MinAge.parse("1d"))
    aged = selection.aged(Ages(100_000.0, {tag: 99_999.0 if tag == "edge" else 0.0 for tag in ALL}))
    assert len(aged.candidates(ALL)) == len(ALL) - 1
    assert chosen(aged.dated(creations())) == "edge 1.0 latest"


def test_by_version_is_the_same_as_the_number() -> None:
    for value in ({"count": 2}, {"count": 2, "by": "version"}):
        assert read({"all": True, "newest": value, "per": "major"}).narrows == (Newest(2, "major"),)


def test_the_claimed_times_are_explained() -> None:
    selection = read({"all": True, "newest": {"count": 1, "by": "created"}}).dated(creations(without="1.1"))
    said = {str(one.tag): one.reasons for one in explain(selection, ALL)}
    assert said["edge"] == ("all", "newest 1 by created: 2026-04-01 12:00 UTC")
    assert said["1.0"] == ("not among newest 1 by created: 2026-03-01 00:00 UTC",)
    assert said["2.0"] == ("not among newest 1 by created: 1970-01-01 00:00 UTC, which is ordered last",)
    assert said["none"] == ("not among newest 1 by created: does not say when, which is ordered last",)
    assert said["1.1"] == ("newest 1 by created: the time is not known",)
    assert said[SIGNATURE] == ("belongs to another image",)


def test_per_compares_versions_only() -> None:
    problems = []
    value = {"all": True, "newest": {"count": 1, "by": "created"}, "per": "minor"}
    read_tags(value, "/tags", lambda *problem: problems.append(problem))
    message = "this has no effect with by: created, which compares times and not versions"
    assert problems == [("/tags/per", message, "remove one of them")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01t00:00:01.5z", 1.5),
        ("1970-01-01T01:00:00.123456789+01:00", 0.123456),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("2026-13-01T00:00:00Z", None),
        ("2026-11-25", None),
        ("20261125T031700Z", None),
        ("2026-11-25T03:17:00", None),
        ("1700000000", None),
        ("", None),
    ],
)
def test_times_are_read_as_rfc_3339_says(text: str, seconds: float | None) -> None:
    assert timestamp(text) == seconds
