"""The contract of stores with a format of their own for images: a directory, docker's archives, a daemon.

They have single images, some of them without a manifest; otherwise the contract of all stores applies.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirrorsync.environment import Environment
from mirrorsync.errors import ContentNotFound, Denied, IntegrityError, MirrorsyncError, RepositoryNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag, parse_ref
from mirrorsync.stores.base import Converting, Store, WritableRepository
from mirrorsync.stores.open import opener
from tests.parts.daemon import Daemon
from tests.parts.images import Image, image, layer, multi_platform, noise

BYTES = "application/octet-stream"
KINDS = ("dir", "docker-archive", "docker-daemon")
DOCKER = ("docker-archive", "docker-daemon")


@dataclass(frozen=True)
class StoreUnderTest:
    """A store of one kind, which can be reopened; repository: one that no other test uses."""

    kind: str
    address: str
    repository: str
    host: str | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Store, WritableRepository]]:
        store = opener(Environment(daemon_host=self.host))(self.address)
        try:
            yield store, store.repository(self.repository)
        finally:
            await store.close()


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> StoreUnderTest:
    kind = request.param
    if kind == "docker-daemon":
        daemon: Daemon = request.getfixturevalue("daemon")
        return StoreUnderTest(kind, "docker-daemon:", f"{unique}/app", daemon.host)
    return StoreUnderTest(kind, f"{kind}:{tmp_path / 'target'}", "" if kind == "dir" else f"{unique}/app")


def described(data: bytes) -> Descriptor:
    return Descriptor.of(data, BYTES)


def parsed(made: Image) -> Manifest:
    return Manifest.parse(made.raw, made.media_type)


def chunks(data: bytes, size: int = 300_000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


async def store_image(repository: WritableRepository, made: Image, tag: str) -> Manifest:
    for data in made.all_blobs().values():
        await asyncio.to_thread(repository.put, described(data), chunks(data))
    await repository.tag(parsed(made), Tag(tag))
    return parsed(made)


async def content(repository: WritableRepository, reference: str) -> tuple[bytes, list[bytes]]:
    """Return the config of an image, and its layers, uncompressed."""
    root = await repository.resolve(parse_ref(reference))
    assert root is not None
    manifest = await repository.manifest(root)
    config, *layers = manifest.blobs

    def read(blob: Descriptor) -> bytes:
        with repository.open(blob) as parts:
            data = b"".join(parts)
        assert blob.digest.matches(data)
        assert len(data) == blob.size
        return gzip.decompress(data)

    return await repository.read(config), [await asyncio.to_thread(read, one) for one in layers]


def expected(made: Image) -> tuple[bytes, list[bytes]]:
    document = json.loads(made.raw)
    layers = [made.blobs[one["digest"]] for one in document["layers"]]
    return made.blobs[document["config"]["digest"]], [gzip.decompress(data) for data in layers]


def test_missing_content_is_absent_and_not_an_error(target: StoreUnderTest) -> None:
    async def scenario() -> None:
        nothing = described(b"nothing")
        async with target.opened() as (_, repository):
            assert await repository.resolve(Tag("latest")) is None
            assert await repository.resolve(nothing.digest) is None
            assert await repository.has(nothing) is False
            assert await repository.blob(nothing.digest) is None
            assert list(await repository.referrers(nothing.digest)) == []
            with pytest.raises(ContentNotFound):
                await repository.manifest(parsed(image([])).descriptor)
            with pytest.raises(ContentNotFound):
                await repository.read(nothing)
            if target.kind != "dir":
                with pytest.raises(RepositoryNotFound):
                    _ = [tag async for tag in repository.tags()]

    asyncio.run(scenario())


def test_an_image_is_read_back_with_its_config_and_layers(target: StoreUnderTest) -> None:
    made = image([layer({"a": noise("first", 2_000_000)}), layer({"b": b"second"})])

    async def scenario() -> None:
        async with target.opened() as (_, repository):
            await store_image(repository, made, "1.0")
        async with target.opened() as (_, repository):
            assert await content(repository, "1.0") == expected(made)
            first = await repository.resolve(Tag("1.0"))
            assert first is not None
            assert await repository.resolve(first.digest) == first
            if target.kind == "dir":
                assert first == parsed(made).descriptor
            else:
                assert [tag async for tag in repository.tags()] == ["1.0"]
        async with target.opened() as (_, repository):
            assert await repository.resolve(Tag("1.0")) == first  # compressed once more, to the same bytes

    asyncio.run(scenario())


def test_a_blob_is_read_from_any_offset(target: StoreUnderTest) -> None:
    made = image([layer({"a": noise("offset", 3_000_000)})])

    async def scenario() -> None:
        async with target.opened() as (_, repository):
            await store_image(repository, made, "1")
        async with target.opened() as (_, repository):
            root = await repository.resolve(Tag("1"))
            assert root is not None
            blob = (await repository.manifest(root)).blobs[1]

            def read(offset: int) -> bytes:
                with repository.open(blob, offset) as parts:
                    return b"".join(parts)

            whole = await asyncio.to_thread(read, 0)
            assert blob.digest.matches(whole)
            for offset in (1, 2_000_000, blob.size - 1):
                assert await asyncio.to_thread(read, offset) == whole[offset:]

    asyncio.run(scenario())


def test_a_tag_moves(target: StoreUnderTest) -> None:
    old, new = image([layer({"a": b"old"})]), image([layer({"a": b"new"})])

    async def scenario() -> None:
        for made in (old, new):
            async with target.opened() as (_, repository):
                await store_image(repository, made, "latest")
        async with target.opened() as (_, repository):
            assert await content(repository, "latest") == expected(new)

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", [lambda data: data + b"!", lambda data: data[:-1], lambda data: b"x" + data[1:]])
def test_content_that_does_not_match_its_digest_never_becomes_a_blob(target: StoreUnderTest, damage: object) -> None:
    data = layer({"a": noise("wrong", 2_000_000)})
    blob = described(data)
    assert callable(damage)

    async def scenario() -> None:
        async with target.opened() as (_, repository):
            with pytest.raises(MirrorsyncError):
                await asyncio.to_thread(repository.put, blob, chunks(damage(data)))
            assert not await repository.has(blob)
            await asyncio.to_thread(repository.put, blob, chunks(data))
            assert await repository.has(blob)

    asyncio.run(scenario())


def test_an_error_of_the_reader_leaves_no_blob(target: StoreUnderTest) -> None:
    data = layer({"a": noise("cut", 3_000_000)})

    class Cut(Exception):
        pass

    def breaking() -> Iterator[bytes]:
        yield data[:2_000_000]
        raise Cut

    async def scenario() -> None:
        async with target.opened() as (_, repository):
            with pytest.raises(Cut):
                await asyncio.to_thread(repository.put, described(data), breaking())
            assert not await repository.has(described(data))

    asyncio.run(scenario())


async def holds(repository: WritableRepository, tag: str, made: Image) -> bool:
    assert isinstance(repository, Converting)
    return await repository.holds_image(Tag(tag), parsed(made))


@pytest.mark.parametrize("target", DOCKER, indirect=True)
def test_docker_formats_identify_an_image_by_its_config_and_reject_an_index(target: StoreUnderTest) -> None:
    made, other = image([layer({"a": b"1"})]), image([layer({"a": b"2"})])

    async def scenario() -> None:
        async with target.opened() as (_, repository):
            assert not await holds(repository, "1", made)
            await store_image(repository, made, "1")
        async with target.opened() as (_, repository):
            assert await holds(repository, "1", made)
            assert not await holds(repository, "1", other)
            assert not await holds(repository, "2", made)
            with pytest.raises(Denied) as caught:
                await holds(repository, "1", multi_platform("app"))
            assert "--platform" in caught.value.remedy

    asyncio.run(scenario())


@pytest.mark.parametrize("target", DOCKER, indirect=True)
def test_a_layer_that_does_not_match_the_config_is_rejected(target: StoreUnderTest) -> None:
    made = image([layer({"a": b"said"})])
    document = json.loads(made.raw)
    other = layer({"a": b"given"})
    document["layers"] = [{**document["layers"][0], "digest": str(Digest.of(other)), "size": len(other)}]
    config = made.blobs[document["config"]["digest"]]
    lying = Image(
        made.media_type, json.dumps(document).encode(), {str(Digest.of(config)): config, str(Digest.of(other)): other}
    )

    async def scenario() -> None:
        async with target.opened() as (_, repository):
            with pytest.raises(IntegrityError):
                await store_image(repository, lying, "1")
        async with target.opened() as (_, repository):
            assert await repository.resolve(Tag("1")) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("target", DOCKER, indirect=True)
def test_deleting_a_tag_in_docker_formats_keeps_the_others(target: StoreUnderTest) -> None:
    made = image([layer({"a": b"tags"})])

    async def scenario() -> None:
        async with target.opened() as (_, repository):
            await store_image(repository, made, "one")
            await repository.tag(parsed(made), Tag("two"))
        async with target.opened() as (_, repository):
            await repository.delete(Tag("one"))
        async with target.opened() as (store, repository):
            assert [tag async for tag in repository.tags()] == ["two"]
            with pytest.raises(ContentNotFound):
                await repository.delete(Tag("one"))
            assert target.repository in [name async for name in store.repositories()]
            assert await content(repository, "two") == expected(made)

    asyncio.run(scenario())
