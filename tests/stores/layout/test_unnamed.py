"""Images without a name, the only image, and removing unreferenced content: in both kinds of layout."""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.errors import (
    ContentNotFound,
    IntegrityError,
    Malformed,
    MirrorsyncError,
    RepositoryNotFound,
    StorageError,
    UsageError,
)
from mirrorsync.events import Event, Noticed, Observer, ignore
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import THE_ONLY_ONE, Tag
from mirrorsync.stores.base import Unnamed
from mirrorsync.stores.layout.archive import LayoutArchive
from mirrorsync.stores.layout.store import LayoutDirectoryStore, LayoutStore
from tests.parts.images import Image, artifact, digest, image, index, layer, noise, write_layout
from tests.parts.processes import run
from tests.stores.layout.parts import REF_NAME, parsed, store_image

ONE = image([layer({"etc/one": b"1"})])
TWO = image([layer({"etc/two": b"2"}), layer({"etc/one": b"1"})])
THREE = image([layer({"etc/three": b"3"})])
BOTH = index([ONE, TWO])


class LayoutUnderTest:
    """A layout of one kind, created from entries and files, and read without our code."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.path = directory / ("layout" if kind == "oci" else "a.tar")

    def opened(self, observer: Observer = ignore) -> LayoutStore:
        return (
            LayoutDirectoryStore(self.path, observer=observer)
            if self.kind == "oci"
            else LayoutStore(LayoutArchive(self.path, self.directory), observer=observer)
        )

    def remove(self, name: str) -> None:
        """Remove a file of the layout."""
        if self.kind == "oci":
            (self.path / name).unlink()
        else:
            run("tar", "--delete", "-f", self.path, name)

    def make(self, entries: list[Any], images: list[Image], blobs: Mapping[str, bytes] | None = None) -> None:
        write_layout(self.directory / "layout", {f"x:{number}": made for number, made in enumerate(images)})
        (self.directory / "layout/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
        for name, data in (blobs or {}).items():
            (self.directory / "layout/blobs/sha256" / name.removeprefix("sha256:")).write_bytes(data)
        if self.kind != "oci":
            run("tar", "-C", self.directory / "layout", "-cf", self.path, "oci-layout", "index.json", "blobs")

    def entries(self) -> list[Any]:
        if self.kind == "oci":
            found = json.loads((self.path / "index.json").read_bytes())["manifests"]
        else:
            with tarfile.open(self.path) as tar:
                found = json.load(tar.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
        assert isinstance(found, list)
        return found

    def blobs(self) -> set[str]:
        if self.kind == "oci":
            return {f"sha256:{path.name}" for path in (self.path / "blobs/sha256").iterdir()}
        with tarfile.open(self.path) as tar:
            return {f"sha256:{Path(one.name).name}" for one in tar if one.isfile() and one.name.startswith("blobs/")}

    def within(self, scenario: Callable[[LayoutStore], Awaitable[None]], observer: Observer = ignore) -> None:
        async def work() -> None:
            store = self.opened(observer)
            try:
                await scenario(store)
            finally:
                await store.close()

        asyncio.run(work())


@pytest.fixture(params=["oci", "oci-archive"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> LayoutUnderTest:
    return LayoutUnderTest(request.param, tmp_path)


def entry(made: Image, name: str | None = None, **members: Any) -> dict[str, Any]:
    annotations = {"annotations": {REF_NAME: name}} if name is not None else {}
    return {**made.descriptor, **annotations, **members}


def content(*images: Image) -> set[str]:
    return {one for made in images for one in (*made.all_blobs(), *(below.digest for below in made.manifests()))}


FOREIGN = "localhost:5000/Team/app:1"


@pytest.mark.parametrize("name", [None, FOREIGN, "a b", "app:1@" + ONE.digest])
def test_the_only_image_is_read_without_a_name_and_by_digest(target: LayoutUnderTest, name: str | None) -> None:
    target.make([entry(BOTH, name, extra="kept")], [BOTH])

    async def scenario(store: LayoutStore) -> None:
        repository = store.repository("")
        assert [one async for one in store.repositories()] == [""]
        assert [tag async for tag in repository.tags()] == []
        assert await repository.resolve(THE_ONLY_ONE) == parsed(BOTH).descriptor
        assert await repository.resolve(Digest(BOTH.digest)) == parsed(BOTH).descriptor
        assert await repository.resolve(Digest(TWO.digest)) == parsed(TWO).descriptor
        assert await store.repository("app").resolve(Digest(BOTH.digest)) is None
        assert await store.repository("app").resolve(THE_ONLY_ONE) is None
        await store_image(store.repository("app"), THREE, "3")

    target.within(scenario)
    assert target.entries() == [entry(BOTH, name, extra="kept"), entry(THREE, "app:3")]
    assert target.blobs() == content(BOTH, THREE)


def test_an_image_without_a_name_written_by_skopeo_is_read(target: LayoutUnderTest, tmp_path: Path) -> None:
    write_layout(tmp_path / "seed", {"app:1": BOTH})
    run("skopeo", "copy", "-q", "--all", f"oci:{tmp_path}/seed:app:1", f"{target.kind}:{target.path}")

    async def scenario(store: LayoutStore) -> None:
        assert await store.repository("").resolve(THE_ONLY_ONE) == parsed(BOTH).descriptor

    target.within(scenario)


SIGNATURE = artifact(ONE, b"signature")
ONLY: dict[str, tuple[list[Any], Image | None]] = {
    "no image": ([], None),
    "one by its tag": ([entry(ONE, "app:1")], ONE),
    "one by two names": ([entry(ONE, "app:1"), entry(ONE, "other:2")], ONE),
    "one with a name and one entry without": ([entry(ONE, "app:1"), entry(ONE)], ONE),
    "one, and an older one by digest": ([entry(ONE, "app:1"), entry(TWO, f"app@{TWO.digest}")], ONE),
    "one by its digest": ([entry(TWO, f"app@{TWO.digest}")], TWO),
    "one, and its signature by digest": ([entry(ONE, "app:1"), entry(SIGNATURE, f"app@{SIGNATURE.digest}")], ONE),
    "one by its digest, and its signature": (
        [entry(ONE, f"app@{ONE.digest}"), entry(SIGNATURE, f"app@{SIGNATURE.digest}")],
        ONE,
    ),
    "one, and a signature without a name": ([entry(ONE, "app:1"), entry(SIGNATURE)], ONE),
    "one with a missing manifest": ([entry(THREE, "app:1")], None),
    "an index, and its own children without names": ([entry(ONE), entry(BOTH), entry(TWO)], BOTH),
    "an index with a tag, and its own children without names": ([entry(TWO), entry(ONE), entry(BOTH, "1")], BOTH),
    "entries that are not images": ([{**entry(ONE), "mediaType": "text/plain"}, 7, {}, {"digest": 5}], None),
}


@pytest.mark.parametrize("case", ONLY)
def test_the_only_image_is_picked_whatever_its_name(target: LayoutUnderTest, case: str) -> None:
    entries, expected = ONLY[case]
    target.make(entries, [ONE, TWO, SIGNATURE, BOTH])

    async def scenario(store: LayoutStore) -> None:
        found = await store.repository("").resolve(THE_ONLY_ONE)
        assert found == (parsed(expected).descriptor if expected else None)

    target.within(scenario)


def test_the_children_of_an_index_in_the_layout_are_not_images_of_their_own(target: LayoutUnderTest) -> None:
    """oras writes an entry for each of them (skopeo#764)."""
    nested = index([BOTH, THREE])
    target.make([entry(ONE), entry(nested, "app:1"), entry(BOTH), entry(SIGNATURE)], [nested, SIGNATURE])

    async def scenario(store: LayoutStore) -> None:
        assert await store.unnamed() == [Unnamed(Digest(SIGNATURE.digest))]
        assert [name async for name in store.repositories()] == ["", "app"]
        await store.repository("").delete(Digest(SIGNATURE.digest))
        assert await store.unnamed() == []
        assert [name async for name in store.repositories()] == ["app"]
        assert await store.repository("app").resolve(Digest(ONE.digest)) == parsed(ONE).descriptor

    target.within(scenario)


def test_an_index_that_names_its_children_twice_at_every_level_is_read_at_once(target: LayoutUnderTest) -> None:
    deep, blobs = BOTH.descriptor, {}
    for _ in range(40):
        raw = json.dumps({"schemaVersion": 2, "mediaType": BOTH.media_type, "manifests": [deep, deep]}).encode()
        deep = {"mediaType": BOTH.media_type, "digest": digest(raw), "size": len(raw)}
        blobs[digest(raw)] = raw
    target.make([{**deep, "annotations": {REF_NAME: "app:1"}}, entry(ONE)], [BOTH], blobs)

    async def scenario(store: LayoutStore) -> None:
        assert await store.unnamed() == []

    target.within(scenario)


def test_a_layout_without_its_version_is_read_with_a_notice_and_not_written(target: LayoutUnderTest) -> None:
    target.make([entry(ONE, "app:1")], [ONE])
    target.remove("oci-layout")
    notices: list[Event] = []

    async def scenario(store: LayoutStore) -> None:
        for _ in range(2):
            assert await store.repository("app").resolve(Tag("1")) == parsed(ONE).descriptor
        for data in ONE.all_blobs().values():
            assert await store.repository("app").read(Descriptor.of(data, "text/plain")) == data
        with pytest.raises(StorageError, match="cannot be written: it has no oci-layout file"):
            store.lock()

    target.within(scenario, notices.append)
    message = "it has no oci-layout file; its index.json and blobs are read as those of version 1.0.0"
    assert notices == [Noticed(f"{target.kind}:{target.path}", message)]
    assert target.entries() == [entry(ONE, "app:1")]


def test_with_several_images_a_name_is_required(target: LayoutUnderTest) -> None:
    target.make([entry(ONE, "b:1"), entry(TWO, "a/b:1"), entry(THREE, FOREIGN)], [ONE, TWO, THREE])

    async def several(store: LayoutStore) -> None:
        with pytest.raises(UsageError) as caught:
            await store.repository("").resolve(THE_ONLY_ONE)
        assert caught.value.message == "it has 3 images"
        assert caught.value.remedy == f"name one: a/b:1, b:1, @{THREE.digest}"
        assert caught.value.store == store.address

    target.within(several)

    async def many(store: LayoutStore) -> None:
        for number in range(12):
            await store_image(store.repository("app"), ONE if number % 2 else TWO, f"v{number:02}")
        with pytest.raises(UsageError) as caught:
            await store.repository("").resolve(THE_ONLY_ONE)
        assert caught.value.remedy.count(", ") == 9
        assert caught.value.remedy.endswith(" and 5 more")

    target.within(many)


def test_a_missing_layout_has_no_image(target: LayoutUnderTest) -> None:
    async def scenario(store: LayoutStore) -> None:
        assert await store.repository("").resolve(THE_ONLY_ONE) is None
        assert [one async for one in store.repositories()] == []
        with pytest.raises(RepositoryNotFound):
            _ = [tag async for tag in store.repository("").tags()]

    target.within(scenario)
    assert not target.path.exists()


def test_an_image_without_a_name_is_deleted_by_digest_and_others_are_kept(target: LayoutUnderTest) -> None:
    target.make([entry(ONE), entry(TWO, FOREIGN), entry(THREE), entry(ONE, "app:1")], [ONE, TWO, THREE])

    async def scenario(store: LayoutStore) -> None:
        repository = store.repository("")
        for made in (ONE, TWO):
            await repository.delete(Digest(made.digest))
            assert await repository.resolve(Digest(made.digest)) is None
            with pytest.raises(ContentNotFound):
                await repository.delete(Digest(made.digest))
        assert await store.repository("app").resolve(Tag("1")) == parsed(ONE).descriptor

    target.within(scenario)
    assert target.entries() == [entry(THREE), entry(ONE, "app:1")]


def test_content_that_only_a_deleted_image_needed_is_removed(target: LayoutUnderTest) -> None:
    nested = index([BOTH, THREE])
    target.make([entry(nested, "app:1"), entry(ONE), entry(TWO, "app:2")], [nested])
    before = target.blobs()
    unneeded = content(nested) - content(ONE, TWO)
    sizes = {below.digest: len(below.raw) for below in nested.manifests()} | {
        key: len(data) for key, data in nested.all_blobs().items()
    }

    async def scenario(store: LayoutStore) -> None:
        await store.repository("app").delete(Tag("1"))
        dropped = await store.drop_unreferenced()
        assert dropped == (len(unneeded), sum(sizes[one] for one in unneeded))
        assert await store.drop_unreferenced() == (0, 0)
        assert await store.repository("app").resolve(Tag("2")) == parsed(TWO).descriptor

    target.within(scenario)
    assert before == content(nested)
    assert target.blobs() == content(ONE, TWO)


def test_unreferenced_content_is_removed_without_a_change_of_names(target: LayoutUnderTest) -> None:
    loose = noise("loose", 1000)
    target.make([entry(ONE, "app:1")], [ONE, TWO], {digest(loose): loose})

    async def scenario(store: LayoutStore) -> None:
        count, size = await store.drop_unreferenced()
        assert count == len(content(TWO) - content(ONE)) + 1
        assert size > 1000

    target.within(scenario)
    assert target.blobs() == content(ONE)
    assert target.entries() == [entry(ONE, "app:1")]


def test_referenced_content_of_an_unknown_type_is_kept(target: LayoutUnderTest) -> None:
    """A future media type may name blobs in its own way; buildkit's caches are indexes of layers."""
    blobs = {digest(data): data for data in (noise(f"part {number}", 900) for number in range(4))}
    first, second, third, fourth = blobs
    inner = json.dumps({"next": [{"name": second}]}).encode()
    outer = json.dumps({"parts": {first: 1}, "more": digest(inner)}).encode()
    cached = {"mediaType": "application/vnd.example.layer", "digest": third, "size": 900}
    cache = Image(index([]).media_type, json.dumps({"schemaVersion": 2, "manifests": [cached]}).encode())
    blobs |= {digest(inner): inner, digest(outer): outer}
    strange = {"mediaType": "application/vnd.example.tree+json", "digest": digest(outer), "size": len(outer)}
    target.make([strange, entry(cache, "cache:1")], [cache], blobs)

    async def scenario(store: LayoutStore) -> None:
        assert await store.drop_unreferenced() == (1, 900)

    target.within(scenario)
    assert target.blobs() == {*blobs, cache.digest} - {fourth}
    assert strange in target.entries()


UNREADABLE: dict[str, tuple[Any, str]] = {
    "a damaged manifest": (entry(ONE, "app:1"), "does not match its digest"),
    "an entry that is not a descriptor": ({"mediaType": "x"}, "a descriptor has no digest"),
    "an entry that is not an object": ("x", "a descriptor is not an object"),
    "Docker's first format": (
        {**entry(TWO), "mediaType": "application/vnd.docker.distribution.manifest.v1+json"},
        "schema 1",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_nothing_is_removed_if_the_needed_content_cannot_be_determined(target: LayoutUnderTest, case: str) -> None:
    wrong, message = UNREADABLE[case]
    loose = noise("loose", 1000)
    damaged = {ONE.digest: ONE.raw[:-1] + b" "} if case == "a damaged manifest" else {}
    target.make([wrong, entry(TWO, "app:2")], [ONE, TWO], {digest(loose): loose, **damaged})
    before = target.blobs()

    async def scenario(store: LayoutStore) -> None:
        with pytest.raises(IntegrityError if case == "a damaged manifest" else Malformed) as caught:
            await store.drop_unreferenced()
        assert caught.value.message.startswith("no blob was removed, because the needed ones cannot be determined: ")
        assert message in caught.value.message
        # Another image is still written, and content that may be needed is kept.
        await store_image(store.repository("app"), THREE, "3")

    target.within(scenario)
    assert target.blobs() == before | content(THREE)
    assert wrong in target.entries()


def test_a_missing_platform_of_an_index_is_not_an_error(target: LayoutUnderTest) -> None:
    target.make([entry(BOTH, "app:1")], [TWO])
    target.make([entry(BOTH, "app:1")], [TWO], {BOTH.digest: BOTH.raw, digest(b"loose"): b"loose"})

    async def scenario(store: LayoutStore) -> None:
        assert await store.drop_unreferenced() == (1, 5)

    target.within(scenario)
    assert target.blobs() == content(TWO) | {BOTH.digest}


def test_files_that_are_not_blobs_are_kept(tmp_path: Path) -> None:
    write_layout(tmp_path, {"app:1": ONE})
    strange = tmp_path / "blobs/sha256/README"
    strange.write_text("mine")
    (tmp_path / "blobs/blake3").mkdir()
    (tmp_path / "blobs/blake3/abc").write_text("unknown")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "blobs/sha256" / ("0" * 64)).symlink_to(victim)

    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path)
        count, _ = await store.drop_unreferenced()
        assert count == 1
        await store.close()

    asyncio.run(scenario())
    assert strange.exists()
    assert (tmp_path / "blobs/blake3/abc").exists()
    assert victim.read_bytes() == b"precious"


def test_blobs_are_not_removed_while_another_writer_has_the_lock(tmp_path: Path) -> None:
    write_layout(tmp_path, {"app:1": ONE})
    holder = LayoutDirectoryStore(tmp_path)
    holder.lock()

    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path)
        with pytest.raises(MirrorsyncError, match="another run"):
            await store.drop_unreferenced()
        await store.close()

    asyncio.run(scenario())
    asyncio.run(holder.close())
    assert Digest(ONE.digest).encoded in {path.name for path in (tmp_path / "blobs/sha256").iterdir()}
