"""Mirrors that come to nothing, or to a name that cannot be: each is told, and the others go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync

ONE = {"app:1": image([layer({"a": b"1"})])}


@pytest.fixture
def beside(tmp_path: Path) -> dict[str, object]:
    """Return a mirror that is well, for the others to stand beside."""
    write_layout(tmp_path / "well", ONE)
    return {"from": "oci:well", "tags": {"all": True}}


@pytest.mark.parametrize("made", [False, True])
def test_a_source_layout_without_images_is_a_failure(
    mirrorsync: Mirrorsync, tmp_path: Path, beside: dict[str, object], made: bool
) -> None:
    if made:
        write_layout(tmp_path / "empty", {})
    nothing = {"from": "oci:empty", "tags": {"all": True}}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [nothing, beside]})
    done = mirrorsync("apply", code=3)
    assert f"oci:{tmp_path / 'empty'}: there is no image in this place" in done.err
    assert "check its path" in done.err
    assert "1 done" in done.out


def test_filters_that_choose_nothing_are_told_and_fail_nothing(
    mirrorsync: Mirrorsync, tmp_path: Path, beside: dict[str, object]
) -> None:
    typo = {"from": "oci:well:app", "tags": {"glob": ["v1*"]}}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [typo, beside]})
    done = mirrorsync("apply", code=0)
    assert f"oci:{tmp_path / 'well'}:app" in done.err
    assert "no tags match the filters" in done.err
    assert "no tag there" not in mirrorsync("apply", "--only", "*well", code=0).err


def test_a_name_that_cannot_be_fails_alone(mirrorsync: Mirrorsync, tmp_path: Path, beside: dict[str, object]) -> None:
    # The image without a repository name would take that of its directory.
    write_layout(tmp_path / "My Disk", {"latest": image([layer({"a": b"2"})]), **ONE})
    disk = {"from": "oci:My Disk", "tags": {"all": True}, "name": "disk/{repository}"}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [disk, beside]})
    done = mirrorsync("apply", code=3)
    assert "'disk/my disk' is not a repository name" in done.err
    assert f"failed: source oci:{tmp_path}/My Disk: " in done.err
    assert "2 done" in done.out
