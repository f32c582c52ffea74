"""What a backup is called and says, wherever the machine is, and in which order backups are given up."""

from __future__ import annotations

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.backup import Backed, Backup, too_old
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Change, Image, Origin, State
from tests.plan.reader import STAMP

APP = Location("dst.example", "app")
OLD, NEW = (Descriptor(media_types.OCI_MANIFEST, Digest.of(name), 3) for name in (b"old", b"new"))
NOW = 1_796_000_000.0  # 2026-11-30 00:53:20 UTC
FIELDS = "use {tag}, {date}, {time} or {digest}"
DIFFERENT = 'use {tag}, and {date}, {time} or {digest}: "{tag}-{date}"'


@pytest.mark.parametrize(
    ("template", "message", "remedy"),
    [
        ("{tag}-{day}", "'{day}' in the backup name '{tag}-{day}' is not a known field", FIELDS),
        ("{tag}-{date}}", "'}' in the backup name '{tag}-{date}}' is not a known field", FIELDS),
        ("{tag}", "the backup name '{tag}' is not different for every tag and time", DIFFERENT),
        ("{date}{time}", "the backup name '{date}{time}' is not different for every tag and time", DIFFERENT),
    ],
)
def test_a_wrong_name_is_quoted_with_the_fields_that_there_are(template: str, message: str, remedy: str) -> None:
    with pytest.raises(GrammarError) as caught:
        Backup.parse(template)
    assert (caught.value.message, caught.value.remedy) == (message, remedy)


def test_the_number_of_backups_is_read_with_the_name() -> None:
    assert Backup.parse("{tag}-{date}", 3) == Backup("{tag}-{date}", 3)
    assert Backup.parse("{tag}-{date}").keep is None


@pytest.mark.usefixtures("zone")
def test_the_date_and_time_of_a_backup_are_utc_wherever_the_machine_is() -> None:
    backup = Backup.parse("old-{tag}-{date}.{time}")
    assert backup.name(Tag("1.0"), OLD.digest, NOW) == "old-1.0-20261130.005320"
    assert backup.names(Tag("1.0"), OLD.digest).fullmatch("old-1.0-20261130.005320")


def test_the_backups_made_first_are_given_up_first_and_of_one_run_by_name() -> None:
    made = {"1-c": "2026-11-01", "1-b": "2026-11-02", "1-a": "2026-11-02", "1-z": "2026-11-03"}
    known = {(APP, Tag(name)): Backed(Tag("1"), OLD.digest, day) for name, day in made.items()}
    others = {(APP, Tag(f"2-{name}")): Backed(Tag("2"), OLD.digest, "2026-10-01") for name in "xy"}
    keep = {(APP, Tag("1")): 2, (APP, Tag("2")): 1}
    assert too_old({**known, **others}, keep, ()) == {
        (APP, Tag("1-c")): 2,
        (APP, Tag("1-a")): 2,
        (APP, Tag("2-x")): 1,
    }


@pytest.mark.parametrize("exists", [False, True])
def test_the_change_of_a_backup_says_of_which_tag_it_is(exists: bool) -> None:
    image = Image(Origin(Location("src.example", "app"), Tag("1")), APP, Tag("1"), NEW, "/mirrors/0")
    backup = Image(Origin(APP), APP, Tag("1-old"), OLD, "/mirrors/0")
    before = OLD if exists else None
    observed = Observed(
        {image: OLD, backup: before},
        manifests={NEW.digest: Manifest(NEW, b"")},
        backups={image: backup},
        older={image: "moves back"},
    )
    first, second = diff(Desired((image,)), observed, spec=STAMP, created="").changes
    assert first == Change(
        APP,
        Tag("1-old"),
        before,
        OLD,
        State.UNCHANGED if exists else State.NEW,
        reason="backup of 1",
        mirror="/mirrors/0",
        origin=Origin(APP),
        step="" if exists else "tag:dst.example/app:1-old",
        backup_of=Tag("1"),
    )
    assert (second.tag, second.older) == ("1", "moves back")
