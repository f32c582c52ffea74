"""plan --deep finds content on disk whose bytes do not match, and apply --deep writes it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.images import Image, image, index, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync

LARGE = layer({"large": noise("large", 3_000_000)})
SMALL = layer({"small": noise("small", 2000)})


def flip(path: Path, offset: int) -> None:
    """Change one byte of a file; its size stays."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))


def position(path: Path, content: bytes) -> int:
    """Return an offset in a file that is inside of some content."""
    found = path.read_bytes().find(content)
    assert found >= 0
    return found + len(content) // 2


def made() -> Image:
    return index([image([SMALL, LARGE]), image([SMALL, layer({"arm": b"arm"})], architecture="arm64")])


def spec(mirrorsync: Mirrorsync, to: str, **more: object) -> None:
    mirrorsync.spec(
        {
            "destinations": {"there": to},
            "mirrors": [{"from": "oci:source", "tags": {"all": True}, "name": "app", "to": ["there"], **more}],
        }
    )


# The content of an image by what it is, and how many blobs are read again to repair it.
DAMAGED: dict[str, tuple[Callable[[Image], bytes], int]] = {
    "a small layer": (lambda _: SMALL, 1),
    "a large layer": (lambda _: LARGE, 1),
    "the config": (lambda root: next(iter(root.children[0].blobs.values())), 1),
    "the manifest of a platform": (lambda root: root.children[1].raw, 0),
    "the index": (lambda root: root.raw, 0),
}


@pytest.mark.parametrize("to", ["oci:disk", "oci-archive:disk.tar"])
@pytest.mark.parametrize("what", DAMAGED)
def test_a_flipped_byte_is_found_and_repaired(mirrorsync: Mirrorsync, tmp_path: Path, to: str, what: str) -> None:
    root = made()
    write_layout(tmp_path / "source", {"app:1": root, "app:2": multi_platform("other")})
    spec(mirrorsync, to)
    mirrorsync("apply", code=0)
    content_of, read = DAMAGED[what]
    content = content_of(root)
    digest = hashlib.sha256(content).hexdigest()
    file = tmp_path / "disk/blobs/sha256" / digest if to == "oci:disk" else tmp_path / "disk.tar"
    flip(file, position(file, content))
    mirrorsync("plan", "--exit-code", code=0)
    assert mirrorsync("plan", "--deep", "--exit-code", code=10).out.count("incomplete ") == 1
    report = mirrorsync("apply", "--deep", "--json", code=0).json()
    assert sorted(one["outcome"] for one in report["images"]) == ["done", "unchanged"]
    assert report["counts"]["read"]["blobs"] == read
    assert content in file.read_bytes()
    mirrorsync("plan", "--deep", "--exit-code", code=0)
    mirrorsync("copy", f"{to}:app:1", "dir:out", code=0)


def test_a_flipped_byte_in_a_directory_is_found_and_repaired(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    root = made()
    write_layout(tmp_path / "source", {"app:1": root})
    mirrorsync.spec(
        {"destinations": {"there": "dir:there"}, "defaults": {"to": ["there"]}, "mirrors": ["oci:source:app:1"]}
    )
    mirrorsync("apply", code=0)
    for content, name in ((LARGE, ""), (SMALL, ""), (root.children[1].raw, ".manifest.json")):
        file = tmp_path / "there" / (hashlib.sha256(content).hexdigest() + name)
        flip(file, len(content) // 2)
        mirrorsync("plan", "--exit-code", code=0)
        assert "incomplete " in mirrorsync("plan", "--deep", "--exit-code", code=10).out
        mirrorsync("apply", "--deep", code=0)
        assert file.read_bytes() == content


def test_a_flipped_byte_in_a_docker_archive_is_found_and_repaired(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    files = noise("large", 3_000_000)
    shared = layer({"small": b"small"})
    one, two = image([shared, layer({"large": files})]), image([shared, layer({"other": b"other"})])
    write_layout(tmp_path / "source", {"app:1": one, "app:2": two})
    spec(mirrorsync, "docker-archive:there.tar")
    mirrorsync("apply", code=0)
    file = tmp_path / "there.tar"
    whole = file.read_bytes()
    flip(file, position(file, files))
    mirrorsync("plan", "--exit-code", code=0)
    found = mirrorsync("plan", "--deep", "--exit-code", code=10).out
    assert "there  app:1 " in found
    assert "there.tar:app:2 " not in found
    mirrorsync("apply", "--deep", code=0)
    assert file.read_bytes() == whole
    mirrorsync("plan", "--deep", "--exit-code", code=0)
