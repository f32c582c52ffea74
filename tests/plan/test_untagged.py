"""Which manifests without a tag go: only this mirror's, at its destinations, that no kept generation needs."""

from __future__ import annotations

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import SpecStamp, State
from mirrorsync.plan.steps import DeleteManifest
from mirrorsync.plan.untagged import Untagged, drop_decisions, drops, expired

APP, OTHER, ELSEWHERE = Location("dst.example", "app"), Location("dst.example", "b"), Location("old.example", "app")
ONE, TWO, THREE = (Descriptor(media_types.OCI_MANIFEST, Digest.of(text), 1) for text in (b"1", b"2", b"3"))


def test_what_a_kept_generation_needs_in_the_same_repository_stays() -> None:
    left = frozenset({(APP, ONE.digest), (APP, TWO.digest), (OTHER, ONE.digest), (ELSEWHERE, THREE.digest)})
    untagged = Untagged(left, needed=frozenset({(APP, ONE.digest), (APP, THREE.digest)}))
    assert expired(untagged, {"dst.example"}) == {APP: {TWO.digest}, OTHER: {ONE.digest}}
    assert sorted(untagged.needed_at(APP)) == sorted([ONE.digest, THREE.digest])
    assert expired(Untagged(), {"dst.example"}) == {}


def test_a_manifest_is_deleted_by_its_digest_without_tags() -> None:
    images = drops([(OTHER, ONE), (APP, TWO)])
    observed = Observed(images, decisions=drop_decisions(images))
    stamp = SpecStamp("/mirror.yaml", Digest.of(b""), (), {}, {}, None)
    plan = diff(Desired(tuple(images)), observed, spec=stamp, created="2026-11-25T03:17:00Z")
    assert plan.steps == (DeleteManifest(APP, TWO), DeleteManifest(OTHER, ONE))
    assert [(one.state, one.tag, one.after) for one in plan.changes] == [(State.DELETED, None, None)] * 2
    assert {one.reason for one in plan.changes} == {"prune: only generations that are not kept any more need it"}
