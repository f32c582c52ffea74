"""The contract of stores, tested for each: memory, layout and its archive, our own server, docker-registry."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.environment import Environment
from mirrorsync.errors import ContentNotFound, IntegrityError, MirrorsyncError, RepositoryNotFound
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store, WritableRepository
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.stores.open import opener
from tests.parts.images import Image, artifact, image, index, layer, multi_platform, noise
from tests.parts.mirrorsync import Serve

KINDS = ("memory", "layout", "oci-archive", "serve", "docker-registry")
BYTES = "application/octet-stream"


@dataclass(frozen=True)
class StoreUnderTest:
    """One kind of store, which can be reopened."""

    kind: str
    address: str

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        registries = {self.address: HostSettings(plain_http=True)}
        store = opener(Environment(registries))(self.address)
        try:
            yield store
        finally:
            await store.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Serve]:
    """`mirrorsync serve` for a single test."""
    with Serve(tmp_path / "layout") as server:
        yield server


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    kind = request.param
    server = "own_server" if request.node.originalname == "test_each_of_many_tags_is_listed_once" else "served"
    addresses: dict[str, Callable[[], str]] = {
        "memory": lambda: "",
        "layout": lambda: f"oci:{tmp_path / 'layout'}",
        "oci-archive": lambda: f"oci-archive:{tmp_path / 'layout.tar'}",
        # The index of a layout is written anew for each tag: many of them would make all other tests slow.
        "serve": lambda: str(request.getfixturevalue(server).host),
        "docker-registry": lambda: str(request.getfixturevalue("registry").host),
    }
    return StoreUnderTest(kind, addresses[kind]())


Scenario = Callable[[WritableRepository, Store], Awaitable[None]]


@pytest.fixture
def within(target: StoreUnderTest, unique: str) -> Callable[[Scenario], None]:
    """Return the function that runs a scenario with a new repository of the store."""

    async def run(scenario: Scenario) -> None:
        if target.kind == "memory":
            store: Store = MemoryStore()
            await scenario(store.repository(f"{unique}/app"), store)
            return
        async with target.opened() as store:
            await scenario(store.repository(f"{unique}/app"), store)

    return lambda scenario: asyncio.run(run(scenario))


def parsed(made: Image) -> Manifest:
    return Manifest.parse(made.raw, made.media_type)


def described(data: bytes) -> Descriptor:
    return Descriptor.of(data, BYTES)


async def store_image(repository: WritableRepository, made: Image, tag: str | None = None) -> Manifest:
    for data in made.all_blobs().values():
        await repository.write(described(data), data)
    for manifest in made.manifests():
        await repository.put_manifest(parsed(manifest))
    if tag is not None:
        await repository.tag(parsed(made), Tag(tag))
    return parsed(made)


def chunks(data: bytes, size: int = 300_000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def test_missing_content_is_absent_and_not_an_error(within: Callable[[Scenario], None]) -> None:
    async def scenario(repository: WritableRepository, store: Store) -> None:
        nothing = described(b"nothing")
        assert await repository.resolve(Tag("latest")) is None
        assert await repository.resolve(nothing.digest) is None
        assert await repository.has(nothing) is False
        assert await repository.blob(nothing.digest) is None
        assert list(await repository.referrers(nothing.digest)) == []
        with pytest.raises(RepositoryNotFound) as caught:
            _ = [tag async for tag in repository.tags()]
        assert caught.value.repository == repository.name
        assert caught.value.store == store.address
        with pytest.raises(ContentNotFound):
            await repository.manifest(parsed(multi_platform("none")).descriptor)
        with pytest.raises(ContentNotFound):
            await repository.read(nothing)

    within(scenario)


def test_a_multi_platform_image_is_read_back_byte_for_byte(within: Callable[[Scenario], None]) -> None:
    made = multi_platform("app")

    async def scenario(repository: WritableRepository, _: Store) -> None:
        root = await store_image(repository, made, "1.0")
        assert await repository.resolve(Tag("1.0")) == root.descriptor
        assert await repository.resolve(root.digest) == root.descriptor
        assert [tag async for tag in repository.tags()] == ["1.0"]
        for manifest in made.manifests():
            expected = parsed(manifest)
            assert (await repository.manifest(expected.descriptor)).raw == manifest.raw
        for data in made.all_blobs().values():
            assert await repository.has(described(data))
            assert await repository.read(described(data)) == data
            found = await repository.blob(described(data).digest)
            assert found is not None
            assert found.size == len(data)

    within(scenario)


def test_a_tag_moves_and_the_old_image_stays_by_digest(within: Callable[[Scenario], None]) -> None:
    async def scenario(repository: WritableRepository, _: Store) -> None:
        old = await store_image(repository, multi_platform("app", "1"), "latest")
        new = await store_image(repository, multi_platform("app", "2"), "latest")
        assert await repository.resolve(Tag("latest")) == new.descriptor
        assert await repository.resolve(old.digest) == old.descriptor

    within(scenario)


def test_a_large_blob_is_written_and_read_from_any_offset(within: Callable[[Scenario], None]) -> None:
    data = noise("large", 5_000_001)
    blob = described(data)

    async def scenario(repository: WritableRepository, _: Store) -> None:
        await asyncio.to_thread(repository.put, blob, chunks(data))
        assert await repository.has(blob)
        for offset in (0, 1, 3_000_000, len(data) - 1):

            def read(offset: int = offset) -> bytes:
                with repository.open(blob, offset) as parts:
                    return b"".join(parts)

            assert await asyncio.to_thread(read) == data[offset:]

    within(scenario)


@pytest.mark.parametrize("size", [0, 1])
def test_empty_and_one_byte_blobs_are_stored(within: Callable[[Scenario], None], size: int) -> None:
    data = bytes(size)

    async def scenario(repository: WritableRepository, _: Store) -> None:
        await repository.write(described(data), data)
        assert await repository.read(described(data)) == data
        await asyncio.to_thread(repository.put, described(data), [data] if data else [])
        assert await repository.has(described(data))

    within(scenario)


def _longer(data: bytes) -> bytes:
    return data + b"!"


def _shorter(data: bytes) -> bytes:
    return data[:-1]


def _other(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize("damage", [_longer, _shorter, _other])
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_content_that_does_not_match_its_digest_never_becomes_a_blob(
    within: Callable[[Scenario], None], damage: Callable[[bytes], bytes], size: int
) -> None:
    data = random.Random(f"{damage} {size}").randbytes(size)
    blob = described(data)

    async def scenario(repository: WritableRepository, _: Store) -> None:
        with pytest.raises(IntegrityError):
            await repository.write(blob, damage(data))
        with pytest.raises(MirrorsyncError):
            await asyncio.to_thread(repository.put, blob, chunks(damage(data)))
        assert not await repository.has(blob)

    within(scenario)


def test_an_error_of_the_reader_leaves_no_blob(within: Callable[[Scenario], None]) -> None:
    data = noise("cut", 3_000_000)
    blob = described(data)

    class Cut(Exception):
        pass

    def breaking() -> Iterator[bytes]:
        yield data[:2_000_000]
        raise Cut

    async def scenario(repository: WritableRepository, _: Store) -> None:
        with pytest.raises(Cut):
            await asyncio.to_thread(repository.put, blob, breaking())
        assert not await repository.has(blob)
        await asyncio.to_thread(repository.put, blob, chunks(data))
        assert await repository.read(blob) == data

    within(scenario)


def test_a_blob_is_mounted_from_a_repository_that_has_it(
    within: Callable[[Scenario], None], unique: str, target: StoreUnderTest
) -> None:
    data = noise(f"mounted {unique}", 1000)
    blob = described(data)

    async def scenario(repository: WritableRepository, store: Store) -> None:
        other = store.repository(f"{unique}/other")
        assert await other.mount(blob, repository.name) is False
        await repository.write(blob, data)
        assert await other.mount(blob, repository.name) is True
        assert await other.read(blob) == data

    within(scenario)


def test_referrers_are_found_by_their_subject(within: Callable[[Scenario], None]) -> None:
    subject = multi_platform("subject")
    first, second = artifact(subject, b"one"), artifact(subject, b"two", "application/vnd.example.signature")

    async def scenario(repository: WritableRepository, _: Store) -> None:
        root = await store_image(repository, subject, "1")
        for made in (first, second):
            await store_image(repository, made)
            await store_image(repository, made)  # twice is once
        found = {descriptor.digest: descriptor for descriptor in await repository.referrers(root.digest)}
        assert set(found) == {first.digest, second.digest}
        assert found[Digest(first.digest)].artifact_type == "application/vnd.example.sbom"
        assert found[Digest(second.digest)].artifact_type == "application/vnd.example.signature"
        assert found[Digest(first.digest)].annotations == {"org.example.about": "a test"}
        assert list(await repository.referrers(Digest(first.digest))) == []

    within(scenario)


def test_a_tag_is_deleted_alone_and_a_manifest_with_its_tags(
    within: Callable[[Scenario], None], target: StoreUnderTest
) -> None:
    async def scenario(repository: WritableRepository, _: Store) -> None:
        made = await store_image(repository, image([layer({"a": b"1"})]), "one")
        await repository.tag(made, Tag("two"))
        if target.kind != "docker-registry":  # distribution 2.8 deletes by digest only
            await repository.delete(Tag("one"))
            assert await repository.resolve(Tag("one")) is None
            with pytest.raises(ContentNotFound):
                await repository.delete(Tag("one"))
        assert await repository.resolve(Tag("two")) == made.descriptor
        await repository.delete(made.digest)
        assert await repository.resolve(Tag("two")) is None
        assert await repository.resolve(made.digest) is None
        with pytest.raises(ContentNotFound):
            await repository.delete(made.digest)

    within(scenario)


def test_written_content_is_present_after_the_store_is_reopened(target: StoreUnderTest, unique: str) -> None:
    if target.kind == "memory":
        return
    made = index([multi_platform("inner"), image([layer({"b": b"2"})])])  # an index in an index

    async def scenario() -> tuple[Any, ...]:
        async with target.opened() as store:
            await store_image(store.repository(f"{unique}/nested"), made, "1")
            await store_image(store.repository(f"{unique}/by-digest"), multi_platform("untagged"))
        async with target.opened() as store:
            nested, untagged = store.repository(f"{unique}/nested"), store.repository(f"{unique}/by-digest")
            names = [name async for name in store.repositories() if name.startswith(f"{unique}/")]
            root = await nested.resolve(Tag("1"))
            inner = await nested.resolve(Digest(made.children[0].children[1].digest))
            return root, inner, await untagged.resolve(Digest(multi_platform("untagged").digest)), names

    root, inner, untagged, names = asyncio.run(scenario())
    assert root == parsed(made).descriptor
    assert inner == parsed(made.children[0].children[1]).descriptor
    assert untagged == parsed(multi_platform("untagged")).descriptor
    assert names == [f"{unique}/by-digest", f"{unique}/nested"]


def test_each_of_many_tags_is_listed_once(within: Callable[[Scenario], None], target: StoreUnderTest) -> None:
    count = 1001 if target.kind != "docker-registry" else 120  # more than a page

    async def scenario(repository: WritableRepository, _: Store) -> None:
        made = await store_image(repository, image([layer({"c": b"3"})]))
        await asyncio.gather(*(repository.tag(made, Tag(f"v{number}")) for number in range(count)))
        tags = [tag async for tag in repository.tags()]
        assert len(tags) == count
        assert set(tags) == {f"v{number}" for number in range(count)}

    within(scenario)
