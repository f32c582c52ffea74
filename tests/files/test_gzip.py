"""Gzip: deterministic, readable by other programs, with bounded memory."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrorsync.errors import Malformed
from mirrorsync.files.gzip import compressed, decompressed, deflaters
from tests.parts.images import noise
from tests.parts.processes import run
from tests.stores.docker.parts import Plain, by_nix, tarball

MIB = 1024 * 1024
SIZES = (0, 1, 300_000, MIB, MIB + 1, 5_000_000)


def content(size: int) -> bytes:
    """Return bytes: the first half does not compress, the second half does."""
    return random.Random(size).randbytes(size // 2) + bytes(size - size // 2)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def packed(data: bytes, size: int = MIB) -> bytes:
    with deflaters() as threads:
        return b"".join(compressed(cut(data, size), threads))


def unpacked(data: bytes, size: int = 100_000) -> bytes:
    return b"".join(decompressed(cut(data, size), "it"))


@pytest.mark.parametrize("size", SIZES)
def test_output_is_valid_gzip_and_does_not_depend_on_how_the_input_is_cut(size: int) -> None:
    data = content(size)
    made = packed(data)
    assert gzip.decompress(made) == data
    assert {packed(data, 77_777), packed(data, 3 * MIB)} == {made}
    assert unpacked(made) == data


def test_output_is_at_most_a_tenth_larger_than_that_of_zlib_level_1() -> None:
    data = Path("/bin/busybox").read_bytes()
    assert len(packed(data)) < 1.1 * len(gzip.compress(data, 1))


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_gzip_of_other_programs_is_decompressed_also_with_several_members_and_small_chunks(size: int) -> None:
    data = content(300_000)
    assert unpacked(gzip.compress(data[:100_000]) + gzip.compress(data[100_000:]), size) == data


@pytest.mark.parametrize("damage", [b"", b"\x1f", b"\x1f\x8b\x08", b"no gzip at all, and long enough to be a header"])
def test_input_that_is_not_gzip_is_rejected(damage: bytes) -> None:
    with pytest.raises(Malformed):
        unpacked(damage)


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d[:-9], lambda d: d + bytes(40), lambda d: d + d[:9]])
def test_damaged_gzip_is_rejected(change: object) -> None:
    with pytest.raises(Malformed):
        unpacked(change(packed(content(300_000))))  # type: ignore[operator]


def test_a_wrong_checksum_is_rejected() -> None:
    made = bytearray(packed(content(300_000)))
    made[-6] ^= 1
    with pytest.raises(Malformed):
        unpacked(bytes(made))


def test_a_small_chunk_that_expands_a_lot_is_yielded_in_small_pieces() -> None:
    pieces = [len(piece) for piece in decompressed([packed(bytes(64 * MIB))], "it")]
    assert sum(pieces) == 64 * MIB
    assert max(pieces) <= MIB


_READ = textwrap.dedent(
    """
    import asyncio, re, sys
    from pathlib import Path
    from mirrorsync.oci.ref import Tag
    from mirrorsync.stores.docker.archive_store import DockerArchiveStore

    async def main(path, temporary):
        store = DockerArchiveStore(path, temporary=temporary)
        repository = store.repository("app")
        root = await repository.resolve(Tag("1"))
        for blob in (await repository.manifest(root)).blobs:
            with repository.open(blob) as chunks:
                size = sum(map(len, chunks))
            assert size == blob.size
        await store.close()
        # Not getrusage: that starts with the peak of the process that this one was forked from.
        peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
        print(root.digest, int(peak[1]) // 1024)

    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
    """
)


def read_in_a_process(path: Path) -> tuple[str, int]:
    """Read app:1 in a process of its own; return its digest, and the peak memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path), str(path.parent)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found, memory = done.stdout.split()
    return found, int(memory)


def test_two_processes_compress_to_the_same_digest(tmp_path: Path) -> None:
    made = Plain((content(5_000_000), content(2_000_000), b""))
    path = tarball(tmp_path / "a.tar", by_nix(made, ["app:1"]))
    assert read_in_a_process(path)[0] == read_in_a_process(path)[0]


def test_memory_stays_flat_with_a_large_layer(tmp_path: Path) -> None:
    large = noise("part", 8 * MIB) + bytes(292 * MIB)
    path = tarball(tmp_path / "a.tar", by_nix(Plain((large,)), ["app:1"]))
    assert read_in_a_process(path)[1] < 120


GROWTH = """
import random, tempfile
from mirrorsync.files.gzip import compressed, decompressed, deflaters

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def layer():
    source = random.Random(1)
    for number in range(512):  # MiB, of which half does not compress, and half does to a half
        half = source.randbytes(1 << 18).hex().encode() if number % 2 else source.randbytes(1 << 19)
        yield half + source.randbytes(1 << 19)

with tempfile.TemporaryFile(buffering=0) as file:
    for chunk in compressed(layer(), deflaters()):
        file.write(chunk)
    file.seek(0)
    undone = before = 0
    for piece in decompressed(iter(lambda: file.read(1 << 20), b""), "layer"):
        undone += len(piece)
        before = before or (resident() if undone > 16 << 20 else 0)
    print(resident() - before)
"""


def test_decompression_does_not_fragment_memory() -> None:
    grown = int(run(sys.executable, "-c", GROWTH))
    assert grown < 12 << 20
