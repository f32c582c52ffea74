"""dir: as skopeo writes and reads it: one image without a name, replaced in one step."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirrorsync.errors import ContentNotFound, Denied, IntegrityError, Locked, RepositoryNotFound, StorageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import THE_ONLY_ONE, Tag, parse_ref
from mirrorsync.stores.directory import DirRepository, DirStore
from tests.cli.tools import Podman, skopeo_digest
from tests.parts.images import (
    BUSYBOX,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    Image,
    artifact,
    digest,
    image,
    index,
    layer,
    multi_platform,
    noise,
    write_layout,
)
from tests.parts.processes import run
from tests.stores.layout.parts import described, parsed, store_image
from tests.stores.layout.watched_store import NEW, OLD, write

ONE = image([layer({"etc/one": b"1"})])
TWO = image([layer({"etc/two": b"2"})])
DOCKER = multi_platform("docker", manifest=DOCKER_MANIFEST, list_type=DOCKER_LIST)
NESTED = index([index([ONE, TWO])])


def within(path: Path, scenario: Callable[[DirRepository, DirStore], Awaitable[None]]) -> None:
    async def work() -> None:
        store = DirStore(path)
        try:
            await scenario(store.repository(""), store)
        finally:
            await store.close()

    asyncio.run(work())


def written(path: Path, made: Image, *referring: Image) -> None:
    async def scenario(repository: DirRepository, _: DirStore) -> None:
        await store_image(repository, made, "any")
        for one in referring:
            await store_image(repository, one)

    within(path, scenario)


def files(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def expected(made: Image, *referring: Image) -> dict[str, bytes]:
    """Return the files that a directory with an image has."""
    below = [one for root in (made, *referring) for one in root.manifests() if one is not made]
    blobs = {key: data for root in (made, *referring) for key, data in root.all_blobs().items()}
    return {
        "version": b"Directory Transport Version: 1.1\n",
        "manifest.json": made.raw,
        **{f"{one.digest.partition(':')[2]}.manifest.json": one.raw for one in below},
        **{key.partition(":")[2]: data for key, data in blobs.items()},
    }


async def whole(repository: DirRepository, made: Image) -> bool:
    for one in made.manifests():
        assert await repository.resolve(Digest(one.digest)) == parsed(one).descriptor
        assert (await repository.manifest(parsed(one).descriptor)).raw == one.raw
    return all([await repository.read(described(data)) == data for data in made.all_blobs().values()])


@pytest.mark.parametrize("made", [ONE, multi_platform("app"), DOCKER], ids=["single", "index", "docker"])
def test_we_write_what_skopeo_writes_and_skopeo_reads_it(tmp_path: Path, made: Image) -> None:
    write_layout(tmp_path / "seed", {"app:1": made})
    source = f"oci:{tmp_path}/seed:app:1"
    if made is not DOCKER:  # skopeo 1.9 does not look for Docker's lists in a layout
        run("skopeo", "copy", "-q", "--all", source, f"dir:{tmp_path}/theirs")
        assert files(tmp_path / "theirs") == expected(made)
    written(tmp_path / "ours", made)
    assert files(tmp_path / "ours") == expected(made)
    assert skopeo_digest(f"dir:{tmp_path}/ours") == made.digest
    run("skopeo", "copy", "-q", "--all", f"dir:{tmp_path}/ours", f"dir:{tmp_path}/again")
    assert files(tmp_path / "again") == expected(made)
    assert [path.name for path in (tmp_path / "ours").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("made", [ONE, multi_platform("app")], ids=["single", "index"])
def test_we_read_what_skopeo_writes(tmp_path: Path, made: Image) -> None:
    write_layout(tmp_path / "seed", {"app:1": made})
    run("skopeo", "copy", "-q", "--all", f"oci:{tmp_path}/seed:app:1", f"dir:{tmp_path}/theirs")

    async def scenario(repository: DirRepository, store: DirStore) -> None:
        for reference in ("", "latest", "any", made.digest):
            assert await repository.resolve(parse_ref(reference)) == parsed(made).descriptor
        assert await repository.resolve(Digest(digest(b"none"))) is None
        assert [tag async for tag in repository.tags()] == []
        assert [name async for name in store.repositories()] == [""]
        assert await whole(repository, made)

    within(tmp_path / "theirs", scenario)


def test_podman_runs_what_we_write(tmp_path: Path) -> None:
    written(tmp_path / "ours", multi_platform("app").children[0])
    with Podman() as podman:
        pulled = podman("pull", "--quiet", f"dir:{tmp_path}/ours").split()[-1]
        root = Path(podman("image", "mount", pulled))
        assert (root / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
        podman("image", "unmount", pulled)


def test_the_media_type_of_an_image_without_one_is_inferred(tmp_path: Path) -> None:
    for made in (ONE, NESTED):
        raw = made.raw.replace(f'"mediaType": "{made.media_type}",'.encode(), b"", 1)
        bare = Image(made.media_type, raw, made.blobs, made.children)
        assert len(raw) < len(made.raw)
        directory = tmp_path / bare.digest[-8:]
        written(directory, bare)

        async def scenario(repository: DirRepository, _: DirStore, bare: Image = bare) -> None:
            assert await repository.resolve(THE_ONLY_ONE) == Manifest.parse(bare.raw, bare.media_type).descriptor

        within(directory, scenario)


def test_a_missing_directory_has_no_image(tmp_path: Path) -> None:
    async def scenario(repository: DirRepository, store: DirStore) -> None:
        assert await repository.resolve(THE_ONLY_ONE) is None
        assert await repository.resolve(Digest(ONE.digest)) is None
        assert [name async for name in store.repositories()] == []
        with pytest.raises(RepositoryNotFound):
            _ = [tag async for tag in repository.tags()]
        with pytest.raises(ContentNotFound):
            await repository.read(described(b"x"))
        with pytest.raises(ContentNotFound), repository.open(described(b"x")):
            pass
        with pytest.raises(ContentNotFound):
            await repository.manifest(parsed(ONE).descriptor)

    within(tmp_path / "none", scenario)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("again", [NESTED, ONE, DOCKER], ids=["nested", "single", "docker"])
def test_a_new_image_replaces_the_old_one(tmp_path: Path, again: Image) -> None:
    written(tmp_path, multi_platform("app"))
    (tmp_path / "signature-1").write_bytes(b"of the old image")
    (tmp_path / "README").write_bytes(b"mine")
    written(tmp_path, again)
    assert files(tmp_path) == {**expected(again), "README": b"mine"}


def test_a_second_image_in_one_run_is_rejected_and_the_same_one_is_not(tmp_path: Path) -> None:
    async def scenario(repository: DirRepository, _: DirStore) -> None:
        await store_image(repository, ONE, "1")
        await repository.tag(parsed(ONE), Tag("latest"))
        with pytest.raises(Denied, match="has room for one image only") as caught:
            await store_image(repository, TWO, "2")
        assert "use oci:" in caught.value.remedy

    within(tmp_path, scenario)
    assert files(tmp_path) == expected(ONE)


def test_a_manifest_stored_without_a_tag_does_not_become_the_image(tmp_path: Path) -> None:
    """A run that ended before the index was written has stored one platform, which must not be shown as the image."""
    written(tmp_path, OLD)

    async def scenario(repository: DirRepository, store: DirStore) -> None:
        await store_image(repository, ONE)
        with pytest.raises(Denied, match="by digest alone") as caught:
            await store.flush()
        assert caught.value.store == f"dir:{tmp_path}"
        await store.flush()  # the error is raised only once

    within(tmp_path, scenario)
    assert files(tmp_path).items() >= expected(OLD).items()
    written(tmp_path, NEW)
    assert files(tmp_path) == expected(NEW)


def test_referrers_of_the_image_are_stored_and_removed_with_it(tmp_path: Path) -> None:
    made = index([ONE, TWO])
    about, child = artifact(made, b"sbom"), artifact(ONE, b"signature", "application/vnd.example.signature")
    about_about = artifact(about, b"about the sbom")
    written(tmp_path, made, about, child, about_about)
    assert files(tmp_path) == expected(made, about, child, about_about)

    async def scenario(repository: DirRepository, _: DirStore) -> None:
        for subject, one in ((made, about), (ONE, child), (about, about_about)):
            (found,) = await repository.referrers(Digest(subject.digest))
            assert found == parsed(one).descriptor
            assert found.artifact_type == parsed(one).artifact_type
            assert found.annotations == {"org.example.about": "a test"}
        assert await repository.referrers(Digest(TWO.digest)) == []

    within(tmp_path, scenario)

    async def later(repository: DirRepository, _: DirStore) -> None:
        await store_image(repository, artifact(TWO, b"later"))

    within(tmp_path, later)
    assert files(tmp_path).items() >= expected(made, artifact(TWO, b"later")).items()
    written(tmp_path, TWO)
    assert files(tmp_path) == expected(TWO, artifact(TWO, b"later"))


FOREIGN: dict[str, dict[str, bytes]] = {
    "photos": {"holiday.jpg": b"precious"},
    "a layout": {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'},
    "another version": {"version": b"Directory Transport Version: 2.0\n"},
    "a version of another program": {"version": b"1.0.3\n"},
    "an empty version": {"version": b""},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_directory_with_other_content_is_rejected_and_left_unchanged(tmp_path: Path, kind: str) -> None:
    for name, data in FOREIGN[kind].items():
        (tmp_path / name).write_bytes(data)

    async def scenario(repository: DirRepository, store: DirStore) -> None:
        with pytest.raises(StorageError, match="not a dir: image"):
            await repository.resolve(THE_ONLY_ONE)
        with pytest.raises(StorageError, match="not a dir: image") as caught:
            await store_image(repository, ONE, "1")
        assert caught.value.store == f"dir:{tmp_path}"
        assert "empty directory" in caught.value.remedy

    within(tmp_path, scenario)
    assert files(tmp_path) == FOREIGN[kind]


def test_a_file_instead_of_a_directory_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")

    async def scenario(repository: DirRepository, _: DirStore) -> None:
        with pytest.raises(StorageError, match="Not a directory"):
            await repository.resolve(THE_ONLY_ONE)
        with pytest.raises(StorageError, match="Not a directory"):
            await store_image(repository, ONE, "1")

    within(tmp_path / "x", scenario)


@pytest.mark.parametrize("target", ["outside", "directory", "fifo"])
def test_a_blob_that_is_not_a_regular_file_is_not_read_from_a_dir(tmp_path: Path, target: str) -> None:
    """An untrusted directory can contain links to files of this machine."""
    written(tmp_path / "d", ONE)
    name, data = next(iter(ONE.all_blobs().items()))
    for path, content in ((tmp_path / "d" / name.partition(":")[2], data), (tmp_path / "d/manifest.json", ONE.raw)):
        path.unlink()
        if target == "outside":
            (tmp_path / path.name).write_bytes(content)
            path.symlink_to(tmp_path / path.name)
        elif target == "directory":
            path.mkdir()
        else:
            run("mkfifo", path)

    async def scenario(repository: DirRepository, _: DirStore) -> None:
        assert not await repository.has(described(data))
        assert await repository.blob(described(data).digest) is None
        with pytest.raises(StorageError):
            await repository.read(described(data))
        with pytest.raises(StorageError):
            await repository.resolve(THE_ONLY_ONE)

    within(tmp_path / "d", scenario)


def test_content_that_does_not_match_its_digest_is_reported(tmp_path: Path) -> None:
    made = index([ONE, TWO])
    written(tmp_path, made)
    child = tmp_path / f"{ONE.digest.partition(':')[2]}.manifest.json"
    child.write_bytes(ONE.raw[:-1] + b" ")
    name, data = next(iter(TWO.all_blobs().items()))
    (tmp_path / name.partition(":")[2]).write_bytes(data[:-1] + b"!")

    async def scenario(repository: DirRepository, _: DirStore) -> None:
        assert await repository.resolve(Digest(ONE.digest)) is None
        with pytest.raises(IntegrityError):
            await repository.manifest(parsed(ONE).descriptor)
        with pytest.raises(IntegrityError):
            await repository.read(described(data))
        with pytest.raises(IntegrityError):
            repository.put(described(noise("a", 5000)), [noise("b", 5000)])
        await store_image(repository, made, "1")  # repairs it

    within(tmp_path, scenario)
    assert files(tmp_path) == expected(made)


def test_only_one_run_at_a_time_can_write(tmp_path: Path) -> None:
    first, second, other = DirStore(tmp_path / "d"), DirStore(tmp_path / "d"), DirStore(tmp_path / "e")
    first.lock()
    first.lock()
    other.lock()
    with pytest.raises(Locked, match="another run is working on"):
        second.lock()
    asyncio.run(first.close())
    second.lock()
    for store in (second, other):
        asyncio.run(store.close())
    assert files(tmp_path / "d") == {"version": b"Directory Transport Version: 1.1\n"}


def test_many_threads_can_write_blobs(tmp_path: Path) -> None:
    parts = [noise(f"part {number}", 300_000 + number) for number in range(12)]
    made = image(parts)

    async def scenario(repository: DirRepository, _: DirStore) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda data: repository.put(described(data), [data[:70_000], data[70_000:]]), parts * 2))
        await store_image(repository, made, "1")

    within(tmp_path, scenario)
    assert files(tmp_path) == expected(made)


def test_an_image_is_deleted_with_its_directory(tmp_path: Path) -> None:
    written(tmp_path, ONE)

    async def scenario(repository: DirRepository, _: DirStore) -> None:
        with pytest.raises(Denied) as caught:
            await repository.delete(Tag("latest"))
        assert caught.value.remedy == "remove the directory"

    within(tmp_path, scenario)
    assert files(tmp_path) == expected(ONE)


def test_a_full_disk_keeps_the_old_image(tmp_path: Path) -> None:
    written(tmp_path, ONE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="exceed the size limit"):
            written(tmp_path, image([noise("large", 2_000_000)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path).items() >= expected(ONE).items()
    assert not (tmp_path / ".incoming").exists()


@pytest.mark.parametrize("begin", ["fresh", "update"])
def test_a_run_that_is_killed_at_any_point_leaves_a_whole_image_or_none(tmp_path: Path, begin: str) -> None:
    (tmp_path / "before").mkdir()
    if begin == "update":
        asyncio.run(write("dir", tmp_path / "before", OLD))
    killed = int(run(sys.executable, "-m", "tests.stores.layout.watched_store", "dir", tmp_path))
    assert killed >= 20
    states = []
    for number in range(1, killed + 1):
        path = tmp_path / str(number) / "place"
        found = files(path).get("manifest.json") if path.exists() else None
        states.append(found or b"")
        if found is not None:
            assert files(path).items() >= expected(OLD if found == OLD.raw else NEW).items(), number
        if number % 4 == 0 or number > killed - 4:
            asyncio.run(write("dir", path.parent, NEW))
            assert files(path) == expected(NEW), number
    assert states == sorted(states, key=lambda state: state == NEW.raw)  # never new and then old
    assert set(states) == {OLD.raw if begin == "update" else b"", NEW.raw}
