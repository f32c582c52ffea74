"""The contract of stores that are only read: bundles, in one part and in many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirrorsync.bundle.held import Held, HeldRepository, Inventory
from mirrorsync.documents.inventory import encode_inventory
from mirrorsync.environment import Environment
from mirrorsync.errors import ContentNotFound, Denied, GrammarError, Mismatch, NotFound, RepositoryNotFound, UsageError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import parse_destination
from mirrorsync.stores.base import ListsRoots, ReadsBack, Store
from mirrorsync.stores.bundle import find_bundle, highest_number, newest_in
from mirrorsync.stores.open import opener
from tests.parts.bundles import Packed, pack
from tests.parts.images import Image, artifact, image, index, layer, noise

KINDS = ("bundle",)
PLAIN = index([image([layer({"a": b"1"}), layer({"b": noise("b", 3000)})]), image([layer({"a": b"2"})])])
LARGE = image([layer({"large": noise("large", 30_000)})])
SBOM = artifact(PLAIN, b"an sbom")
IMAGES = {"shop/app:1": PLAIN, "shop/app:2": LARGE, "shop/app": SBOM, "other:1": PLAIN}
ONE, MANY = pack(IMAGES), pack(IMAGES, part_size=2000)


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Store]:
    store = opener(Environment())(address)
    try:
        yield store
    finally:
        await store.close()


def described(made: Image) -> Descriptor:
    return Descriptor(made.media_type, Digest(made.digest), len(made.raw))


def blob(data: bytes) -> Descriptor:
    return Descriptor.of(data, "application/octet-stream")


@pytest.mark.parametrize("packed", [ONE, MANY], ids=["one part", "many parts"])
def test_every_byte_and_name_of_a_bundle_is_read(packed: Packed, tmp_path: Path) -> None:
    directory = packed.write(tmp_path / "usb")

    async def scenario(address: str) -> None:
        async with opened(address) as store:
            assert [name async for name in store.repositories()] == ["other", "shop/app"]
            assert isinstance(store, ListsRoots)
            assert len(await store.roots()) == len(IMAGES)
            repository = store.repository("shop/app")
            assert isinstance(repository, ReadsBack)
            assert [tag async for tag in repository.tags()] == ["1", "2"]
            assert await repository.resolve(Tag("1")) == described(PLAIN)
            assert await repository.resolve(Digest(PLAIN.children[1].digest)) == described(PLAIN.children[1])
            assert [one.digest for one in await repository.referrers(Digest(PLAIN.digest))] == [SBOM.digest]
            assert (await repository.referrers(Digest(PLAIN.digest)))[0].artifact_type == "application/vnd.example.sbom"
            for made in IMAGES.values():
                for manifest in made.manifests():
                    assert (await repository.manifest(described(manifest))).raw == manifest.raw
                for data in made.all_blobs().values():
                    found = await repository.blob(blob(data).digest)
                    assert found is not None
                    assert found.size == len(data)
                    assert await repository.has(blob(data))
                    assert await repository.read(blob(data)) == data
                    for offset in (0, 1, len(data) // 2, len(data) - 1):
                        with repository.open(blob(data), offset) as chunks:
                            assert b"".join(chunks) == data[offset:]
                    await asyncio.to_thread(repository.prove, blob(data), lambda _: None)

    document = directory / f"{packed.bundle.stem}.json"
    for path in (directory, document, directory / packed.bundle.parts[-1].name):
        asyncio.run(scenario(f"bundle:{path}"))
    document.unlink()
    asyncio.run(scenario(f"bundle:{directory}"))


def test_missing_content_is_absent_and_not_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(f"bundle:{ONE.write(tmp_path)}") as store:
            repository = store.repository("shop/app")
            assert await repository.resolve(Tag("none")) is None
            assert await repository.resolve(blob(b"nothing").digest) is None
            assert await repository.has(blob(b"nothing")) is False
            assert await repository.blob(blob(b"nothing").digest) is None
            assert await repository.referrers(blob(b"nothing").digest) == []
            with pytest.raises(ContentNotFound):
                await repository.manifest(described(image([layer({"c": b"3"})])))
            with pytest.raises(RepositoryNotFound) as caught:
                _ = [tag async for tag in store.repository("none").tags()]
            assert (caught.value.store, caught.value.repository) == (store.address, "none")

    asyncio.run(scenario())


def test_content_of_a_part_that_is_not_here_names_the_part(tmp_path: Path) -> None:
    everything = set(range(1, len(MANY.bundle.parts) + 1))

    async def scenario() -> None:
        async with opened(f"bundle:{MANY.write(tmp_path, everything - {len(everything)})}") as store:
            repository = store.repository("shop/app")
            assert await repository.resolve(Tag("2")) == described(LARGE)  # the document is enough for names
            large = next(data for data in LARGE.blobs.values() if len(data) > 20_000)
            assert await repository.has(blob(large)) is False
            with pytest.raises(ContentNotFound, match=f"and part {len(everything)} is not here"):
                await repository.read(blob(large))

    asyncio.run(scenario())


def test_content_that_the_destination_is_assumed_to_have_is_not_here(tmp_path: Path) -> None:
    packed = pack(IMAGES, has={SBOM.digest, *SBOM.blobs})

    async def scenario() -> None:
        async with opened(f"bundle:{packed.write(tmp_path)}") as store:
            repository = store.repository("shop/app")
            assert await repository.resolve(Digest(SBOM.digest)) == described(SBOM)
            with pytest.raises(ContentNotFound, match="it was at the destination when the bundle was made"):
                await repository.manifest(described(SBOM))

    asyncio.run(scenario())


def test_a_damaged_header_or_a_short_file_is_a_mismatch(tmp_path: Path) -> None:
    path = ONE.write(tmp_path) / ONE.bundle.parts[0].name
    whole = path.read_bytes()
    data = next(iter(SBOM.blobs.values()))
    at = whole.rindex(b"blobs/sha256/" + Digest.of(data).encoded.encode())

    async def read() -> Manifest | bytes:
        async with opened(f"bundle:{tmp_path}") as store:
            return await store.repository("shop/app").read(blob(data))

    for damaged in (whole[:at] + b"x" + whole[at + 1 :], whole[:at]):
        path.write_bytes(damaged)
        with pytest.raises(Mismatch):
            asyncio.run(read())


def test_nothing_is_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(f"bundle:{ONE.write(tmp_path)}") as store:
            repository = store.repository("shop/app")
            manifest = await repository.manifest(described(PLAIN))
            with pytest.raises(Denied):
                store.lock()
            for call in (
                repository.mount(blob(b"x"), "other"),
                repository.write(blob(b"x"), b"x"),
                repository.put_manifest(manifest),
                repository.tag(manifest, Tag("3")),
                repository.delete(Tag("1")),
            ):
                with pytest.raises(Denied):
                    await call
            with pytest.raises(Denied):
                repository.put(blob(b"x"), [b"x"])

    asyncio.run(scenario())
    assert {path.name for path in tmp_path.iterdir()} == {"shop-000001.json", ONE.bundle.parts[0].name}
    with pytest.raises(GrammarError, match="only read"):
        parse_destination(f"bundle:{tmp_path}")


def test_the_newest_of_several_bundles_is_read_and_two_names_are_refused(tmp_path: Path) -> None:
    def tags() -> list[str]:
        async def scenario() -> list[str]:
            async with opened(f"bundle:{tmp_path}") as store:
                return [tag async for tag in store.repository("other").tags()]

        return asyncio.run(scenario())

    with pytest.raises(NotFound, match="there is no bundle in"):
        tags()
    for number, tag in ((9, "nine"), (10, "ten")):
        pack({f"other:{tag}": PLAIN}, sequence=number).write(tmp_path)
    assert tags() == ["ten"]
    pack({"other:1": PLAIN}, name="yard").write(tmp_path)
    with pytest.raises(UsageError, match="bundles of shop, yard"):
        tags()


def test_other_json_that_is_named_like_a_document_is_left_alone(tmp_path: Path) -> None:
    usb = ONE.write(tmp_path / "usb")
    held = Held({"app": HeldRepository({Tag("format"): Digest.of(b"1")})})
    (usb / "far-20261126.json").write_bytes(encode_inventory(Inventory("2026-11-26T00:00:00Z", "x", '"', held)))
    (usb / "shop-20261126.json").write_text('{"kind": "mirrorsync.report", "format": "text"}')
    (usb / "shop-20261127.json").mkdir()
    (usb / "shop-20261128.json").symlink_to("/dev/zero")
    (usb / "shop-20261129.json").write_bytes(b"[" * 3_000_000)
    (usb / "shop-20261126.sha256").write_text("1  shop-20261126.json\n")
    assert find_bundle(usb).bundle == ONE.bundle
    assert newest_in(usb) == usb / "shop-000001.json"
    # What says that it is one counts: alone, wherever it says so; and what has parts, even if it says nothing.
    alone = MANY.write(tmp_path / "alone", parts=frozenset({0}))
    assert newest_in(alone) == alone / "shop-000001.json"
    late = b'{"assumes":[%s],"format":"mirrorsync.bundle"}' % (b"0" * (CHUNK_BYTES - 30))
    (alone / "shop-000002.json").write_bytes(late)
    assert newest_in(alone) == alone / "shop-000002.json"
    (usb / "shop-000001.json").write_bytes(b"\0" * 100)
    assert [one.file for one in find_bundle(usb).findings] == ["shop-000001.json"]
    assert highest_number(usb, "shop") == 1
