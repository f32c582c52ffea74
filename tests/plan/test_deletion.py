"""Deleting one image: the plan, what stays, and the refusals if more would be deleted than was requested."""

from __future__ import annotations

import pytest

from mirrorsync.errors import StillUsed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.deletion import DeletionTarget, Sharing, check_deletable, plan_deletion
from mirrorsync.plan.model import Change, Plan, Related, State, Totals
from mirrorsync.plan.steps import DeleteManifest, DeleteTag
from tests.plan.reader import STAMP

APP = Location("dst.example", "app")
BARE = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"image"), 7)
CONTENT = BARE.annotated({"name": "as it was listed"})
SIGNATURE = Related("signature", "sha256-0123.sig")
CREATED = "2026-01-01T00:00:00Z"


def target(tag: str, sharing: Sharing | None = None, *, stays: tuple[Related, ...] = ()) -> DeletionTarget:
    return DeletionTarget(APP, Tag(tag) if tag else None, CONTENT, sharing, stays)


def sharing(tags: str = "", indexes: str = "") -> Sharing:
    return Sharing(tuple(map(Tag, tags.split())), tuple(map(Tag, indexes.split())))


def names(text: str) -> tuple[Tag, ...]:
    return tuple(map(Tag, text.split()))


@pytest.mark.parametrize(
    ("tag", "shared", "step", "stays"),
    [
        ("1", None, DeleteTag(APP, Tag("1"), BARE), ()),
        ("1", sharing("1"), DeleteTag(APP, Tag("1"), BARE), ()),
        ("1", sharing("1 latest"), DeleteTag(APP, Tag("1"), BARE), (Related("tag", "latest"),)),
        (
            "1",
            sharing("0 1 2", "multi"),
            DeleteTag(APP, Tag("1"), BARE),
            (Related("tag", "0"), Related("tag", "2"), Related("index", "multi")),
        ),
        ("", None, DeleteManifest(APP, BARE), ()),
        ("", sharing(), DeleteManifest(APP, BARE), ()),
    ],
)
def test_only_what_was_requested_is_deleted_and_the_rest_is_named(
    tag: str, shared: Sharing | None, step: DeleteTag | DeleteManifest, stays: tuple[Related, ...]
) -> None:
    image = target(tag, shared, stays=(SIGNATURE,))
    plan = plan_deletion(image, all_tags=False, spec=STAMP, created=CREATED)
    change = Change(APP, image.tag, CONTENT, None, State.DELETED, step=step.id, stays=(*stays, SIGNATURE))
    assert plan == Plan(CREATED, STAMP, (change,), (step,), totals={"dst.example": Totals({State.DELETED: 1})})


@pytest.mark.parametrize(
    ("tag", "shared", "tags"),
    [
        ("1", None, "1"),
        ("1", sharing("0 1 2"), "1 0 2"),
        ("", None, ""),
        ("", sharing("0 1"), "0 1"),
    ],
)
def test_with_all_tags_the_manifest_goes_with_each_of_them_once(tag: str, shared: Sharing | None, tags: str) -> None:
    plan = plan_deletion(target(tag, shared, stays=(SIGNATURE,)), all_tags=True, spec=STAMP, created=CREATED)
    step = DeleteManifest(APP, BARE, names(tags))
    change = Change(APP, None, CONTENT, None, State.DELETED, step=step.id, stays=(SIGNATURE,))
    assert (plan.changes, plan.steps) == ((change,), (step,))


TEN = " ".join(f"t{number}" for number in range(10))
TEN_LISTED = TEN.replace(" ", ", ")
BROKEN = "which would be broken without it; nothing was deleted"
BY_DIGEST = "the registry deletes only by digest, and "
ALL = "--all-tags-of-digest deletes it with all of them"


@pytest.mark.parametrize(
    ("tag", "shared", "all_tags", "message", "remedy"),
    [
        ("", sharing("1"), False, f"{BARE.digest} also has the tag 1; nothing was deleted", ALL),
        ("", sharing("1 2"), False, f"{BARE.digest} also has the tags 1, 2; nothing was deleted", ALL),
        ("1", sharing("1 2"), False, f"{BY_DIGEST}{BARE.digest} also has the tag 2; nothing was deleted", ALL),
        ("", sharing(TEN), False, f"{BARE.digest} also has the tags {TEN_LISTED}; nothing was deleted", ALL),
        (
            "",
            sharing(f"{TEN} u v"),
            False,
            f"{BARE.digest} also has the tags {TEN_LISTED} and 2 more; nothing was deleted",
            ALL,
        ),
        ("", sharing("", "multi"), False, f"the image is part of multi, {BROKEN}", "delete the index first"),
        ("1", sharing("1 2", "a b"), False, f"the image is part of a, b, {BROKEN}", "delete the index first"),
        ("1", sharing("1", "multi"), True, f"the image is part of multi, {BROKEN}", "delete the index first"),
    ],
)
def test_deleting_by_digest_is_refused_if_more_would_be_deleted_or_broken(
    tag: str, shared: Sharing, all_tags: bool, message: str, remedy: str
) -> None:
    with pytest.raises(StillUsed) as caught:
        check_deletable(target(tag), shared, all_tags=all_tags)
    assert (caught.value.message, caught.value.remedy) == (message, remedy)


@pytest.mark.parametrize(
    ("tag", "shared", "all_tags"),
    [("1", sharing("1"), False), ("", sharing(), False), ("", sharing("1 2"), True), ("1", sharing("1 2"), True)],
)
def test_deleting_by_digest_is_allowed_if_nothing_but_the_requested_tags_go(
    tag: str, shared: Sharing, all_tags: bool
) -> None:
    check_deletable(target(tag), shared, all_tags=all_tags)


@pytest.mark.parametrize(
    ("shared", "all_tags"), [(sharing("1"), False), (sharing("", "multi"), False), (sharing("1", "multi"), True)]
)
def test_a_deletion_by_digest_that_would_do_more_has_no_plan(shared: Sharing, all_tags: bool) -> None:
    with pytest.raises(StillUsed):
        plan_deletion(target("", shared), all_tags=all_tags, spec=STAMP, created=CREATED)
