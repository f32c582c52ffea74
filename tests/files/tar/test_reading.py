"""Read an archive: as a file, through a pipe, gzipped as a whole, by several threads, and while it is replaced."""

from __future__ import annotations

import gzip
import lzma
import os
import resource
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirrorsync.errors import Malformed, MirrorsyncError, StorageError, StoreChanged
from mirrorsync.files.tar.reader import ArchiveFile
from tests.files.tar.parts import GRAMMAR, archive, head, packed
from tests.parts.compressions import COMPRESS
from tests.parts.images import noise

FILES = {"a": noise("a", 1_200_001), "b": b"", "c": b"three"}
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
        assert all(pool.map(read, [0, 1, 511, 512, 900_000, 1_200_000, 1_200_001, 4_000_000]))
    file.close()


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("compression", COMPRESS)
def test_an_archive_that_is_compressed_as_a_whole_is_read(tmp_path: Path, compression: str, parts: int) -> None:
    size = len(RAW) // parts + 1
    pieces = [COMPRESS[compression](RAW[start : start + size]) for start in range(0, len(RAW), size)]
    (tmp_path / "x.tar.gz").write_bytes(b"".join(pieces))
    file = opened(tmp_path / "x.tar.gz")
    assert contents(file) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]  # the spooled content has no name
    file.close()


def test_an_archive_with_a_skippable_frame_as_pzstd_writes_it_is_read(tmp_path: Path) -> None:
    frame = b"\x50\x2a\x4d\x18\x04\0\0\0size"
    (tmp_path / "x.tar.zst").write_bytes(frame + COMPRESS["zstd"](RAW))
    file = opened(tmp_path / "x.tar.zst")
    assert contents(file) == FILES
    file.close()


def test_an_archive_whose_first_name_begins_as_bzip2_does_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(packed([("BZh9", b""), *FILES.items()]))
    file = opened(tmp_path / "x.tar")
    assert contents(file) == FILES
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


@pytest.mark.parametrize("cut", [12, 100, 200_000, -9, -1])
@pytest.mark.parametrize("compression", COMPRESS)
def test_an_archive_in_damaged_compression_is_rejected(tmp_path: Path, compression: str, cut: int) -> None:
    whole = COMPRESS[compression](RAW)
    for damaged in (whole[:cut], whole + b"more") if compression != "gzip" else (whole[:cut],):
        (tmp_path / "x").write_bytes(damaged)
        with pytest.raises(Malformed, match=f"is damaged {compression} data"):
            opened(tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("raw", "message", "remedy"),
    [
        (lzma.compress(RAW[:10_000], lzma.FORMAT_ALONE, preset=0), "compressed with lzma", "xz -d"),
        (b"\x04\x22\x4d\x18" + bytes(100), "compressed with lz4", "lz4 -d"),
        (gzip.compress(lzma.compress(RAW[:10_000], preset=0)), "compressed twice, also with xz", "unpack it first"),
        (gzip.compress(b""), "is empty", "remove it"),
    ],
    ids=["lzma", "lz4", "xz in gzip", "nothing in gzip"],
)
def test_other_compressions_and_empty_content_are_rejected_with_a_remedy(
    tmp_path: Path, raw: bytes, message: str, remedy: str
) -> None:
    (tmp_path / "x.tar").write_bytes(raw)
    with pytest.raises(MirrorsyncError, match=message) as caught:
        opened(tmp_path / "x.tar").exists()
    assert remedy in caught.value.remedy


def test_an_empty_file_counts_as_a_missing_archive(tmp_path: Path) -> None:
    """mktemp makes one for the name of a new archive."""
    (tmp_path / "x.tar").touch()
    file = opened(tmp_path / "x.tar")
    assert file.exists() is False
    assert file.members() == {}
    assert file.signature() is None


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_bomb_takes_disk_and_no_memory(tmp_path: Path, compression: str) -> None:
    """100 MB of zeros in a few KB: a valid archive, or one that is too large for the disk."""
    size = 100_000_000
    raw = head("a", size) + bytes(size - size % 512 + 512 + 1024)
    (tmp_path / "x.tar").write_bytes(COMPRESS[compression](raw))
    assert (tmp_path / "x.tar").stat().st_size < 1_000_000
    limited = (
        "import re, resource, sys; from pathlib import Path; from tests.files.tar.test_reading import opened\n"
        "used = re.search(r'VmSize:\\s+(\\d+) kB', Path('/proc/self/status').read_text())\n"
        "limit = int(used[1]) * 1024 + 60_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "print(opened(Path(sys.argv[1])).members()['a'].size)"
    )
    done = subprocess.run([sys.executable, "-c", limited, tmp_path / "x.tar"], capture_output=True, text=True)
    assert done.stdout == f"{size}\n", done.stderr


def test_xz_that_asks_for_more_memory_than_any_preset_is_rejected(tmp_path: Path) -> None:
    raw = bytearray(lzma.compress(RAW[:5000], preset=0))
    # The header of the first block: size, flags, filter (LZMA2), size of its properties, dictionary size, CRC-32.
    raw[16] = 40  # 4 GiB
    raw[20:24] = zlib.crc32(raw[12:20]).to_bytes(4, "little")
    (tmp_path / "x.tar").write_bytes(raw)
    with pytest.raises(Malformed, match="is damaged xz data: Memory usage limit"):
        opened(tmp_path / "x.tar").exists()


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
        with pytest.raises(StoreChanged, match="was truncated"):
            list(iter(lambda: part.read(1_000_000), b""))
    file.close()


def test_a_member_over_the_limit_is_not_read_into_memory(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(RAW)
    file = opened(tmp_path / "x.tar")
    with pytest.raises(Malformed, match="member is 1200001 bytes; the limit is 1000000"):
        file.read(file.members()["a"], 1_000_000)
    file.close()


def test_errors_name_the_archive_and_leave_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(archive(head("b", type=b"2", linkname="/etc/passwd")).getvalue())
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        with pytest.raises(Malformed, match=f"{path}: member 'b' of the archive is a symbolic link"):
            opened(path).exists()
    assert set(Path("/proc/self/fd").iterdir()) == before
    with pytest.raises(StorageError, match=r"reading .*: Is a directory"):
        opened(tmp_path).exists()
