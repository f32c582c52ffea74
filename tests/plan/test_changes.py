"""The changes of a plan and the values of its steps: what is read where, what a tag must still name, who wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from mirrorsync.errors import NotFound, PolicyRefused
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff, refusal
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Change, Failure, Image, Origin, Plan, ReferrerCounts, State
from mirrorsync.plan.policies import Decision, Verdict
from mirrorsync.plan.steps import CopyBlob, DeleteManifest, DeleteTag, MountBlob, PutManifest, SetTag
from tests.plan.reader import STAMP

SOURCE, APP = Location("src.example", "from"), Location("dst.example", "app")
BLOBS = tuple(Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(name), 5) for name in (b"config", b"layer"))
OLD, NEW = (Descriptor(media_types.OCI_MANIFEST, Digest.of(name), 11) for name in (b"old", b"new"))
ORIGIN = Origin(SOURCE, Tag("v1"))
DELETE = Decision("delete", "no mirror wants it")
CREATED = "2026-01-01T00:00:00Z"
MANIFESTS = {root.digest: Manifest(root, b"", blobs=BLOBS) for root in (OLD, NEW)}


def image(tag: str = "1", root: Descriptor = NEW) -> Image:
    return Image(ORIGIN, APP, Tag(tag) if tag else None, root, "/mirrors/3")


def planned(one: Image, before: Descriptor | None, **observed: object) -> Plan:
    given = {"manifests": MANIFESTS, **observed}
    return diff(Desired((one,)), Observed({one: before}, **given), spec=STAMP, created=CREATED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "verdict", "after", "whole"),
    [
        (None, None, NEW, OLD.digest),
        (OLD, None, NEW, OLD.digest),
        (NEW, None, NEW, OLD.digest),
        (NEW, "keep", NEW, OLD.digest),  # it has what is wanted
        (OLD, "keep", OLD, None),  # of what it has, it is not known what it is a part of
        (None, "delay", NEW, OLD.digest),
        (NEW, "delete", None, None),
    ],
)
def test_a_change_names_the_index_that_its_image_is_a_part_of(
    before: Descriptor | None, verdict: Verdict | None, after: Descriptor | None, whole: Digest | None
) -> None:
    one = replace(image(), whole=OLD.digest)
    (change,) = planned(one, before, decisions={one: Decision(verdict, "why")} if verdict else {}).changes
    assert (change.after, change.whole) == (after, whole)


def test_a_plan_has_the_numbers_of_referrers() -> None:
    counts = ReferrerCounts(3, 2, 1)
    assert diff(Desired((), referrers=counts), Observed({}), spec=STAMP, created=CREATED).referrers == counts


def test_a_plan_says_when_and_from_which_spec_it_was_made() -> None:
    plan = planned(image(), NEW)
    assert (plan.created, plan.spec) == (CREATED, STAMP)


@pytest.mark.parametrize(
    ("tag", "before", "state", "step"),
    [
        ("1", None, State.NEW, "tag:dst.example/app:1"),
        ("1", OLD, State.MOVED, "tag:dst.example/app:1"),
        ("1", NEW, State.UNCHANGED, ""),
        ("", None, State.NEW, f"put:{NEW.digest}@dst.example/app"),
        ("", NEW, State.UNCHANGED, ""),
    ],
)
def test_a_change_without_a_decision(tag: str, before: Descriptor | None, state: State, step: str) -> None:
    (change,) = planned(image(tag), before).changes
    named = Tag(tag) if tag else None
    assert change == Change(APP, named, before, NEW, state, mirror="/mirrors/3", origin=ORIGIN, step=step)


@pytest.mark.parametrize(
    ("decision", "policy", "verdict", "until"),
    [
        (Decision("keep", "why", policy="on_change"), "on_change", "keep", None),
        (Decision("delay", "why", until=86400.0, policy="min_age"), "min_age", "delay", 86400.0),
        (Decision("refuse", "why", "remedy", policy="verify"), "verify", "refuse", None),
        (Decision("update", "why"), "", None, None),
        (None, "", None, None),
    ],
)
def test_a_change_names_the_policy_that_decided_its_verdict_and_until_when(
    decision: Decision | None, policy: str, verdict: str | None, until: float | None
) -> None:
    one = image()
    plan = planned(one, OLD, decisions={one: decision} if decision else {})
    (change,) = plan.changes
    assert (change.policy, change.verdict, change.until) == (policy, verdict, until)
    assert [failure.policy for failure in plan.failures] == ([policy] if verdict == "refuse" else [])


def test_a_copied_image_is_read_at_its_source_and_written_at_its_target() -> None:
    config, layer = BLOBS
    plan = planned(image(), OLD, elsewhere={"dst.example": {layer.digest: "base"}})
    copy, mount = CopyBlob(config, SOURCE, (APP,)), MountBlob(layer, "base", APP, SOURCE)
    assert plan.steps == (copy, mount, SetTag(NEW, SOURCE, APP, Tag("1"), OLD, (copy.id, mount.id)))
    put = planned(image(""), None).steps[-1]
    assert put == PutManifest(NEW, SOURCE, APP, tuple(f"copy:{blob.digest}" for blob in BLOBS))


@pytest.mark.parametrize("before", [None, OLD])
def test_the_type_and_size_of_a_root_are_those_of_its_manifest(before: Descriptor | None) -> None:
    # Some registries answer a HEAD with another type or length than the manifest has.
    asked = Descriptor(media_types.OCI_INDEX, NEW.digest, 99)
    plan = planned(image(root=asked), before)
    assert plan.changes[0].after == NEW
    step = plan.steps[-1]
    assert isinstance(step, SetTag)
    assert step.manifest == NEW
    (unread,) = planned(image(root=asked), NEW, manifests={}).changes
    assert unread.after == asked


def test_annotations_of_a_manifest_are_no_part_of_a_change_or_of_a_step() -> None:
    noted = {NEW.digest: replace(MANIFESTS[NEW.digest], descriptor=NEW.annotated({"name": "x"}))}
    plan = planned(image(), None, manifests=noted)
    step = plan.steps[-1]
    assert isinstance(step, SetTag)
    assert (plan.changes[0].after, step.manifest) == (NEW, NEW)


@pytest.mark.parametrize(
    ("tag", "others", "step"),
    [
        ("1", (), DeleteTag(APP, Tag("1"), OLD)),
        ("1", (Tag("latest"),), DeleteTag(APP, Tag("1"), OLD, (Tag("latest"),))),
        ("", (), DeleteManifest(APP, OLD)),
        ("", (Tag("1"), Tag("latest")), DeleteManifest(APP, OLD, (Tag("1"), Tag("latest")))),
    ],
)
def test_a_deletion_names_what_must_still_be_there_and_the_tags_that_go_too(
    tag: str, others: tuple[Tag, ...], step: DeleteTag | DeleteManifest
) -> None:
    one = image(tag, OLD)
    tags: Mapping[Image, tuple[Tag, ...]] = {one: others} if others else {}
    plan = planned(one, OLD.annotated({"a": "b"}), decisions={one: DELETE}, tags=tags)
    assert plan.steps == (step,)
    (change,) = plan.changes
    assert (change.after, change.origin, change.step) == (None, None, step.id)
    assert (change.state, change.reason) == (State.DELETED, "no mirror wants it")


def test_a_manifest_that_a_kept_generation_needs_stays_without_its_tag() -> None:
    one, other = image("1", OLD), image("2", OLD)
    observed = Observed({one: OLD, other: OLD}, decisions={one: DELETE, other: DELETE}, stays=frozenset({one}))
    plan = diff(Desired((one, other)), observed, spec=STAMP, created=CREATED)
    assert plan.steps == (DeleteTag(APP, Tag("1"), OLD, stays=True), DeleteTag(APP, Tag("2"), OLD))


def test_a_deep_plan_for_a_repository_that_has_no_content_copies_all_of_it() -> None:
    plan = planned(image(), NEW, deep=True)
    assert [change.state for change in plan.changes] == [State.INCOMPLETE]
    assert [step.id for step in plan.steps] == [
        *(f"copy:{blob.digest}" for blob in BLOBS),
        "tag:dst.example/app:1",
    ]


def test_an_image_whose_facts_are_not_known_does_not_stop_the_others() -> None:
    broken, other = image("1"), image("2")
    failure = Failure.of(broken, NotFound("the destination did not answer"))
    observed = Observed({other: None}, manifests=MANIFESTS, broken=frozenset({broken}), failures=(failure,))
    earlier = Failure("src.example/other", NotFound("there is no such repository"))
    plan = diff(Desired((broken, other), (earlier,)), observed, spec=STAMP, created=CREATED)
    assert [str(change) for change in plan.changes] == ["dst.example/app:2"]
    assert plan.failures == (earlier, failure)


def test_a_refusal_is_a_failure_of_the_image_at_its_target() -> None:
    failure = refusal(image(), "since a policy says so", "ask its author")
    assert isinstance(failure.error, PolicyRefused)
    assert (failure.error.message, failure.error.remedy) == ("since a policy says so", "ask its author")
    assert (failure.subject, failure.error.where) == ("dst.example/app:1", "dst.example/app:1")
    assert (failure.mirror, failure.lost, failure.targets) == ("/mirrors/3", "src.example/from:v1", (APP,))
