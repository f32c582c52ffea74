"""Write docker archives, for other programs and other runs."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    IntegrityError,
    Locked,
    Malformed,
    MirrorsyncError,
    StorageError,
)
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store
from tests.cli.tools import Podman
from tests.parts.compressions import COMPRESS
from tests.parts.images import Image, artifact, digest, multi_platform, write_layout
from tests.parts.processes import run
from tests.stores.docker.parts import (
    BASE,
    ONE,
    TWO,
    Plain,
    by_crane,
    by_docker_24,
    hexes,
    manifest,
    opened,
    packed,
    pulled,
    pushed,
    tarball,
    within,
)

NEW = Plain((BASE, b"no tar, which is accepted"), "new")


def write(path: Path, *images: tuple[str, Plain], cache: Path | None = None) -> list[list[str]]:
    """Write images as `repository:tag`; return which blobs had to be copied for each."""

    async def work(store: Store) -> list[list[str]]:
        store.lock()
        lacking = []
        for name, made in images:
            repository, _, tag = name.rpartition(":")
            lacking.append(await pushed(store.repository(repository), packed(made), tag))
        return lacking

    return within(path, work, cache)


def members(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def listed(path: Path) -> list[tuple[str, list[str] | None]]:
    """Return the images of manifest.json: config and names."""
    with tarfile.open(path) as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        return [(entry["Config"].removesuffix(".json"), entry["RepoTags"]) for entry in json.load(file)]


def test_podman_and_skopeo_read_our_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("quay.io/corp/app:1", ONE), ("app:2", TWO), ("user/app:3", ONE))
    run("skopeo", "copy", "-q", f"docker-archive:{path}:docker.io/library/app:2", f"dir:{tmp_path}/dir")
    copied = json.loads((tmp_path / "dir/manifest.json").read_text())
    assert copied["config"]["digest"] == TWO.id
    with Podman() as podman:
        podman("load", "-q", "-i", str(path))
        for name, made in (
            ("quay.io/corp/app:1", ONE),
            ("docker.io/library/app:2", TWO),
            ("docker.io/user/app:3", ONE),
        ):
            assert podman("inspect", "--format", "{{.Id}}", name) == made.id.removeprefix("sha256:")


def test_layers_are_written_uncompressed_and_shared_ones_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("app:1", ONE), ("app:2", TWO))
    layers = [f"{hexes(data)}.tar" for data in (*ONE.layers, TWO.layers[1])]
    assert members(path) == [*layers, f"{hexes(ONE.config)}.json", f"{hexes(TWO.config)}.json", "manifest.json"]
    with tarfile.open(path) as archive:
        for name in layers:
            file = archive.extractfile(name)
            assert file is not None
            assert f"{hexes(file.read())}.tar" == name


def test_the_file_does_not_depend_on_the_order_of_the_images(tmp_path: Path) -> None:
    one, other = tmp_path / "1.tar", tmp_path / "2.tar"
    write(one, ("app:1", ONE), ("b/app:2", TWO), ("app:3", ONE))
    write(other, ("app:3", ONE), ("b/app:2", TWO), ("app:1", ONE))
    assert one.read_bytes() == other.read_bytes()


def test_an_image_is_read_back_with_its_config_and_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("app:1", ONE))
    found, blobs = within(path, lambda store: pulled(store.repository("app"), "1"))
    assert found.blobs[0].digest == ONE.id
    assert blobs[ONE.id] == ONE.config


@pytest.mark.parametrize("writer", [by_docker_24, by_crane])
def test_images_are_added_to_an_archive_of_any_tool(tmp_path: Path, writer: object) -> None:
    path = tarball(tmp_path / "a.tar", writer(ONE, ["old:1"]))  # type: ignore[operator]
    write(path, ("app:2", TWO))
    assert listed(path) == [
        (hexes(ONE.config), ["docker.io/library/old:1"]),
        (hexes(TWO.config), ["docker.io/library/app:2"]),
    ]
    for repository, tag, made in (("old", "1", ONE), ("app", "2", TWO)):
        found, _ = within(path, lambda store, at=(repository, tag): pulled(store.repository(at[0]), at[1]))  # type: ignore[misc]
        assert found.blobs[0].digest == made.id


def test_positions_stay_valid_if_images_are_added(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("z:1", ONE))
    write(path, ("a:1", TWO))
    assert [image for image, _ in listed(path)] == [hexes(ONE.config), hexes(TWO.config)]


def test_an_unchanged_archive_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("app:1", ONE))
    before = path.stat()
    write(path, ("app:1", ONE))
    within(path, lambda store: store.flush())
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tar", "temporary"]


def test_an_image_that_loses_its_last_name_is_dropped_with_its_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("app:1", ONE), ("app:2", ONE))
    write(path, ("app:1", TWO))
    assert {image for image, _ in listed(path)} == {hexes(ONE.config), hexes(TWO.config)}
    write(path, ("app:2", TWO))
    assert listed(path) == [(hexes(TWO.config), ["docker.io/library/app:1", "docker.io/library/app:2"])]
    assert f"{hexes(ONE.layers[1])}.tar" not in members(path)


def test_images_without_a_name_are_kept(tmp_path: Path) -> None:
    config = f"{hexes(ONE.config)}.json"
    layers = {f"{hexes(data)}.tar": data for data in ONE.layers}
    path = tarball(tmp_path / "a.tar", [*layers.items(), (config, ONE.config), manifest((config, None, list(layers)))])
    write(path, ("app:2", TWO))
    assert listed(path)[0] == (hexes(ONE.config), None)


def test_a_tag_is_deleted_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("app:1", ONE), ("app:2", ONE), ("b:1", TWO))
    within(path, lambda store: store.repository("app").delete(Tag("1")))
    assert [names for _, names in listed(path)] == [["docker.io/library/app:2"], ["docker.io/library/b:1"]]
    with pytest.raises(ContentNotFound):
        within(path, lambda store: store.repository("app").delete(Tag("1")))


def test_an_image_is_deleted_by_the_digest_of_its_manifest_with_all_its_tags(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.tar", tmp_path / "cache"
    write(path, ("app:1", ONE), ("app:2", ONE), ("app:3", TWO))

    async def delete(store: Store) -> None:
        root = await store.repository("app").resolve(Tag("1"))
        assert root is not None
        await store.repository("app").delete(root.digest)

    within(path, delete, cache)
    assert [names for _, names in listed(path)] == [["docker.io/library/app:3"]]


def test_a_layer_in_the_archive_is_not_copied_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.tar", tmp_path / "cache"
    first = write(path, ("app:1", ONE), ("app:2", TWO), cache=cache)
    assert [len(lacking) for lacking in first] == [3, 2]  # the base layer is stored once
    assert write(path, ("app:1", ONE), ("app:3", NEW), cache=cache)[0] == []
    assert write(path, ("app:4", TWO), ("app:5", NEW), cache=cache) == [[], []]


def test_a_damaged_layer_of_the_archive_is_not_reused(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.tar", tmp_path / "cache"
    write(path, ("app:1", ONE), cache=cache)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="damaged in the archive"):
        write(path, ("app:2", TWO), cache=cache)
    assert path.read_bytes() == data


@pytest.mark.parametrize("tag", ["1", "2"])
def test_an_image_is_recognised_by_its_config(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "a.tar"
    write(path, ("app:1", ONE))
    image = packed(ONE)

    async def holds(store: Store) -> bool:
        repository = store.repository("app")
        return bool(await repository.holds_image(Tag(tag), Manifest.parse(image.raw, image.media_type)))  # type: ignore[attr-defined]

    assert within(path, holds) is (tag == "1")


FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def with_layer(media_type: str) -> Image:
    layer = {"mediaType": media_type, "digest": digest(b"x"), "size": 1}
    return packed(ONE, layers=[layer, layer])


UNFIT = {
    "an index": (multi_platform("app"), "--platform"),
    "an artifact": (artifact(packed(ONE), b"sbom"), "oci"),
    "a foreign layer": (with_layer(FOREIGN), "oci-archive:"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_an_image_that_cannot_be_stored_is_rejected_before_a_write(tmp_path: Path, what: str) -> None:
    made, remedy = UNFIT[what]
    image = Manifest.parse(made.raw, made.media_type)

    async def ask(store: Store) -> None:
        repository: Any = store.repository("app")
        for question in (
            repository.holds_image(Tag("1"), image),
            repository.put_manifest(image),
            repository.tag(image, Tag("1")),
        ):
            with pytest.raises(Denied) as caught:
                await question
            assert remedy in caught.value.remedy

    within(tmp_path / "a.tar", ask)
    assert not (tmp_path / "a.tar").exists()


@pytest.mark.parametrize("compression", [*COMPRESS, ""])
def test_a_layer_is_decompressed_whatever_its_compression(tmp_path: Path, compression: str) -> None:
    """buildx writes zstd with compression=zstd; others are read by their first bytes, as docker does."""
    data = COMPRESS[compression](BASE) if compression else BASE

    async def put(store: Store) -> None:
        repository = store.repository("app")
        blob = Descriptor.of(data, "application/octet-stream")
        await repository.write(blob, data)
        assert await repository.has(blob)
        assert await repository.has(Descriptor.of(BASE, "application/octet-stream"))

    within(tmp_path / "a.tar", put)


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_layer_that_was_damaged_on_the_way_does_not_match_its_digest(tmp_path: Path, compression: str) -> None:
    data = COMPRESS[compression](BASE)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1

    async def put(store: Store) -> None:
        await store.repository("app").write(Descriptor.of(data, "application/octet-stream"), bytes(damaged))

    with pytest.raises(IntegrityError, match="does not match its digest"):
        within(tmp_path / "a.tar", put)


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_layer_that_its_publisher_damaged_is_malformed(tmp_path: Path, compression: str) -> None:
    data = COMPRESS[compression](BASE)[:-20]

    async def put(store: Store) -> None:
        await store.repository("app").write(Descriptor.of(data, "application/octet-stream"), data)

    with pytest.raises(Malformed):
        within(tmp_path / "a.tar", put)


def test_an_image_with_missing_content_is_rejected(tmp_path: Path) -> None:
    made = packed(ONE)

    async def tag(store: Store) -> None:
        for data in list(made.blobs.values())[:-1]:
            await store.repository("app").write(Descriptor.of(data, "application/octet-stream"), data)
        await store.repository("app").tag(Manifest.parse(made.raw, made.media_type), Tag("1"))

    with pytest.raises(ContentNotFound, match="layer"):
        within(tmp_path / "a.tar", tag)
    assert not (tmp_path / "a.tar").exists()


def test_layers_that_do_not_match_the_config_are_rejected(tmp_path: Path) -> None:
    one, two = packed(ONE), packed(TWO)
    document = {**json.loads(one.raw), "layers": json.loads(two.raw)["layers"]}
    made = Image(one.media_type, json.dumps(document).encode(), {**one.blobs, **two.blobs})
    with pytest.raises(IntegrityError, match="diff_id"):
        within(tmp_path / "a.tar", lambda store: pushed(store.repository("app"), made, "1"))
    assert not (tmp_path / "a.tar").exists()


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"x", lambda d: bytes([d[0] ^ 1]) + d[1:]])
def test_content_that_does_not_match_its_digest_is_rejected(tmp_path: Path, damage: object) -> None:
    data = next(iter(list(packed(ONE).blobs.values())[1:]))
    blob = Descriptor.of(data, "application/octet-stream")

    async def put(store: Store) -> None:
        repository = store.repository("app")
        with pytest.raises(IntegrityError):
            await asyncio.to_thread(repository.put, blob, [damage(data)])  # type: ignore[operator]
        assert not await repository.has(blob)

    within(tmp_path / "a.tar", put)


def test_a_second_run_cannot_write_the_same_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"

    async def both() -> None:
        async with opened(path) as first, opened(path) as second:
            first.lock()
            with pytest.raises(Locked):
                second.lock()

    asyncio.run(both())


def test_an_archive_that_another_program_replaces_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, ("app:1", ONE))

    async def work() -> None:
        async with opened(path) as store:
            store.lock()
            await pushed(store.repository("app"), packed(TWO), "2")
            tarball(path, by_docker_24(TWO, ["other:1"]))
            with pytest.raises(StorageError, match="changed by another program"):
                await store.flush()

    with pytest.raises(StorageError):  # closing retries once
        asyncio.run(work())
    assert listed(path) == [(hexes(TWO.config), ["other:1"])]


def test_a_file_that_is_not_an_archive_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"a letter" * 1000)
    with pytest.raises(MirrorsyncError):
        write(path, ("app:1", ONE))
    assert path.read_bytes() == b"a letter" * 1000


def test_images_are_added_to_an_archive_of_skopeo(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"x": packed(ONE)})
    path = tmp_path / "a.tar"
    run("skopeo", "copy", "-q", f"oci:{tmp_path}/layout:x", f"docker-archive:{path}:app:1")
    write(path, ("app:2", TWO))
    for tag in ("1", "2"):
        run("skopeo", "copy", "-q", f"docker-archive:{path}:app:{tag}", f"dir:{tmp_path}/{tag}")
