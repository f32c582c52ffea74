"""oci-archive: a layout in a tar file, read from and for other tools, and replaced as a whole or not at all."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import resource
import subprocess
import sys
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.errors import IntegrityError, Locked, Malformed, MirrorsyncError, StorageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import THE_ONLY_ONE, Tag, parse_ref
from mirrorsync.stores.base import BlobFiles
from mirrorsync.stores.layout.archive import LayoutArchive
from mirrorsync.stores.layout.store import LayoutRepository, LayoutStore
from tests.cli.tools import Podman, skopeo_digest
from tests.parts.images import BUSYBOX, Image, image, index, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import run
from tests.stores.layout.parts import REF_NAME, described, holds, parsed, store_image
from tests.stores.layout.watched_store import NEW, OLD, write

ONE = image([layer({"etc/one": b"1"})])
TWO = image([layer({"etc/two": b"2"}), layer({"etc/one": b"1"})])


def opened(path: Path) -> LayoutStore:
    return LayoutStore(LayoutArchive(path, path.parent))


def within(path: Path, scenario: Callable[[LayoutStore], Awaitable[None]]) -> None:
    async def work() -> None:
        store = opened(path)
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(work())


def written(path: Path, images: Mapping[str, Image]) -> None:
    """Write images into an archive with our store, in one run."""

    async def scenario(store: LayoutStore) -> None:
        for name, made in images.items():
            repository, _, tag = name.rpartition(":")
            await store_image(store.repository(repository), made, tag)

    within(path, scenario)


def members(path: Path) -> dict[str, bytes]:
    """Return the files in an archive, read by the standard library."""
    with tarfile.open(path) as tar:
        names = [member.name for member in tar if member.isfile()]
        assert len(names) == len(set(names))
        return {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]


def names(path: Path) -> dict[str, str]:
    entries = json.loads(members(path)["index.json"])["manifests"]
    return {entry.get("annotations", {}).get(REF_NAME, ""): entry["digest"] for entry in entries}


def blobs(*images: Image) -> set[str]:
    digests = {digest for made in images for digest in (*made.all_blobs(), *(one.digest for one in made.manifests()))}
    return {f"blobs/{digest.replace(':', '/')}" for digest in digests}


def held(path: Path) -> set[str]:
    return {name for name in members(path) if name.startswith("blobs/")}


def packed(files: Mapping[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def layout(images: Mapping[str, Image], directory: Path) -> dict[str, bytes]:
    """Return the files of a layout by name."""
    write_layout(directory, images)
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


async def whole(repository: LayoutRepository, made: Image) -> bool:
    """Return whether a repository has every byte of an image."""
    for one in made.manifests():
        assert (await repository.manifest(parsed(one).descriptor)).raw == one.raw
    return all([await repository.read(described(data)) == data for data in made.all_blobs().values()])


def test_skopeo_and_podman_read_our_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    images = {"app:1": multi_platform("app", "1"), "docker.io/library/app:2": multi_platform("app", "2")}
    written(path, images)
    for name, made in images.items():
        assert skopeo_digest(f"oci-archive:{path}:{name}") == made.digest
        run("skopeo", "copy", "-q", "--all", f"oci-archive:{path}:{name}", f"oci:{tmp_path}/out:x")
        assert skopeo_digest(f"oci:{tmp_path}/out:x") == made.digest
    with Podman() as podman:
        pulled = podman("pull", "--quiet", f"oci-archive:{path}:app:1").split()[-1]
        root = Path(podman("image", "mount", pulled))
        assert (root / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
        podman("image", "unmount", pulled)
        written(tmp_path / "one.tar", {"app:1": ONE})
        assert "localhost/app:1" in podman("load", "--input", str(tmp_path / "one.tar"))


@pytest.mark.parametrize("name", ["", "app:1", "plain"])
def test_archives_of_skopeo_and_podman_are_read(tmp_path: Path, name: str) -> None:
    made = multi_platform("app")
    write_layout(tmp_path / "seed", {"app:1": made})
    there = f"oci-archive:{tmp_path}/a.tar" + (f":{name}" if name else "")
    run("skopeo", "copy", "-q", "--all", f"oci:{tmp_path}/seed:app:1", there)
    repository, _, tag = name.rpartition(":")

    async def scenario(store: LayoutStore) -> None:
        assert [one async for one in store.repositories()] == [repository]
        assert await store.repository("").resolve(THE_ONLY_ONE) == parsed(made).descriptor
        if tag:
            assert await store.repository(repository).resolve(parse_ref(tag)) == parsed(made).descriptor
        assert await store.repository(repository).resolve(Digest(made.children[1].digest)) is not None
        assert await whole(store.repository(repository), made)

    within(tmp_path / "a.tar", scenario)


def test_an_archive_of_podman_save_is_read(tmp_path: Path) -> None:
    write_layout(tmp_path / "seed", {"app:1": ONE})
    with Podman() as podman:
        pulled = podman("pull", "--quiet", f"oci:{tmp_path}/seed:app:1").split()[-1]
        podman("tag", pulled, "localhost:5000/team/app:1")
        podman("save", "--quiet", "--format", "oci-archive", "-o", f"{tmp_path}/a.tar", "localhost:5000/team/app:1")

    async def scenario(store: LayoutStore) -> None:
        repository = store.repository("")
        found = await repository.resolve(THE_ONLY_ONE)
        assert found is not None
        manifest = await repository.manifest(found)
        assert [await repository.has(blob) for blob in manifest.blobs] == [True, True]

    within(tmp_path / "a.tar", scenario)


def test_an_archive_of_docker_save_is_read_and_its_own_files_are_ignored(tmp_path: Path) -> None:
    """In the format of `docker save` 25 and newer, and gzipped."""
    files = layout({"docker.io/library/app:1": ONE}, tmp_path / "seed")
    docker = [{"Config": "blobs/sha256/none", "RepoTags": ["app:1"], "Layers": ["blobs/sha256/none"]}]
    files |= {"manifest.json": json.dumps(docker).encode(), "repositories": b'{"app": {"1": "none"}}'}
    packed(files, tmp_path / "plain.tar")
    (tmp_path / "a.tar").write_bytes(gzip.compress((tmp_path / "plain.tar").read_bytes()))

    async def scenario(store: LayoutStore) -> None:
        assert await store.repository("docker.io/library/app").resolve(Tag("1")) == parsed(ONE).descriptor
        assert await whole(store.repository("docker.io/library/app"), ONE)

    within(tmp_path / "a.tar", scenario)
    written(tmp_path / "a.tar", {"other:1": TWO})
    assert held(tmp_path / "a.tar") == blobs(ONE, TWO)
    assert "manifest.json" not in members(tmp_path / "a.tar")  # it would describe one of two images


def test_files_of_other_programs_are_skipped_and_not_written_again(tmp_path: Path) -> None:
    """Finder's and editors' files, a lock, a download of containerd's: buf#2504, buildx#1672."""
    foreign = dict.fromkeys(
        ("._index.json", ".DS_Store", "README.txt", "index.json.lock", "ingest/1", "blobs/sha256/a/b")
    )
    files = layout({"app:1": ONE}, tmp_path / "seed")
    path = packed({**dict.fromkeys(foreign, b"x"), **files}, tmp_path / "a.tar")
    written(path, {"app:2": TWO})
    assert names(path) == {"app:1": ONE.digest, "app:2": TWO.digest}
    assert not foreign.keys() & members(path).keys()


def test_blobs_that_are_hard_links_and_an_index_that_is_there_twice_are_read(tmp_path: Path) -> None:
    files = layout({"app:1": ONE}, tmp_path / "seed")
    kept = {name: data for name, data in files.items() if not name.startswith("blobs/")}
    with tarfile.open(packed({"index.json": b"{}", **kept}, tmp_path / "a.tar"), "a") as archive:
        for number, (name, data) in enumerate(files.items() - kept.items()):
            for info in (tarfile.TarInfo(f"store/{number}"), tarfile.TarInfo(name)):
                info.size = len(data) if info.name != name else 0
                info.type = tarfile.LNKTYPE if info.name == name else tarfile.REGTYPE
                info.linkname = f"store/{number}" if info.name == name else ""
                archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("index.json")
        info.size = len(kept["index.json"])
        archive.addfile(info, io.BytesIO(kept["index.json"]))

    async def scenario(store: LayoutStore) -> None:
        assert await store.repository("app").resolve(Tag("1")) == parsed(ONE).descriptor
        assert await whole(store.repository("app"), ONE)

    within(tmp_path / "a.tar", scenario)


def test_writing_an_archive_keeps_reachable_content_and_drops_the_rest(tmp_path: Path) -> None:
    files = layout({"app:1": ONE, "": OLD}, tmp_path / "seed")
    files |= {"blobs/sha256/" + "0" * 64: b"nothing needs it", "blobs/blake3/abc": b"unknown"}
    path = packed(files, tmp_path / "a.tar")
    written(path, {"app:2": TWO})
    assert names(path) == {"app:1": ONE.digest, "": OLD.digest, "app:2": TWO.digest}
    assert held(path) == blobs(ONE, OLD, TWO) | {"blobs/blake3/abc"}
    before = members(path)
    written(path, {"app:1": TWO})
    assert names(path) == {"app:1": TWO.digest, f"app@{ONE.digest}": ONE.digest, "app:2": TWO.digest, "": OLD.digest}
    assert {name: members(path)[name] for name in held(path)} == {name: before[name] for name in held(path)}


def test_a_run_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    written(path, {"app:1": ONE})
    before = path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns

    async def scenario(store: LayoutStore) -> None:
        assert await store.repository("app").resolve(Tag("1")) is not None
        store.lock()
        await store.flush()
        assert await store.drop_unreferenced() == (0, 0)

    within(path, scenario)
    assert (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


def test_content_of_a_failed_image_is_not_in_the_archive(tmp_path: Path) -> None:
    async def scenario(store: LayoutStore) -> None:
        repository = store.repository("app")
        await repository.write(described(b"alone"), b"alone")
        with pytest.raises(IntegrityError):
            repository.put(described(noise("x", 100_000)), [noise("y", 100_000)])
        await store_image(repository, ONE, "1")

    within(tmp_path / "a.tar", scenario)
    assert held(tmp_path / "a.tar") == blobs(ONE)


def test_a_run_writes_the_archive_once_however_long_it_takes(tmp_path: Path) -> None:
    async def scenario() -> None:
        now = 0.0
        store = LayoutStore(LayoutArchive(tmp_path / "a.tar", tmp_path), clock=lambda: now)
        for number in range(3):
            await store_image(store.repository("app"), ONE, f"v{number}")
            now += 3600
            assert not (tmp_path / "a.tar").exists()
        await store.close()

    asyncio.run(scenario())
    assert set(names(tmp_path / "a.tar")) == {"app:v0", "app:v1", "app:v2"}


def test_a_flush_publishes_the_archive_and_writing_can_go_on(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"

    async def scenario(store: LayoutStore) -> None:
        repository = store.repository("app")
        await store_image(repository, ONE, "1")
        await store.flush()
        assert names(path) == {"app:1": ONE.digest}
        await store_image(repository, TWO, "2")
        assert await repository.resolve(Tag("1")) == parsed(ONE).descriptor
        assert await whole(repository, ONE)
        assert await whole(repository, TWO)  # which is not visible to others yet
        assert names(path) == {"app:1": ONE.digest}
        other = opened(path)
        with pytest.raises(Locked):
            other.lock()
        await other.close()

    within(path, scenario)
    assert held(path) == blobs(ONE, TWO)


def test_an_archive_that_is_replaced_during_a_run_is_merged(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    written(path, {"app:1": ONE})

    async def scenario(store: LayoutStore) -> None:
        await store_image(store.repository("app"), TWO, "2")
        packed(layout({"theirs:1": OLD}, tmp_path / "seed"), tmp_path / "theirs.tar").rename(path)
        assert await store.repository("theirs").resolve(Tag("1")) == parsed(OLD).descriptor

    within(path, scenario)
    assert names(path) == {"theirs:1": OLD.digest, "app:2": TWO.digest}
    assert held(path) == blobs(OLD, TWO)


def test_many_threads_can_write_blobs(tmp_path: Path) -> None:
    parts = [noise(f"part {number}", 200_000 + number) for number in range(20)]
    made = image(parts)

    async def scenario(store: LayoutStore) -> None:
        repository = store.repository("app")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda data: repository.put(described(data), [data[:70_000], data[70_000:]]), parts * 2))
        await store_image(repository, made, "1")

    within(tmp_path / "a.tar", scenario)
    assert held(tmp_path / "a.tar") == blobs(made)
    assert all(
        Digest.of(data).encoded in name for name, data in members(tmp_path / "a.tar").items() if "sha256" in name
    )


def test_a_damaged_blob_is_reported_and_written_again(tmp_path: Path) -> None:
    files = layout({"app:1": ONE}, tmp_path / "seed")
    digest, data = next(iter(ONE.all_blobs().items()))
    files[f"blobs/{digest.replace(':', '/')}"] = data[:-1] + b"!"
    path = packed(files, tmp_path / "a.tar")

    async def scenario(store: LayoutStore) -> None:
        with pytest.raises(IntegrityError) as caught:
            await store.repository("app").read(described(data))
        assert caught.value.store == f"oci-archive:{path}"
        await store_image(store.repository("app"), ONE, "1")

    within(path, scenario)
    assert members(path)[f"blobs/{digest.replace(':', '/')}"] == data


WRONG: dict[str, tuple[Callable[[dict[str, bytes]], Any], type[MirrorsyncError], str]] = {
    "no oci-layout and no index": (
        lambda files: [files.pop(name) for name in ("oci-layout", "index.json")],
        StorageError,
        "it has no oci-layout file",
    ),
    "no oci-layout and no blobs": (
        lambda files: [files.pop(name) for name in list(files) if name != "index.json"],
        StorageError,
        "it has no oci-layout file",
    ),
    "a damaged oci-layout": (
        lambda files: files.update({"oci-layout": b"{"}),
        StorageError,
        "oci-layout file is damaged",
    ),
    "another version": (
        lambda files: files.update({"oci-layout": b'{"imageLayoutVersion": "9"}'}),
        StorageError,
        "of an unsupported version",
    ),
    "a damaged index": (lambda files: files.update({"index.json": b"{"}), StorageError, "index.json of .* is not JSON"),
    "an absolute path": (lambda files: files.update({"/etc/passwd": b""}), Malformed, "'/etc/passwd'"),
    "a path with ..": (lambda files: files.update({"../x": b""}), Malformed, r"'../x'.*\.\."),
    "a blob that climbs": (lambda files: files.update({"blobs/../../x": b""}), Malformed, r"\.\."),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_invalid_archive_is_reported_and_left_unchanged(tmp_path: Path, wrong: str) -> None:
    spoil, kind, message = WRONG[wrong]
    files = layout({"app:1": ONE}, tmp_path / "seed")
    spoil(files)
    (tmp_path / "place").mkdir()
    path = packed(files, tmp_path / "place/a.tar")
    before = path.read_bytes()

    async def scenario(store: LayoutStore) -> None:
        with pytest.raises(kind, match=message) as caught:
            await store.repository("app").resolve(Tag("1"))
        assert caught.value.store == f"oci-archive:{path}"
        with pytest.raises(kind):
            _ = [name async for name in store.repositories()]
        with pytest.raises(kind):
            await store_image(store.repository("app"), TWO, "2")

    with suppress(kind):  # content that was stored before the index was read cannot be written
        within(path, scenario)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["a.tar"]


def test_a_full_disk_is_reported_and_the_old_archive_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    written(path, {"app:1": ONE})
    before = path.read_bytes()
    large = image([noise("large", 400_000), noise("larger", 2_000_000)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def scenario(store: LayoutStore) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        with pytest.raises(StorageError, match="exceed the size limit") as caught:
            await store_image(store.repository("app"), large, "2")
        assert "ulimit" in caught.value.remedy

    try:
        within(path, scenario)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


def test_a_disk_that_is_full_at_completion_keeps_the_old_archive(tmp_path: Path) -> None:
    """The new content fits, and the old content that is kept does not."""
    (tmp_path / "disk").mkdir()
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from mirrorsync.errors import StorageError\n"
        "from tests.parts.images import image, noise\n"
        "from tests.stores.layout.test_archives import TWO, members, names, written\n"
        "path = Path(sys.argv[1])\n"
        "written(path, {'app:1': image([noise('large', 1_500_000)])})\n"
        "before = path.read_bytes()\n"
        "try:\n"
        "    written(path, {'app:2': TWO})\n"
        "except StorageError as error:\n"
        "    print(error.message)\n"
        "assert path.read_bytes() == before\n"
        "print([one.name for one in path.parent.iterdir()])\n"
    )
    mounted = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=2m tmpfs "$0"; exec "$@"', tmp_path / "disk"]
    words = [*map(str, mounted), sys.executable, "-c", script, f"{tmp_path}/disk/a.tar"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout == f"writing {tmp_path}/disk/a.tar: the disk is full\n['a.tar']\n", done.stderr


@pytest.mark.parametrize("begin", ["fresh", "update"])
def test_a_run_that_is_killed_at_any_point_leaves_the_old_or_the_new_archive(tmp_path: Path, begin: str) -> None:
    (tmp_path / "before").mkdir()
    if begin == "update":
        asyncio.run(write("oci-archive", tmp_path / "before", OLD))
    killed = int(run(sys.executable, "-m", "tests.stores.layout.watched_store", "oci-archive", tmp_path))
    assert killed >= 6
    states = []
    for number in range(1, killed + 1):
        path = tmp_path / str(number) / "place"
        states.append(names(path)["app:1"] if path.exists() else "")
        if path.exists():
            assert held(path) >= blobs(OLD if states[-1] == OLD.digest else NEW)
        asyncio.run(write("oci-archive", path.parent, NEW))
        assert names(path)["app:1"] == NEW.digest
        assert held(path) >= blobs(NEW)
        assert [one.name for one in path.parent.iterdir()] == ["place"]
    assert states == sorted(states, key=lambda state: state == NEW.digest)  # never new and then old
    assert set(states) == {OLD.digest if begin == "update" else "", NEW.digest}


def test_an_archive_is_not_a_store_with_blob_files(tmp_path: Path) -> None:
    assert not isinstance(opened(tmp_path / "a.tar").repository("app"), BlobFiles)
    assert list(tmp_path.iterdir()) == []


def test_a_nested_index_and_referrers_are_kept(tmp_path: Path) -> None:
    nested = index([index([ONE, TWO]), OLD])
    packed(layout({"app:1": nested}, tmp_path / "seed"), tmp_path / "a.tar")
    written(tmp_path / "a.tar", {"app:2": NEW})
    assert held(tmp_path / "a.tar") == blobs(nested, NEW)


def test_images_are_mirrored_to_an_archive_and_back(mirrorsync: Mirrorsync) -> None:
    directory = mirrorsync.directory
    images = {"app:1": NEW, "app:2": TWO}
    write_layout(directory / "source", images)
    everything = {"tags": {"all": True}}
    mirrorsync.spec({"destinations": {"x": "oci-archive:a.tar"}, "mirrors": [{"from": "oci:source:app", **everything}]})
    mirrorsync("apply", code=0)
    before = (directory / "a.tar").stat()
    assert "nothing to do" in mirrorsync("apply", code=0).out
    assert (directory / "a.tar").stat() == before
    mirrorsync.spec({"destinations": {"x": "oci:back"}, "mirrors": [{"from": "oci-archive:a.tar:app", **everything}]})
    mirrorsync("apply", code=0)
    assert all(holds(directory / "back", name, made) for name, made in images.items())


@pytest.mark.parametrize("wrong", ["an absolute path", "a path with ..", "cut off", "a wrong digest"])
def test_an_invalid_archive_as_source_leaves_no_file_at_the_destination(mirrorsync: Mirrorsync, wrong: str) -> None:
    directory = mirrorsync.directory
    files = layout({"app:1": ONE}, directory / "seed")
    if wrong in WRONG:
        WRONG[wrong][0](files)
    elif wrong == "a wrong digest":
        blob, data = next(iter(ONE.all_blobs().items()))
        files[f"blobs/{blob.replace(':', '/')}"] = data[:-1] + b"!"
    path = packed(files, directory / "a.tar")
    if wrong == "cut off":
        path.write_bytes(path.read_bytes()[:2000])
    mirrorsync.spec({"destinations": {"x": "oci-archive:b.tar"}, "mirrors": ["oci-archive:a.tar:app:1"]})
    done = mirrorsync("apply", code=4 if wrong == "a wrong digest" else 1)
    assert "a.tar" in done.err
    assert not (directory / "b.tar").exists()
    assert not list(directory.glob(".b.tar*"))
