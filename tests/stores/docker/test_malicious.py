"""Malicious archives: each is rejected before any of its content is copied."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from pathlib import Path

import pytest

from mirrorsync.errors import IntegrityError, Malformed, MirrorsyncError
from tests.parts.images import digest
from tests.stores.docker.parts import BASE, ONE, TOP, by_containers_image, hexes, manifest, pulled, tarball, within

Members = list[tuple[str, bytes | str]]
CONFIG = f"{hexes(ONE.config)}.json"
LAYERS = [f"{hexes(data)}.tar" for data in ONE.layers]
GOOD: Members = by_containers_image(ONE, ["app:1"])


def but(name: str, content: bytes | str | None) -> Members:
    """Return the valid archive with other content of one member; None removes the member."""
    rest: Members = [member for member in GOOD if member[0] != name]
    return rest if content is None else [*rest, (name, content)]


def described(*entries: dict[str, object]) -> Members:
    return but("manifest.json", json.dumps(entries).encode())


def image(**members: object) -> dict[str, object]:
    return {"Config": CONFIG, "RepoTags": ["app:1"], "Layers": LAYERS, **members}


def config(**members: object) -> Members:
    data = json.dumps(
        {"rootfs": {"type": "layers", "diff_ids": [digest(each) for each in ONE.layers]}, **members}
    ).encode()
    name = f"{hexes(data)}.json"
    return [*GOOD[:-1], (name, data), manifest((name, ["app:1"], LAYERS))]


SAYS: dict[str, tuple[Members, str]] = {
    "an absolute path": ([*GOOD, ("/etc/passwd", b"x")], "absolute path"),
    "a path with ..": ([*GOOD, ("a/../../x", b"x")], r"\.\."),
    "a link out": ([*GOOD, ("x/layer.tar", "../../../etc/shadow")], "symbolic link"),
    "an absolute link": ([*GOOD, ("x/layer.tar", "/etc/shadow")], "symbolic link"),
    "a link as manifest.json": (but("manifest.json", "../x.tar"), "symbolic link"),
    "a link to a missing member": ([*GOOD, ("x/layer.tar", "../y/layer.tar")], "missing"),
    "another config": ([*GOOD, (CONFIG, ONE.config + b" ")], "does not match its digest"),
    "another manifest.json": ([*GOOD, ("manifest.json", b"{}")], "not a list"),
    "no manifest.json": (but("manifest.json", None), r"no manifest\.json"),
    "manifest.json is not JSON": (but("manifest.json", b"[{"), "not JSON"),
    "manifest.json is not a list": (but("manifest.json", b"{}"), "not a list"),
    "a list of numbers": (but("manifest.json", b"[1]"), "not a list"),
    "deeply nested": (but("manifest.json", b"[" * 200_000), "not JSON"),
    "a duplicate key": (but("manifest.json", b'[{"Config":"a","Config":"b"}]'), "twice"),
    "no config": (described(image(Config=None)), "without a config"),
    "a missing config": (described(image(Config="x.json")), "missing"),
    "a config outside": (described(image(Config="../../etc/passwd")), "missing"),
    "a missing layer": (described(image(Layers=[*LAYERS[:1], "no.tar"])), "missing"),
    "layers of another type": (described(image(Layers="x")), "not a list"),
    "one layer too few": (described(image(Layers=LAYERS[:1])), "1 layers, and its config names 2"),
    "one layer too many": (described(image(Layers=[*LAYERS, LAYERS[0]])), "3 layers, and its config names 2"),
    "layers swapped": (described(image(Layers=LAYERS[::-1])), "does not match its diff_id"),
    "a config that does not match its name": (but(CONFIG, ONE.config + b" "), "does not match its digest"),
    "a config without layers": (config(rootfs={}), "names no layers"),
    "a config that is not an object": ([("c.json", b"[]"), manifest(("c.json", ["app:1"], []))], "names no layers"),
    "a malformed diff_id": (config(rootfs={"diff_ids": ["sha256:x", "y"]}), "malformed"),
    "a config that is too large": ([("c.json", bytes(9 << 20)), manifest(("c.json", ["app:1"], []))], "limit|more"),
    "a layer that does not match the config": (but(LAYERS[1], BASE[:-1] + b"!"), "does not match its diff_id"),
    "a truncated layer": (but(LAYERS[0], BASE[:-512]), "does not match its diff_id"),
    "a truncated gzipped layer": (but(LAYERS[0], gzip.compress(BASE)[:-9]), "truncated"),
    "a gzipped layer with trailing data": (but(LAYERS[0], gzip.compress(BASE) + b"tail" * 10), "not valid gzip"),
    "another gzipped layer than in the config": (but(LAYERS[0], gzip.compress(TOP)), "does not match its diff_id"),
}  # fmt: skip


def refused(path: Path) -> MirrorsyncError:
    """Return the error; only bytes that do not match their digest end with the exit code for damage."""
    with pytest.raises((IntegrityError, Malformed)) as caught:
        within(path, lambda store: pulled(store.repository("app"), "1"))
    assert caught.value.store == f"docker-archive:{path}"
    assert isinstance(caught.value, IntegrityError) == ("does not match" in caught.value.message)
    return caught.value


@pytest.mark.parametrize("what", SAYS)
def test_an_invalid_or_ambiguous_archive_is_rejected(tmp_path: Path, what: str) -> None:
    members, message = SAYS[what]
    error = refused(tarball(tmp_path / "a.tar", members))
    assert re.search(message, error.message), error.message


def test_the_unmodified_archive_is_accepted(tmp_path: Path) -> None:
    assert within(tarball(tmp_path / "a.tar", GOOD), lambda store: pulled(store.repository("app"), "1"))[0].blobs


SPECIAL = {
    "a device": tarfile.BLKTYPE,
    "a character device": tarfile.CHRTYPE,
    "a fifo": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_members_that_are_not_regular_files_are_rejected(tmp_path: Path, kind: str) -> None:
    path = tarball(tmp_path / "a.tar", GOOD)
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("x.tar")
        info.type, info.linkname = SPECIAL[kind], LAYERS[0]
        archive.addfile(info)
    assert "x.tar" in refused(path).message


@pytest.mark.parametrize("cut", [0.2, 0.9])
def test_a_truncated_archive_is_rejected(tmp_path: Path, cut: float) -> None:
    path = tarball(tmp_path / "a.tar", GOOD)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    refused(path)


def test_a_member_with_a_wrong_size_is_rejected(tmp_path: Path) -> None:
    path = tarball(tmp_path / "a.tar", GOOD)
    data = bytearray(path.read_bytes())
    info = tarfile.TarInfo(LAYERS[0])
    info.size = 2**40
    data[:512] = info.tobuf(tarfile.GNU_FORMAT)[:512]
    path.write_bytes(data)
    assert "ends before" in refused(path).message


def test_one_name_for_two_images_is_rejected(tmp_path: Path) -> None:
    other = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
    name = f"{hexes(other)}.json"
    entries = manifest((CONFIG, ["app:1"], LAYERS), (name, ["docker.io/library/app:1"], []))
    assert "two images" in refused(tarball(tmp_path / "a.tar", [*GOOD[:-1], (name, other), entries])).message


def test_an_oci_archive_is_rejected_with_its_transport(tmp_path: Path) -> None:
    error = refused(tarball(tmp_path / "a.tar", [("oci-layout", b"{}"), ("index.json", b"{}")]))
    assert "oci-archive:" in error.remedy


@pytest.mark.parametrize("data", [b"hello, world" * 100, bytes(100), b"\x1f\x8b\x08garbage"])
def test_a_file_that_is_not_an_archive_is_rejected(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    refused(path)
