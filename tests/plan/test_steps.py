"""Steps: their ids, what they read and write, and what becomes of them if one of their needs failed."""

from __future__ import annotations

import pytest

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.budget import steps_of
from mirrorsync.plan.model import Change, State
from mirrorsync.plan.steps import (
    CopyBlob,
    DeleteManifest,
    DeleteTag,
    MountBlob,
    PutManifest,
    SetTag,
    Step,
    end_of,
    stores_of,
)

SOURCE, APP, EDGE = Location("src.example", "from"), Location("dst.example", "app"), Location("edge.example", "app")
BLOB = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(b"layer"), 100)
IMAGE = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"image"), 7)


@pytest.mark.parametrize(
    ("step", "identity", "size", "reads", "writes"),
    [
        (CopyBlob(BLOB, SOURCE, (APP, EDGE)), f"copy:{BLOB.digest}", 100, (SOURCE,), (APP, EDGE)),
        (
            MountBlob(BLOB, "base", APP, SOURCE),
            f"mount:{BLOB.digest}@dst.example/app",
            0,
            (SOURCE, Location("dst.example", "base")),
            (APP,),
        ),
        (PutManifest(IMAGE, SOURCE, APP), f"put:{IMAGE.digest}@dst.example/app", 0, (SOURCE,), (APP,)),
        (SetTag(IMAGE, SOURCE, APP, Tag("1")), "tag:dst.example/app:1", 0, (SOURCE,), (APP,)),
        (DeleteTag(APP, Tag("1"), IMAGE), "delete:dst.example/app:1", 0, (), (APP,)),
        (DeleteManifest(APP, IMAGE), f"delete:dst.example/app@{IMAGE.digest}", 0, (), (APP,)),
    ],
)
def test_what_a_step_is_called_reads_and_writes(
    step: Step, identity: str, size: int, reads: tuple[Location, ...], writes: tuple[Location, ...]
) -> None:
    assert (step.id, step.size, step.reads, step.writes) == (identity, size, reads, writes)
    assert stores_of(step) == tuple(location.store for location in writes)
    assert step.fails_with_needs == (not isinstance(step, MountBlob))


def test_a_change_needs_each_step_once_and_only_those_of_its_plan() -> None:
    copy, child = CopyBlob(BLOB, SOURCE, (APP,)), PutManifest(IMAGE, SOURCE, APP, (f"copy:{BLOB.digest}",))
    tag = SetTag(IMAGE, SOURCE, APP, Tag("1"), None, (child.id, copy.id, "of another plan"))
    steps: dict[str, Step] = {step.id: step for step in (copy, child, tag)}
    found = list(steps_of(Change(APP, Tag("1"), None, IMAGE, State.NEW, step=tag.id), steps))
    assert sorted(step.id for step in found) == sorted(steps)
    assert list(steps_of(Change(APP, Tag("1"), IMAGE, IMAGE, State.UNCHANGED), steps)) == []


def test_an_image_is_complete_after_its_tag_or_without_one_after_its_manifest() -> None:
    assert end_of(APP, Tag("1"), IMAGE.digest) == SetTag(IMAGE, SOURCE, APP, Tag("1")).id
    assert end_of(APP, None, IMAGE.digest) == PutManifest(IMAGE, SOURCE, APP).id
