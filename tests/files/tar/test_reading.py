"""Read an archive: as a file, through a pipe, gzipped as a whole, by several threads, and while it is replaced."""

from __future__ import annotations

import gzip
import lzma
import os
import resource
import subprocess
import sys
import threading
from bz2 import compress as bzip2
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirrorsync.errors import IntegrityError, MirrorsyncError, StorageError
from mirrorsync.files.tar.reader import ArchiveFile
from tests.files.tar.parts import GRAMMAR, archive, head, packed
from tests.parts.images import noise

FILES = {"a": noise("a", 3_000_001), "b": b"", "c": b"three"}
RAW = packed(FILES.items())


def opened(path: Path) -> ArchiveFile:
    return ArchiveFile(path, GRAMMAR, path.parent)


def contents(file: ArchiveFile) -> dict[str, bytes]:
    return {name: file.read(member, 10_000_000) for name, member in file.members().items()}


def test_the_file_is_opened_on_first_use_and_a_missing_file_is_not_an_error(tmp_path: Path) -> None:
    file = opened(tmp_path / "none.tar")
    assert file.exists() is False
    assert file.members() == {}
    assert file.signature() is None
    (tmp_path / "none.tar").write_bytes(RAW)
    assert contents(file) == FILES
    file.close()


def test_a_member_is_read_from_any_offset_by_many_threads(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(RAW)
    file = opened(tmp_path / "x.tar")
    start = threading.Barrier(8)

    def read(offset: int) -> bool:
        start.wait()
        with file.open(file.members()["a"], offset) as part:
            return b"".join(iter(lambda: part.read(70_000), b"")) == FILES["a"][offset:]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [0, 1, 511, 512, 2_000_000, 3_000_000, 3_000_001, 4_000_000]))
    file.close()


@pytest.mark.parametrize("parts", [1, 3])
def test_an_archive_that_is_gzipped_as_a_whole_is_read(tmp_path: Path, parts: int) -> None:
    size = len(RAW) // parts + 1
    pieces = [gzip.compress(RAW[start : start + size]) for start in range(0, len(RAW), size)]
    (tmp_path / "x.tar.gz").write_bytes(b"".join(pieces))
    file = opened(tmp_path / "x.tar.gz")
    assert contents(file) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]  # the spooled content has no name
    file.close()


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_an_archive_is_read_from_a_pipe(tmp_path: Path, compress: type[bytes]) -> None:
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(compress(RAW))

    feeder = threading.Thread(target=feed)
    feeder.start()
    file = ArchiveFile(Path(f"/dev/fd/{reading}"), GRAMMAR, tmp_path)
    assert contents(file) == FILES
    assert file.signature() == file.signature() is not None
    assert contents(file) == FILES
    feeder.join()
    os.close(reading)
    file.close()


@pytest.mark.parametrize("cut", [3, 100, 200_000, -9, -1])
def test_an_archive_in_damaged_gzip_is_rejected(tmp_path: Path, cut: int) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(RAW)[:cut])
    with pytest.raises(IntegrityError, match="is damaged gzip data"):
        opened(tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("raw", "message", "remedy"),
    [
        (lzma.compress(RAW), "compressed with xz", "xz -d"),
        (bzip2(RAW), "compressed with bzip2", "bzip2 -d"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "compressed with zstd", "zstd -d"),
        (gzip.compress(lzma.compress(RAW)), "compressed with xz", "xz -d"),
        (b"", "is empty", "remove it"),
    ],
    ids=["xz", "bzip2", "zstd", "xz in gzip", "empty"],
)
def test_other_compressions_and_empty_files_are_rejected_with_a_remedy(
    tmp_path: Path, raw: bytes, message: str, remedy: str
) -> None:
    (tmp_path / "x.tar").write_bytes(raw)
    with pytest.raises(MirrorsyncError, match=message) as caught:
        opened(tmp_path / "x.tar").exists()
    assert remedy in caught.value.remedy


def test_a_gzip_bomb_takes_disk_and_no_memory(tmp_path: Path) -> None:
    """300 MB of zeros in 300 KB: a valid archive, or one that is too large for the disk."""
    size = 300_000_000
    with gzip.open(tmp_path / "x.tar.gz", "wb", compresslevel=1) as file:
        file.write(head("a", size))
        for _ in range(300):
            file.write(bytes(1_000_000))
        file.write(bytes(-size % 512 + 1024))
    limited = (
        "import resource, sys; from pathlib import Path; from tests.files.tar.test_reading import opened\n"
        "resource.setrlimit(resource.RLIMIT_AS, (250_000_000, 250_000_000))\n"
        "print(opened(Path(sys.argv[1])).members()['a'].size)"
    )
    done = subprocess.run([sys.executable, "-c", limited, tmp_path / "x.tar.gz"], capture_output=True, text=True)
    assert done.stdout == f"{size}\n", done.stderr


def test_a_full_disk_while_spooling_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(RAW))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"unpacking .* exceed the size limit"):
            opened(tmp_path / "x").exists()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_replaced_archive_is_read_again_and_open_members_are_read_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(RAW)
    file = opened(path)
    before = file.signature()
    part = file.open(file.members()["a"])
    (tmp_path / "new").write_bytes(packed([("c", b"other")]))
    (tmp_path / "new").rename(path)
    assert file.signature() != before
    assert contents(file) == {"c": b"other"}
    assert part.read(10_000_000) == FILES["a"]
    part.close()
    file.close()


def test_an_archive_truncated_while_it_is_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(RAW)
    file = opened(path)
    with file.open(file.members()["a"]) as part:
        os.truncate(path, 1024)
        with pytest.raises(IntegrityError, match="was truncated"):
            list(iter(lambda: part.read(1_000_000), b""))
    file.close()


def test_a_member_over_the_limit_is_not_read_into_memory(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(RAW)
    file = opened(tmp_path / "x.tar")
    with pytest.raises(IntegrityError, match="member is 3000001 bytes; the limit is 1000000"):
        file.read(file.members()["a"], 1_000_000)
    file.close()


def test_errors_name_the_archive_and_leave_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(archive(head("b", type=b"2", linkname="/etc/passwd")).getvalue())
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        with pytest.raises(IntegrityError, match=f"{path}: member 'b' of the archive is a symbolic link"):
            opened(path).exists()
    assert set(Path("/proc/self/fd").iterdir()) == before
    with pytest.raises(StorageError, match=r"reading .*: Is a directory"):
        opened(tmp_path).exists()
