"""The names of backups, and which of them are too old. Pure."""

from __future__ import annotations

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Outline
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.backup import Backed, Backup, too_old
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Image, Origin, Plan
from mirrorsync.plan.policies import Decision, Verdict
from mirrorsync.plan.steps import SetTag
from tests.plan.reader import STAMP

APP, WEB = Location("dst.example", "app"), Location("dst.example", "web")
OLD, NEW = (Descriptor(media_types.OCI_MANIFEST, Digest.of(text), 1) for text in (b"old", b"new"))
NOW = 1_796_000_000.0  # 2026-11-30 00:53:20 UTC


@pytest.mark.parametrize(
    ("template", "number", "name"),
    [
        ("{tag}-{date}", 1, "1.0-20261130"),
        ("{tag}-{date}", 2, "1.0-20261130-2"),
        ("{date}.{time}-{tag}", 1, "20261130.005320-1.0"),
        ("{tag}_{digest}", 1, f"1.0_{OLD.digest.short}"),
    ],
)
def test_the_name_of_a_backup(template: str, number: int, name: str) -> None:
    backup = Backup.parse(template)
    made = backup.name(Tag("1.0"), OLD.digest, NOW, number)
    assert made == name
    assert backup.names(Tag("1.0"), OLD.digest).fullmatch(made)
    assert not backup.names(Tag("1.1"), OLD.digest).fullmatch(made)
    assert not backup.names(Tag("1.0"), OLD.digest).fullmatch(f"x{made}")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("backup-{date}", "not different"),
        ("{tag}", "not different"),
        ("{tag}-{day}", "'{day}'"),
        ("{tag}-{date", "'{'"),
        ("{tag}:{date}", "tag"),
        ("-{tag}-{date}", "tag"),
        (f"{{tag}}{'x' * 120}{{date}}", "tag"),  # longer than 128 characters for every tag
    ],
)
def test_a_template_that_gives_no_name_of_its_own_is_rejected(template: str, words: str) -> None:
    with pytest.raises(GrammarError) as caught:
        Backup.parse(template)
    assert words in caught.value.message
    assert caught.value.remedy


def test_a_template_is_accepted_if_the_shortest_tag_has_a_name() -> None:
    template = f"{{tag}}{'x' * 119}{{date}}"
    assert len(Backup.parse(template).name(Tag("1"), OLD.digest, NOW)) == 128


def backed(*days: str, of: str = "1", target: Location = APP) -> dict[tuple[Location, Tag], Backed]:
    return {(target, Tag(f"{of}-{day}")): Backed(Tag(of), OLD.digest, f"2026-11-{day}T00:00:00Z") for day in days}


@pytest.mark.parametrize(
    ("days", "keep", "new", "old"),
    [
        ("01 02 03", 3, False, ""),
        ("01 02 03", 3, True, "01"),
        ("03 01 02", 2, False, "01"),
        ("03 01 02", 1, True, "01 02 03"),
        ("03 01 02", 9, True, ""),
    ],
)
def test_the_oldest_backups_of_a_tag_are_too_many(days: str, keep: int, new: bool, old: str) -> None:
    others = backed("01", "02", "03", of="2") | backed("01", "02", "03", target=WEB)
    tag = (APP, Tag("1"))
    found = too_old(backed(*days.split()) | others, {tag: keep}, {tag} if new else set())
    assert found == {(APP, Tag(f"1-{day}")): keep for day in old.split()}


def planned(verdict: Verdict | None, *, exists: bool = False) -> Plan:
    image = Image(Origin(Location("src.example", "app"), Tag("1")), APP, Tag("1"), NEW, "/mirrors/0")
    backup = Image(Origin(APP), APP, Tag("1-20261130"), OLD, "/mirrors/0")
    observed = Observed(
        {image: OLD, backup: OLD if exists else None},
        manifests={NEW.digest: Outline(NEW)},
        decisions={image: Decision(verdict, "a policy")} if verdict else {},
        backups={image: backup},
    )
    return diff(Desired((image,)), observed, spec=STAMP, created="2026-11-30T00:00:00Z")


def test_a_backup_is_set_before_its_tag_moves_and_reads_nothing_from_the_source() -> None:
    plan = planned(None)
    backup, moved = plan.changes
    assert [(one.tag, one.state, one.backup_of) for one in plan.changes] == [
        ("1-20261130", "new", "1"),
        ("1", "moved", None),
    ]
    first, second = plan.steps
    assert isinstance(first, SetTag)
    assert (first.id, first.source, first.target, first.manifest) == (backup.step, APP, APP, OLD)
    assert (second.id, second.needs) == (moved.step, (backup.step,))


def test_a_backup_that_exists_already_needs_no_step() -> None:
    plan = planned(None, exists=True)
    assert [one.state for one in plan.changes] == ["unchanged", "moved"]
    assert [step.needs for step in plan.steps] == [()]


@pytest.mark.parametrize("verdict", ["keep", "delay", "refuse"])
def test_a_tag_that_stays_gets_no_backup(verdict: Verdict) -> None:
    assert [one.tag for one in planned(verdict).changes] == ["1"]
