"""The values of a plan: failures, changes and totals as the report and people see them."""

from __future__ import annotations

import pytest

from mirrorsync.errors import MirrorsyncError, NotFound
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Amount, Change, Failure, Image, Origin, Plan, State, Totals
from mirrorsync.plan.steps import CopyBlob, SetTag
from tests.plan.reader import STAMP

SOURCE, APP = Location("src.example", "from"), Location("dst.example", "app")
OLD, NEW = (Descriptor(media_types.OCI_MANIFEST, Digest.of(name), 3) for name in (b"old", b"new"))
ERROR = NotFound("it is gone", remedy="look for it")
ONE = Tag("1")


def image(tag: str, followed: Ref | None) -> Image:
    return Image(Origin(SOURCE, followed), APP, Tag(tag) if tag else None, NEW, "/mirrors/3")


def change(tag: str, before: Descriptor | None, after: Descriptor | None, origin: Origin | None) -> Change:
    return Change(APP, Tag(tag) if tag else None, before, after, State.MOVED, mirror="/mirrors/3", origin=origin)


@pytest.mark.parametrize(
    ("lost", "subject", "source", "ref", "shown"),
    [
        (image("1", Tag("v1")), "dst.example/app:1", SOURCE, Tag("v1"), "src.example/from:v1"),
        (image("1", None), "dst.example/app:1", SOURCE, NEW.digest, f"src.example/from@{NEW.digest}"),
        (image("", None), f"dst.example/app@{NEW.digest}", SOURCE, NEW.digest, f"src.example/from@{NEW.digest}"),
        (change("1", OLD, NEW, Origin(SOURCE, ONE)), "dst.example/app:1", SOURCE, ONE, "src.example/from:1"),
        (
            change("1", OLD, NEW, Origin(SOURCE)),
            "dst.example/app:1",
            SOURCE,
            NEW.digest,
            f"src.example/from@{NEW.digest}",
        ),
        (change("1", OLD, None, None), "dst.example/app:1", None, None, ""),
        (change("", OLD, None, None), f"dst.example/app@{OLD.digest}", None, None, ""),
    ],
)
def test_a_failure_names_the_image_at_both_sides(
    lost: Image | Change, subject: str, source: Location | None, ref: Ref | None, shown: str
) -> None:
    failure = Failure.of(lost, ERROR)
    assert failure == Failure(subject, ERROR, "/mirrors/3", source, ref, (APP,))
    assert failure.lost == shown
    if lost.origin is not None:
        assert str(lost.origin.reference(NEW.digest)) == shown


@pytest.mark.parametrize(
    ("origin", "names"),
    [
        (Origin(SOURCE, Tag("v1")), ["src.example/from:v1", f"src.example/from@{NEW.digest}", "src.example/from"]),
        (Origin(SOURCE), [f"src.example/from@{NEW.digest}", "src.example/from"]),
        (Origin(SOURCE, NEW.digest), [f"src.example/from@{NEW.digest}", "src.example/from"]),
        (
            Origin(SOURCE, written=Tag("v1")),
            ["src.example/from:v1", f"src.example/from@{NEW.digest}", "src.example/from"],
        ),
        (
            Origin(SOURCE, Tag("v1"), written=Tag("v2")),
            ["src.example/from:v1", "src.example/from:v2", f"src.example/from@{NEW.digest}", "src.example/from"],
        ),
    ],
)
def test_the_names_of_an_image_at_its_source_each_once(origin: Origin, names: list[str]) -> None:
    assert list(origin.names(NEW.digest)) == names


def test_a_failure_without_an_image_names_the_repository() -> None:
    assert Failure("src.example/from", ERROR, source=SOURCE).lost == "src.example/from"


@pytest.mark.parametrize("side", ["source", "destination", None])
def test_the_side_of_a_failure_is_that_of_its_error(side: object) -> None:
    error = MirrorsyncError("it failed", side=side)  # type: ignore[arg-type]
    assert Failure("app", error).side == side


@pytest.mark.parametrize(
    ("tag", "before", "after", "digest", "short"),
    [
        ("1", None, NEW, NEW.digest, "app:1"),
        ("1", OLD, NEW, NEW.digest, "app:1"),
        ("1", OLD, None, OLD.digest, "app:1"),
        ("", OLD, None, OLD.digest, f"app:{OLD.digest.short}"),
    ],
)
def test_a_change_is_called_by_its_tag_or_else_by_the_digest_that_it_is_about(
    tag: str, before: Descriptor | None, after: Descriptor | None, digest: Digest, short: str
) -> None:
    one = change(tag, before, after, None)
    assert (one.digest, one.short) == (digest, short)
    assert str(one) == (f"dst.example/app:{tag}" if tag else f"dst.example/app@{digest}")


def test_images_of_different_tags_differ_in_their_hash() -> None:
    # They are keys of mappings with thousands of entries: an equal hash for all of them would make these lists.
    assert len({hash(image(str(number), ONE)) for number in range(100)}) > 90
    assert hash(image("1", ONE)) == hash(image("1", ONE))


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (State.NEW, True),
        (State.MOVED, True),
        (State.INCOMPLETE, True),
        (State.DELETED, True),
        (State.UNCHANGED, False),
        (State.KEPT, False),
        (State.DELAYED, False),
        (State.REFUSED, False),
    ],
)
def test_which_states_need_steps(state: State, changes: bool) -> None:
    one = Change(APP, ONE, OLD, NEW, state)
    assert state.changes is changes
    assert list(Plan("2026-01-01T00:00:00Z", STAMP, (one,)).changed()) == ([one] if changes else [])
    assert Totals({state: 2, State.NEW: 1}).changed == (1 if state == State.NEW else 1 + 2 * changes)


def test_a_blob_is_read_once_for_all_destinations() -> None:
    blobs = [Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(name), size) for name, size in ((b"a", 10), (b"b", 5))]
    copies = [CopyBlob(blob, SOURCE, (APP, Location("edge.example", "app"))) for blob in blobs]
    plan = Plan("2026-01-01T00:00:00Z", STAMP, steps=(*copies, SetTag(NEW, SOURCE, APP, ONE)))
    assert plan.read_bytes == 15
    assert Amount(1, 10).plus(blobs[1]) == Amount(2, 15)
