"""Mirrors without images, or with an invalid name: each is reported, and the others are mirrored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync

ONE = {"app:1": image([layer({"a": b"1"})])}


@pytest.fixture
def good_mirror(tmp_path: Path) -> dict[str, object]:
    """Return a mirror that works, to be mirrored next to one that does not."""
    write_layout(tmp_path / "good", ONE)
    return {"from": "oci:good", "tags": {"all": True}}


@pytest.mark.parametrize("made", [False, True])
def test_a_source_layout_without_images_is_a_failure(
    mirrorsync: Mirrorsync, tmp_path: Path, good_mirror: dict[str, object], made: bool
) -> None:
    if made:
        write_layout(tmp_path / "empty", {})
    nothing = {"from": "oci:empty", "tags": {"all": True}}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [nothing, good_mirror]})
    done = mirrorsync("apply", code=3)
    assert f"oci:{tmp_path / 'empty'}: the store has no images" in done.err
    assert "check its path" in done.err
    assert "1 done" in done.out


@pytest.mark.parametrize("verb", [("apply",), ("apply", "--quiet"), ("plan",), ("images",), ("verify",)], ids=" ".join)
def test_filters_that_match_no_tags_are_a_failure_with_line_count_and_nearest_tags(
    mirrorsync: Mirrorsync, tmp_path: Path, good_mirror: dict[str, object], verb: tuple[str, ...]
) -> None:
    write_layout(
        tmp_path / "source", {f"app:{tag}": image([layer({"a": tag.encode()})]) for tag in ("1.27", "1.28", "edge")}
    )
    typo = {"from": "oci:source:app", "tags": {"glob": ["v1.27*"]}}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [good_mirror, typo]})
    done = mirrorsync(*verb, code=3)
    assert f"source oci:{tmp_path}/source:app: no tags match" in done.err
    assert "(mirror.yaml:13)" in done.err
    assert 'no tags match the filters {"glob": ["v1.27*"]}; the source has 3 tags' in done.err
    assert "the nearest are 1.27" in done.err
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [good_mirror, {**typo, "allow_empty": True}]})
    mirrorsync("apply", code=0)


def test_fewer_tags_than_min_tags_are_mirrored_and_a_failure(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", ONE)
    mirror = {"from": "oci:source:app", "tags": {"all": True}, "min_tags": 2}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [mirror]})
    done = mirrorsync("apply", code=3)
    assert "1 of at least 2 tags match the filters; the source has 1 tag" in done.err
    assert "1 done" in done.out
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [{**mirror, "min_tags": 1}]})
    mirrorsync("apply", code=0)
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [{**mirror, "allow_empty": True}]})
    assert "allow_empty needs no tags" in mirrorsync("apply", code=2).err


def test_tags_that_newest_cannot_order_are_named_and_the_newest_ones_are_mirrored(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    cosign = f"sha256-{'0' * 64}.sig"
    tags = ("1.0", "1.1", "latest", "main", cosign)
    write_layout(tmp_path / "source", {f"app:{tag}": image([layer({"a": tag.encode()})]) for tag in tags})
    mirror = {"from": "oci:source:app", "tags": {"all": True, "newest": 1}}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [mirror]})
    for verb in (("plan",), ("apply", "--quiet"), ("verify",)):
        done = mirrorsync(*verb, code=3)
        assert "2 tags that newest cannot order, because they are not versions: latest, main" in done.err
    failures = mirrorsync("apply", "--json", code=3).json()["failures"]
    assert ["latest, main" in one["error"]["message"] for one in failures] == [True]
    assert mirrorsync("list-tags", "oci:mirror:app", code=0).out.split() == ["1.1"]
    accounted = [{**mirror, "tags": {"all": True, "newest": 1, "exclude": ["main"]}}, "oci:source:app:latest"]
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": accounted})
    mirrorsync("apply", code=0)


def test_one_failure_names_a_tag_that_newest_cannot_order_if_there_are_no_versions(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    write_layout(tmp_path / "source", {"app:edge": image([layer({"a": b"1"})])})
    mirror = {"from": "oci:source:app", "tags": {"all": True, "newest": 1}}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [mirror]})
    failures = mirrorsync("plan", "--json", code=3).json()["failures"]
    assert len(failures) == 1
    assert "1 tag that newest cannot order, because it is not a version: edge" in failures[0]["error"]["message"]


def test_nothing_is_claimed_about_the_tags_of_a_source_that_did_not_answer(mirrorsync: Mirrorsync) -> None:
    mirror = {"from": "127.0.0.1:1/app", "tags": {"glob": ["v*"]}}
    hosts = {"127.0.0.1:1": {"plain_http": True}}
    mirrorsync.spec({"registries": hosts, "destinations": {"disk": "oci:mirror"}, "mirrors": [mirror]})
    done = mirrorsync("plan", code=1)
    assert "no tags match" not in done.err


def test_an_invalid_name_fails_only_its_mirror(
    mirrorsync: Mirrorsync, tmp_path: Path, good_mirror: dict[str, object]
) -> None:
    # The image without a repository name would take that of its directory.
    write_layout(tmp_path / "My Disk", {"latest": image([layer({"a": b"2"})]), **ONE})
    disk = {"from": "oci:My Disk", "tags": {"all": True}, "name": "disk/{repository}"}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [disk, good_mirror]})
    done = mirrorsync("apply", code=3)
    assert "'disk/my disk' is not a repository name" in done.err
    assert f"failed: source oci:{tmp_path}/My Disk: " in done.err
    assert "2 done" in done.out
