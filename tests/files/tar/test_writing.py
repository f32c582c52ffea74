"""Write an archive: complete or not at all, by several threads, the same bytes for the same content."""

from __future__ import annotations

import io
import os
import random
import resource
import subprocess
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirrorsync.errors import IntegrityError, Locked, StorageError
from mirrorsync.files.tar.scan import Member, scan
from mirrorsync.files.tar.writer import ArchiveLock, ArchiveWriter, Filling
from tests.files.tar.parts import GRAMMAR
from tests.files.tar.test_members import LONG
from tests.parts.images import noise


class Broken(Exception):
    pass


def contents(path: Path) -> dict[str, bytes]:
    raw = path.read_bytes()
    found = scan(io.BytesIO(raw), GRAMMAR)
    return {name: raw[place.offset : place.offset + place.size] for name, place in found.items()}


def fail(writer: ArchiveWriter, name: str, size: int) -> None:
    """Start a member, and fail halfway."""

    def half(filling: Filling) -> None:
        filling.write(b"x" * (size // 2))
        raise Broken

    with pytest.raises(Broken), writer.filling(name, size) as filling:
        half(filling)


def test_the_same_content_gives_the_same_bytes_and_tar_extracts_it(tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        lock = ArchiveLock(tmp_path / name)
        writer = ArchiveWriter(lock)
        writer.directory("d")
        writer.add("d/b", b"two")
        writer.add(LONG, b"long")
        writer.add("a", noise("a", 100_000))
        writer.publish()
        lock.release()
    one = tmp_path / "one.tar"
    assert one.read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert contents(one) == {"d/b": b"two", LONG: b"long", "a": noise("a", 100_000)}
    with tarfile.open(one) as tar:
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in tar} == {(0, 0, 0, "")}
    subprocess.run(["tar", "-C", tmp_path, "-xf", one], check=True)
    assert (tmp_path / LONG).read_bytes() == b"long"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_the_archive_is_published_when_complete_and_no_other_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "made/for/it/x.tar"
    lock = ArchiveLock(path)
    writer = ArchiveWriter(lock)
    writer.add("a", b"1")
    assert not path.exists()
    assert writer.member("a") is not None
    writer.publish()
    assert contents(path) == {"a": b"1"}
    lock.release()
    assert [one.name for one in path.parent.iterdir()] == ["x.tar"]


def test_many_threads_write_at_a_time_and_failed_members_leave_nothing(tmp_path: Path) -> None:
    chance = random.Random("threads")
    names = [chr(97 + number) * 3 for number in range(24)]
    data = {name: noise(name, chance.randrange(300_000)) for name in names}
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    start = threading.Barrier(8)

    def write(name: str) -> None:
        if name in names[:8]:
            start.wait()
        with writer.filling(name, len(data[name])) as filling:
            for begin in range(0, len(data[name]), 10_000):
                filling.write(data[name][begin : begin + 10_000])
            if names.index(name) % 3 == 0:
                raise Broken

    with ThreadPoolExecutor(8) as pool:
        outcomes = [pool.submit(write, name).exception for name in names]
    failed = {name for name, outcome in zip(names, outcomes, strict=True) if outcome() is not None}
    assert failed == set(names[::3])
    writer.publish()
    lock.release()
    assert contents(tmp_path / "x.tar") == {name: data[name] for name in names if name not in failed}


def test_publishing_waits_for_members_that_are_being_written(tmp_path: Path) -> None:
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    with ThreadPoolExecutor(1) as pool:
        with writer.filling("a", 6) as filling:
            published = pool.submit(writer.publish)
            filling.write(b"abc")
            assert not (tmp_path / "x.tar").exists()
            filling.write(b"def")
        published.result()
    assert contents(tmp_path / "x.tar") == {"a": b"abcdef"}
    lock.release()


def test_a_retried_member_reuses_the_region_of_the_failed_attempt(tmp_path: Path) -> None:
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    fail(writer, "a", 900_000)
    writer.add("b", b"2")
    writer.add("a", noise("a", 900_000))
    fail(writer, "c", 5_000)
    writer.add("d", noise("d", 3_000_000))  # moved towards the beginning, over its own region
    writer.publish()
    lock.release()
    assert contents(tmp_path / "x.tar") == {"a": noise("a", 900_000), "b": b"2", "d": noise("d", 3_000_000)}
    assert (tmp_path / "x.tar").stat().st_size < 3_910_000


def test_one_of_two_equal_members_is_kept_and_a_dropped_one_is_not(tmp_path: Path) -> None:
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    with writer.filling("a", 3) as first, writer.filling("a", 3) as second:
        first.write(b"one")
        second.write(b"one")
    writer.add("b", b"2")
    writer.drop("b")
    writer.drop("b")
    writer.add("c", b"3")
    assert set(writer.members()) == {"a", "c"}
    writer.publish()
    lock.release()
    assert contents(tmp_path / "x.tar") == {"a": b"one", "c": b"3"}


def test_a_file_is_appended_by_the_kernel_or_by_reads_and_writes(tmp_path: Path) -> None:
    data = noise("spool", 20_000_000)
    (tmp_path / "spool").write_bytes(b"before" + data)
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    with (tmp_path / "spool").open("rb") as spool:
        writer.append("a", spool.fileno(), Member(6, len(data)))
        with pytest.raises(IntegrityError, match="ended after 20000000 of 20000001"):
            writer.append("b", spool.fileno(), Member(6, len(data) + 1))
    # From a file system for which copy_file_range fails.
    with Path("/proc/self/status").open("rb") as proc:
        writer.append("c", proc.fileno(), Member(0, 10))
    writer.publish()
    lock.release()
    assert contents(tmp_path / "x.tar") == {"a": data, "c": Path("/proc/self/status").read_bytes()[:10]}


@pytest.mark.parametrize("data", [b"", b"ab", b"abcd"])
def test_a_member_of_another_size_than_announced_is_rejected(tmp_path: Path, data: bytes) -> None:
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    with pytest.raises(IntegrityError, match="announced"), writer.filling("a", 3) as filling:
        filling.write(data)
    assert writer.members() == {}
    writer.discard()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_completed_member_can_be_read_before_the_archive_is_published(tmp_path: Path) -> None:
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    writer.add("a", b"0123456789")
    member = writer.member("a")
    assert member is not None
    with writer.open(member, 4) as part:
        assert part.read(100) == b"456789"
    writer.discard()
    with pytest.raises(StorageError):
        writer.open(member)
    with pytest.raises(StorageError):
        writer.add("b", b"")
    lock.release()


def test_one_writer_has_the_lock_and_removes_the_files_of_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"old")
    for name in (".x.tar.lock", ".x.tar.incoming"):
        (tmp_path / name).write_bytes(b"left")
    lock = ArchiveLock(path)
    assert not (tmp_path / ".x.tar.incoming").exists()
    with pytest.raises(Locked, match=f"another run is working on {path}"):
        ArchiveLock(path)
    other = ArchiveLock(tmp_path / "y.tar")  # another archive has another lock
    other.release()
    lock.release()
    assert [one.name for one in tmp_path.iterdir()] == ["x.tar"]
    ArchiveLock(path).release()


def test_of_many_processes_that_lock_and_release_one_has_the_lock_at_a_time(tmp_path: Path) -> None:
    """Each holder removes the lock file, and a lock on a removed file does not count."""
    inside = 0
    seen: list[int] = []

    def work(_: int) -> None:
        nonlocal inside
        for _ in range(200):
            try:
                lock = ArchiveLock(tmp_path / "x.tar")
            except Locked:
                continue
            inside += 1
            seen.append(inside)
            os.sched_yield()
            inside -= 1
            lock.release()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert set(seen) == {1}


def test_a_symbolic_link_to_an_archive_and_its_mode_are_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x.tar").write_bytes(b"old")
    (tmp_path / "real/x.tar").chmod(0o600)
    (tmp_path / "x.tar").symlink_to("real/x.tar")
    lock = ArchiveLock(tmp_path / "x.tar")
    writer = ArchiveWriter(lock)
    writer.add("a", b"1")
    writer.publish()
    lock.release()
    assert (tmp_path / "x.tar").is_symlink()
    assert contents(tmp_path / "real/x.tar") == {"a": b"1"}
    assert (tmp_path / "real/x.tar").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["directory", "/dev/null", "file/x.tar"])
def test_a_path_that_is_not_a_regular_file_is_rejected(tmp_path: Path, path: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"not a regular file|Not a directory|File exists"):
        ArchiveLock(tmp_path / path)


def test_a_full_disk_leaves_the_old_archive_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"old")
    lock = ArchiveLock(path)
    writer = ArchiveWriter(lock)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageError, match=f"writing {path}: the file would exceed the size limit"):
            writer.add("a", bytes(2_000_000))
        writer.add("b", bytes(1951 * 512))  # then there is no room for the end of the archive
        with pytest.raises(StorageError, match="exceed the size limit"):
            writer.publish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    writer.publish()  # there is room again
    lock.release()
    assert set(contents(path)) == {"b"}
