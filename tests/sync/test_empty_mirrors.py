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


def test_filters_without_matches_are_a_notice_and_not_a_failure(
    mirrorsync: Mirrorsync, tmp_path: Path, good_mirror: dict[str, object]
) -> None:
    typo = {"from": "oci:good:app", "tags": {"glob": ["v1*"]}}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [typo, good_mirror]})
    done = mirrorsync("apply", code=0)
    assert f"oci:{tmp_path / 'good'}:app" in done.err
    assert "no tags match the filters" in done.err
    assert "no tags match" not in mirrorsync("apply", "--only", "*good", code=0).err


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
