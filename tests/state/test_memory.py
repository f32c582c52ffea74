"""The memory of a mirror: what it keeps over runs, its generations, and what happens if its file is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirrorsync.errors import StorageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.state import (
    Absence,
    Backup,
    ByDigest,
    ManifestKey,
    Memory,
    Owned,
    Remembered,
    Run,
    RunTag,
    Told,
    open_memory,
    state_path,
)

APP, SOURCE = Location("dst.example", "m/app"), Location("src.example", "app")
ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"2", b"3"))
NIGHT = "2026-11-25T03:17:00Z"
# The tables of the first version of the file.
FIRST_TABLES = {"runs", "run_tags", "owned", "intended", "seen", "listed", "generations", "generation_tags"}


class Kept:
    """Opens the same file again and again, and collects what is warned of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warned: list[str] = []
        self._open: list[Memory] = []

    def __call__(self) -> Memory:
        self.close()
        memory = open_memory(self.path, self.warned.append)
        self._open.append(memory)
        return memory

    def close(self) -> None:
        for memory in self._open:
            memory.close()
        self._open.clear()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    opening = Kept(tmp_path / "state" / "mirror.sqlite")
    yield opening
    opening.close()


def told(night: str = NIGHT, /, *gone: str, **tags: Digest) -> Told:
    """Return what a run tells that has set some tags."""
    present = {(APP, Tag(tag)): Owned(digest, night, source=SOURCE) for tag, digest in tags.items()}
    changed = tuple(RunTag(key, None, owned.digest, "new", "done") for key, owned in present.items())
    run = Run(0, night, night, 0, {"new": len(tags)} if tags else {}, 10, 20)
    return Told(run, changed, present, frozenset((APP, Tag(tag)) for tag in gone))


def test_runs_are_numbered_and_kept_over_openings(kept: Kept) -> None:
    assert kept().is_new
    kept().record(told(a=ONE))
    kept().record(told("2026-11-26T03:17:00Z"))
    memory = kept()
    assert not memory.is_new
    assert [(run.number, run.started[:10], dict(run.counts)) for run in memory.runs()] == [
        (2, "2026-11-26", {}),
        (1, "2026-11-25", {"new": 1}),
    ]
    assert memory.changes(1) == [RunTag((APP, Tag("a")), None, ONE, "new", "done")]
    assert [run.number for run in memory.runs(1)] == [2]


def test_what_comes_or_goes_without_a_generation_counts_in_no_copy_that_may_have_been_made_before_or_after(
    kept: Kept,
) -> None:
    """A copy of the destination is carried off while a generation is the current one, at an unknown time."""
    memory = kept()
    amd64, arm64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm/v7")
    index, sbom, late = (APP, ONE), (APP, TWO), (APP, THREE)
    memory.record(replace(told(a=ONE), by_digest={sbom: ByDigest(SOURCE, ONE)}, platforms={index: (amd64,)}))
    again = {sbom: ByDigest(SOURCE, ONE), late: ByDigest(SOURCE)}
    memory.record(replace(told(a=ONE), by_digest=again, platforms={index: (amd64, arm64)}))
    memory.record(told(a=ONE, b=ONE))
    memory.record(replace(told(a=ONE, b=ONE), dropped=frozenset({late}), platforms={index: ()}))
    memory.record(replace(told(NIGHT, "b"), dropped=frozenset({sbom})))

    def content(number: int) -> tuple[dict[ManifestKey, ByDigest], dict[ManifestKey, tuple[Platform, ...]]]:
        found = kept().generation(number)
        assert found is not None
        return dict(found.by_digest), dict(found.platforms)

    attached = {sbom: ByDigest(SOURCE, ONE)}
    assert content(1) == (attached, {index: (amd64,)})
    assert content(2) == (attached, {index: (amd64, arm64)})
    assert content(3) == ({}, {})


def test_a_generation_is_the_whole_set_of_tags_after_a_run_that_changed_something(kept: Kept) -> None:
    memory = kept()
    assert memory.record(told(a=ONE, b=ONE)).generation == 1
    assert memory.record(told(a=ONE)).generation is None, "nothing changed"
    assert memory.record(told(a=TWO)).generation == 2
    assert memory.record(told(NIGHT, "b", c=THREE)).generation == 3

    def tags(number: int) -> dict[str, Digest]:
        found = memory.generation(number)
        assert found is not None
        return {str(tag): owned.digest for (_, tag), owned in found.tags.items()}

    assert tags(1) == {"a": ONE, "b": ONE}
    assert tags(2) == {"a": TWO, "b": ONE}
    assert tags(3) == {"a": TWO, "c": THREE}
    assert [one.number for one in memory.generations()] == [3, 2, 1]
    assert memory.generation(4) is None


def test_a_run_is_known_by_the_generation_that_it_left(kept: Kept) -> None:
    memory = kept()
    memory.record(told())
    memory.record(told(a=ONE))
    memory.record(told(a=ONE))
    memory.record(told(a=TWO))

    def left(run: int) -> int | None:
        found = memory.generation_after(run)
        return None if found is None else found.number

    assert [left(run) for run in (1, 2, 3, 4, 5)] == [None, 1, 1, 2, None]


def test_the_images_of_the_last_generations_are_needed(kept: Kept) -> None:
    memory = kept()
    for found in (told(a=ONE, b=ONE), told(a=TWO), told(NIGHT, "b"), told(a=THREE)):
        memory.record(found)
    assert [memory.needed(last) for last in (1, 2, 3, 9)] == [
        {(APP, THREE)},
        {(APP, THREE), (APP, TWO)},
        {(APP, THREE), (APP, TWO), (APP, ONE)},
        {(APP, THREE), (APP, TWO), (APP, ONE)},
    ]


def test_a_manifest_whose_tag_was_moved_or_deleted_is_remembered_until_it_is_dropped_or_forgotten(kept: Kept) -> None:
    memory = kept()
    memory.record(told(a=ONE, b=TWO))
    assert memory.untagged() == set()
    memory.record(told(NIGHT, "b", a=THREE))
    assert kept().untagged() == {(APP, ONE), (APP, TWO)}
    kept().record(replace(told(), dropped=frozenset({(APP, ONE)})))
    assert kept().untagged() == {(APP, TWO)}
    kept().forget([(APP, TWO)])
    assert kept().untagged() == set()


def test_an_adopted_image_is_not_ours_after_its_tag_has_moved_either(kept: Kept) -> None:
    memory = kept()
    adopted = {(APP, Tag("a")): Owned(ONE, NIGHT, adopted=True)}
    memory.record(replace(told(), present=adopted))
    memory.record(told(a=TWO))
    memory.record(told(NIGHT, "unknown"))
    assert memory.untagged() == set()


def test_a_file_of_the_first_version_is_brought_to_this_one(kept: Kept) -> None:
    kept().record(told(a=ONE))
    kept.close()
    with sqlite3.connect(kept.path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for name in tables - FIRST_TABLES:
            connection.execute(f"DROP TABLE {name}")
        connection.execute("PRAGMA user_version=1")
    connection.close()
    kept().record(told(a=TWO))
    assert kept().untagged() == {(APP, ONE)}
    assert kept().generations()[0].number == 2


def test_owned_tags_are_those_recorded_last(kept: Kept) -> None:
    memory = kept()
    memory.record(told(a=ONE, b=ONE))
    memory.record(told("2026-11-26T03:17:00Z", "b", a=TWO))
    assert kept().owned() == {(APP, Tag("a")): Owned(TWO, "2026-11-26T03:17:00Z", source=SOURCE)}


def test_intended_tags_are_kept_until_a_run_is_recorded(kept: Kept) -> None:
    kept().intend({(APP, Tag("a")): ONE}, {})
    assert kept().intended() == {(APP, Tag("a")): ONE}
    kept().record(told(a=ONE))
    assert kept().intended() == {}


def test_the_first_sighting_of_a_digest_and_of_a_tag_stays(kept: Kept) -> None:
    memory = kept()
    memory.see([ONE], NIGHT)
    memory.see([ONE, TWO], "2026-11-26T03:17:00Z")
    memory.see_tags(SOURCE, [Tag("a")], NIGHT)
    memory.see_tags(SOURCE, [Tag("a"), Tag("b")], "2026-11-26T03:17:00Z")
    memory.see_tags(APP, [Tag("c")], NIGHT)
    assert kept().first_seen() == {ONE: NIGHT, TWO: "2026-11-26T03:17:00Z"}
    assert kept().first_listed(SOURCE) == {"a": NIGHT, "b": "2026-11-26T03:17:00Z"}


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, and never was" * 1000)


def zeros_in_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [garbage, zeros_in_the_middle, cut])
def test_a_damaged_file_is_set_aside_and_said(kept: Kept, damage: Callable[[Path], None]) -> None:
    kept().record(told(**{f"t{number}": ONE for number in range(500)}))
    kept.close()
    damage(kept.path)
    assert kept().owned() == {}
    assert kept().is_new
    (warning,) = kept.warned
    assert "mirror.sqlite.damaged-1" in warning
    assert kept.path.with_name("mirror.sqlite.damaged-1").exists(), "it can still be looked at"
    kept().record(told(a=ONE))
    assert len(kept().owned()) == 1


def test_a_file_of_a_newer_version_is_refused_and_left_alone(kept: Kept) -> None:
    kept().record(told(a=ONE))
    kept.close()
    with sqlite3.connect(kept.path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    before = kept.path.read_bytes()
    with pytest.raises(StorageError, match="newer version"):
        kept()
    assert kept.path.read_bytes() == before


def test_two_specs_of_one_name_have_two_files(tmp_path: Path) -> None:
    one, two = (state_path(tmp_path, Path(f"/etc/{name}/mirror.yaml")) for name in ("a", "b"))
    assert one != two
    assert one.name.startswith("mirror-")
    assert one == state_path(tmp_path, Path("/etc/a/mirror.yaml"))


@pytest.mark.parametrize("accepted", [NIGHT, None])
def test_an_import_brings_backups_and_acknowledgements(kept: Kept, accepted: str | None) -> None:
    key, backup = (SOURCE, Tag("a")), {(APP, Tag("a-1")): Backup(Tag("a"), ONE, NIGHT)}
    kept().record(replace(told(a=ONE), vanished=frozenset({key})))
    given = Absence("2026-11-01T00:00:00Z", accepted, "us", "known")
    kept().merge(Remembered(absent={key: given}, backups=backup))
    assert kept().backups() == backup
    assert kept().absences()[key] == (given if accepted else Absence(NIGHT))
    memory = kept()
    memory.merge(memory.remembered())
    assert kept().absences()[key] == (given if accepted else Absence(NIGHT))


def test_what_a_source_says_counts_more_than_that_it_refuses_access(kept: Kept) -> None:
    key, later = (SOURCE, Tag("a")), "2026-11-26T03:17:00Z"
    refused = replace(told(a=ONE), vanished=frozenset({key}), refused=frozenset({key}))
    kept().record(refused)
    assert kept().absences() == {key: Absence(NIGHT, refused=True)}
    kept().record(replace(told(later, a=ONE), vanished=frozenset({key})))
    assert kept().absences() == {key: Absence(later)}
    kept().record(refused)
    assert kept().absences() == {key: Absence(later)}


def test_the_account_that_a_source_was_read_with_last_is_remembered(kept: Kept) -> None:
    kept().read_with({SOURCE: "one", APP: ""})
    kept().read_with({SOURCE: "two"})
    assert kept().logins() == {SOURCE: "two", APP: ""}
