"""Which tags `prune:` deletes, and every doubt for which it keeps one."""

from __future__ import annotations

import pytest

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.prune import (
    Cap,
    Kept,
    Known,
    Prune,
    Surroundings,
    backup_candidates,
    candidates,
    decisions,
    deletions,
    shared_tags,
)

APP, OTHER, SOURCE = Location("dst.example", "app"), Location("dst.example", "other"), Location("src.example", "app")
ONE, TWO = (Digest.of(text) for text in (b"1", b"2"))
PRUNE = Prune(Cap(number=10), keep=("*-lts", "other:9"))


def known(tag: str, target: Location = APP, *, digest: Digest = ONE, adopted: bool = False) -> Known:
    return Known(target, Tag(tag), digest, adopted, SOURCE)


def around(wanted: str = "", *, unsure: Location | None = None, listed: str | None = None) -> Surroundings:
    tags = {SOURCE: frozenset(map(Tag, listed.split()))} if listed is not None else {}
    targets = frozenset({unsure} if unsure else ())
    return Surroundings(frozenset((APP, Tag(tag)) for tag in wanted.split()), targets, frozenset({APP.store}), tags)


@pytest.mark.parametrize(
    ("one", "surroundings", "kept"),
    [
        (known("1"), around("2"), None),
        (known("1"), around("2", listed="1 2"), None),
        (known("1", adopted=True), around("2"), Kept.ADOPTED),
        (known("1-lts"), around("2"), Kept.NAMED),
        (known("9", OTHER), around("2"), Kept.NAMED),
        (known("9"), around("2"), None),
        (known("1"), around("2", unsure=APP), Kept.UNSURE),
        (known("1"), around("2", unsure=OTHER), None),
        (known("1"), around("2", listed="2"), Kept.VANISHED),
        (known(f"sha256-{ONE.encoded}.sig"), around("2", listed="2"), Kept.REFERRER),
    ],
)
def test_a_tag_that_is_not_wanted_goes_unless_there_is_a_doubt(
    one: Known, surroundings: Surroundings, kept: Kept | None
) -> None:
    found = candidates(PRUNE, [one], surroundings)
    assert found.tags == (() if kept else (one,))
    assert dict(found.kept) == ({kept: 1} if kept else {})


def test_a_wanted_tag_and_one_at_a_place_that_is_no_destination_are_not_looked_at() -> None:
    elsewhere = known("1", Location("old.example", "app"))
    assert candidates(PRUNE, [known("2"), elsewhere], around("2")).tags == ()
    assert candidates(PRUNE, [known("2"), elsewhere], around("2")).kept == {}


def backup(tag: str, of: str, target: Location = APP) -> Known:
    return Known(target, Tag(tag), ONE, False, None, Tag(of))


@pytest.mark.parametrize(
    ("one", "tags", "going", "surroundings", "goes"),
    [
        (backup("1-old", "1"), "", "", around("2"), True),  # its tag went in an earlier run
        (backup("1-old", "1"), "1", "1", around("2"), True),  # it goes in this one
        (backup("1-old", "1"), "1", "1", around("1"), True),  # its source has dropped it (on_vanish: delete)
        (backup("1-old", "1"), "1", "", around("2"), False),  # it stays for some reason
        (backup("1-old", "1"), "", "", around("1"), False),
        (backup("1-old", "1"), "", "", around("1-old"), False),
        (backup("1-lts", "1"), "", "", around("2"), False),
        (backup("1-old", "1"), "", "", around("2", unsure=APP), False),
        (backup("1-old", "1", Location("old.example", "app")), "", "", around("2"), False),
        (backup("1-old", "1", OTHER), "1", "", around("1"), True),  # the tag of another repository
    ],
)
def test_a_backup_goes_with_its_tag_or_after_it(
    one: Known, tags: str, going: str, surroundings: Surroundings, goes: bool
) -> None:
    found = backup_candidates(PRUNE, [one], map(known, tags.split()), map(known, going.split()), surroundings)
    assert found == ((one,) if goes else ())


def test_the_reason_of_a_deletion_tells_what_was_not_wanted_what_was_dropped_and_what_was_a_backup() -> None:
    content = Descriptor(media_types.OCI_MANIFEST, ONE, 1)
    tags = [known("1"), known("2"), backup("3", "1")]
    images, _, _ = deletions(PRUNE, dict.fromkeys(tags, content), owned=10)
    found = decisions(images, {(APP, Tag("2"))}, {(APP, Tag("3"))})
    assert {image.tag: (one.verdict, one.policy, one.reason) for image, one in found.items()} == {
        "1": ("delete", "prune", "prune: no mirror of the spec wants it any more"),
        "2": ("delete", "on_vanish", "on_vanish delete: its source has dropped it"),
        "3": ("delete", "prune", "prune: a backup of a tag that no mirror of the spec wants any more"),
    }


def test_adopt_lets_adopted_tags_go() -> None:
    one = known("1", adopted=True)
    assert candidates(Prune(Cap(number=1), adopt=True), [one], around("2")).tags == (one,)


@pytest.mark.parametrize("suffix", [".sig", ""])  # "": the list of referrers, for registries without their API
def test_a_signature_goes_with_its_image(suffix: str) -> None:
    image, signature = known("1"), known(f"sha256-{ONE.encoded}{suffix}", digest=TWO)
    assert candidates(PRUNE, [image, signature], around()).tags == (image, signature)
    assert candidates(PRUNE, [image, signature], around("1")).tags == ()


def content(digest: Digest) -> Descriptor:
    return Descriptor(media_types.OCI_MANIFEST, digest, 1)


def test_a_tag_that_names_anything_else_than_was_recorded_is_not_touched() -> None:
    found = {known("1"): content(ONE), known("2"): content(TWO), known("3"): None}
    images, foreign, refusal = deletions(PRUNE, found, 3)
    assert [image.tag for image in images] == ["1"]
    assert (foreign, refusal) == (1, None)


@pytest.mark.parametrize(
    ("cap", "owned", "going", "refused"),
    [
        (Cap(number=2), 100, 2, False),
        (Cap(number=2), 100, 3, True),
        (Cap(percent=20.0), 10, 2, False),
        (Cap(percent=20.0), 10, 3, True),
        (Cap(percent=20.0), 4, 1, True),
        (Cap(percent=100.0), 4, 4, False),
    ],
)
def test_more_than_the_cap_is_refused_as_a_whole(cap: Cap, owned: int, going: int, refused: bool) -> None:
    found = {known(str(number)): content(ONE) for number in range(going)}
    images, _, refusal = deletions(Prune(cap), found, owned)
    assert len(images) == (0 if refused else going)
    assert (refusal is not None) == refused
    if refusal is not None:
        assert f"{going} tags are not wanted any more, and max_deletes allows" in refusal.error.message


def test_tags_of_one_manifest_know_each_other() -> None:
    found = {known("1"): content(ONE), known("latest"): content(ONE), known("2", digest=TWO): content(TWO)}
    images, _, _ = deletions(PRUNE, found, 3)
    assert {image.tag: tags for image, tags in shared_tags(images).items()} == {
        "1": ("latest",),
        "latest": ("1",),
        "2": (),
    }
