"""What `prune:` counts and says: the cap, its refusal, the reasons for which tags stay, and the images that go."""

from __future__ import annotations

import pytest

from mirrorsync.errors import PruneRefused
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Image, Origin
from mirrorsync.plan.policies import Decision
from mirrorsync.plan.prune import (
    POINTER,
    Cap,
    Kept,
    Known,
    Prune,
    Surroundings,
    candidates,
    decisions,
    deletions,
    shared_tags,
)
from mirrorsync.plan.untagged import drops

APP, OTHER, SOURCE = Location("dst.example", "app"), Location("dst.example", "other"), Location("src.example", "app")
ONE = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"1"), 1)
SIGNATURE = Tag(f"sha256-{ONE.digest.encoded}.sig")
PRUNE = Prune(Cap(number=10))


def known(tag: str, target: Location = APP, *, adopted: bool = False, source: Location | None = SOURCE) -> Known:
    return Known(target, Tag(tag), ONE.digest, adopted, source)


def around(wanted: str = "", *, listed: str | None = None) -> Surroundings:
    tags = {SOURCE: frozenset(map(Tag, listed.split()))} if listed is not None else {}
    return Surroundings(frozenset((APP, Tag(tag)) for tag in wanted.split()), frozenset(), frozenset({APP.store}), tags)


@pytest.mark.parametrize(
    ("cap", "owned", "most", "shown"),
    [
        (Cap(number=0), 100, 0, "0"),
        (Cap(number=10), 5, 10, "10"),
        (Cap(percent=0.0), 1000, 0, "0%"),
        (Cap(percent=20.0), 0, 0, "20%"),
        (Cap(percent=20.0), 14, 2, "20%"),
        (Cap(percent=12.5), 80, 10, "12.5%"),
        (Cap(percent=100.0), 7, 7, "100%"),
    ],
)
def test_a_cap_is_a_number_or_a_part_of_the_owned_tags_rounded_down(
    cap: Cap, owned: int, most: int, shown: str
) -> None:
    assert (cap.of(owned), str(cap)) == (most, shown)


@pytest.mark.parametrize(
    ("cap", "shown"),
    [(Cap(number=1), "max_deletes allows 1 (1)"), (Cap(percent=20.0), "max_deletes allows 1 (20%)")],
)
def test_the_refusal_says_how_many_tags_would_go_and_what_the_cap_is(cap: Cap, shown: str) -> None:
    images, foreign, refusal = deletions(Prune(cap), {known("1"): ONE, known("2"): ONE}, 5)
    assert (images, foreign) == ({}, 0)
    assert refusal is not None
    assert isinstance(refusal.error, PruneRefused)
    assert refusal.subject == "prune"
    assert refusal.error.message == f"2 tags are not wanted any more, and {shown}: no tag is deleted"
    assert refusal.error.remedy == "check the spec; if all of them are to go, raise max_deletes for one run"


def test_what_goes_are_images_of_the_key_prune_in_the_order_of_their_names() -> None:
    present = ONE.annotated({"name": "as it was listed"})
    found = {known("2"): present, known("1", OTHER): present, known("1"): present}
    images, _, _ = deletions(PRUNE, found, 3)
    wanted = [(APP, "1"), (APP, "2"), (OTHER, "1")]
    assert list(images) == [Image(Origin(at), at, Tag(tag), ONE, "/prune") for at, tag in wanted]
    assert set(images.values()) == {present}
    assert POINTER == "/prune"


def test_manifests_without_a_tag_go_in_the_order_of_their_repositories_and_digests() -> None:
    two = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"2"), 1)
    one, two = sorted((ONE, two), key=lambda content: content.digest)
    present = one.annotated({"name": "as it was listed"})
    images = drops([(OTHER, one), (APP, two), (APP, present)])
    wanted = [(APP, one), (APP, two), (OTHER, one)]
    assert list(images) == [Image(Origin(at), at, None, root, "/prune") for at, root in wanted]
    assert list(images.values()) == [present, two, one]


def test_what_goes_is_decided_in_one_sentence() -> None:
    images, _, _ = deletions(PRUNE, {known("1"): ONE, known("2"): ONE}, 2)
    decision = Decision("delete", "prune: no mirror of the spec wants it any more", policy="prune")
    assert decisions(images, ()) == dict.fromkeys(images, decision)
    assert len(images) == 2
    vanished = Decision("delete", "on_vanish delete: its source has dropped it", policy="on_vanish")
    assert [*decisions(images, {(APP, Tag("2"))}).values()] == [decision, vanished]


def test_tags_without_a_name_are_no_others_of_a_manifest() -> None:
    tagged, bare = (Image(Origin(APP), APP, tag, ONE, POINTER) for tag in (Tag("1"), None))
    assert shared_tags([tagged, bare]) == {tagged: (), bare: (Tag("1"),)}


def test_a_wanted_tag_among_the_remembered_ones_does_not_hide_the_others() -> None:
    one, two, three = known("1"), known("2"), known("3")
    assert candidates(PRUNE, [one, two, three], around("2")).tags == (one, three)


def test_the_reasons_for_which_tags_stay_are_counted() -> None:
    remembered = [known("1", adopted=True), known("2", adopted=True), known("3"), known(SIGNATURE), known("4")]
    unlisted = known("5", source=None)
    found = candidates(PRUNE, [*remembered, unlisted], around("9", listed="4"))
    assert found.tags == (known("4"), unlisted)
    assert dict(found.kept) == {Kept.ADOPTED: 2, Kept.VANISHED: 1, Kept.REFERRER: 1}


def test_signatures_that_stay_are_counted_as_one_reason() -> None:
    suffixes = (".sig", ".att", ".sbom")
    attached = [known(f"sha256-{ONE.digest.encoded}{suffix}") for suffix in suffixes]
    found = candidates(PRUNE, attached, around("9"))
    assert (found.tags, dict(found.kept)) == ((), {Kept.REFERRER: 3})


@pytest.mark.parametrize(
    "stays",
    [
        known("latest"),  # wanted
        known("1-lts"),  # named by keep
        known("2", adopted=True),
    ],
)
def test_a_signature_stays_with_another_tag_of_its_image(stays: Known) -> None:
    prune = Prune(Cap(number=10), keep=("*-lts",))
    found = candidates(prune, [known("1"), stays, known(SIGNATURE)], around("latest"))
    assert found.tags == (known("1"),)
    assert found.kept[Kept.REFERRER] == 1


def test_a_signature_goes_only_with_the_image_of_its_own_repository() -> None:
    elsewhere = known(SIGNATURE, OTHER)
    found = candidates(PRUNE, [known("1"), known(SIGNATURE), elsewhere], around("9"))
    assert (found.tags, dict(found.kept)) == ((known("1"), known(SIGNATURE)), {Kept.REFERRER: 1})
