"""Layouts that other tools read and write: skopeo and podman read ours, we read skopeo's, and both write to one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from mirrorsync.errors import ContentNotFound, MirrorsyncError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.layout.store import LayoutDirectoryStore
from tests.cli.tools import Podman, skopeo_digest
from tests.parts.images import BUSYBOX, Image, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import run
from tests.parts.wire import Registry
from tests.stores.layout.parts import blob_file, described, names_of, store_image

NAMES = ["app:1", "library/app:3.20", "docker.io/library/app:v1.0_x-y", "a/b/c/d:latest"]


def written(layout: Path, images: dict[str, Image]) -> None:
    """Write a layout with our store."""

    async def work() -> None:
        store = LayoutDirectoryStore(layout)
        for name, made in images.items():
            repository, _, tag = name.rpartition(":")
            await store_image(store.repository(repository), made, tag)
        await store.close()

    asyncio.run(work())


def test_skopeo_and_podman_read_every_name_of_a_layout(tmp_path: Path, served: Serve, unique: str) -> None:
    images = {name: multi_platform("app", name) for name in NAMES}
    written(tmp_path / "layout", images)
    for name, made in images.items():
        assert skopeo_digest(f"oci:{tmp_path}/layout:{name}") == made.digest
        there = f"docker://{served.host}/{unique}/{name}"
        run("skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:{name}", there)
        repository, _, tag = name.rpartition(":")
        assert Registry(served.host).holds(f"{unique}/{repository}", made, tag)
    with Podman() as podman:
        pulled = podman("pull", "--quiet", f"oci:{tmp_path}/layout:{NAMES[0]}").split()[-1]
        root = Path(podman("image", "mount", pulled))
        assert (root / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
        assert (root / "etc/version").read_text() == f"app {NAMES[0]} amd64"
        podman("image", "unmount", pulled)


def test_a_layout_has_only_the_files_of_the_image_spec(tmp_path: Path) -> None:
    written(tmp_path / "layout", {"app:1": multi_platform("app")})
    assert sorted(path.name for path in (tmp_path / "layout").iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert json.loads((tmp_path / "layout/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    for path in (tmp_path / "layout").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_a_layout_that_skopeo_wrote_is_mirrored(mirrorsync: Mirrorsync, served: Serve, tmp_path: Path) -> None:
    images = {"1.0": multi_platform("app", "1.0"), "1.1": multi_platform("app", "1.1")}
    write_layout(tmp_path / "seed", images)
    for tag in images:
        for name in (tag, f"named/app:{tag}"):
            run("skopeo", "copy", "-q", "--all", f"oci:{tmp_path}/seed:{tag}", f"oci:{tmp_path}/theirs:{name}")
    prefix = tmp_path.name.replace("_", "-")
    mirrorsync.spec(
        {
            "registries": plain(served.host),
            "destinations": {"corp": f"{served.host}/{prefix}"},
            "mirrors": [
                {"from": "oci:theirs:named/app", "tags": {"all": True}},
                {"from": "oci:theirs", "tags": {"glob": ["1.*"]}, "name": "plain/app"},
            ],
        }
    )
    mirrorsync("apply", code=0)
    for tag, made in images.items():
        for repository in ("named/app", "plain/app"):
            assert Registry(served.host).holds(f"{prefix}/{repository}", made, tag)


def test_skopeo_and_mirrorsync_write_to_one_layout_in_turn(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    images = {name: multi_platform("app", name) for name in ("1", "2", "3")}
    write_layout(tmp_path / "seed", {f"app:{tag}": made for tag, made in images.items()})

    def skopeo(name: str) -> None:
        run("skopeo", "copy", "-q", "--all", f"oci:{tmp_path}/seed:app:1", f"oci:{tmp_path}/both:{name}")

    def apply(tag: str) -> None:
        mirrorsync.spec({"destinations": {"disk": "oci:both"}, "mirrors": [f"oci:seed:app:{tag}"]})
        mirrorsync("apply", code=0)

    skopeo("plain")
    apply("2")
    skopeo("theirs/app:1")
    apply("3")
    names = {"plain": "1", "theirs/app:1": "1", "app:2": "2", "app:3": "3"}
    assert names_of(tmp_path / "both") == {name: images[tag].digest for name, tag in names.items()}
    for name, tag in names.items():
        assert skopeo_digest(f"oci:{tmp_path}/both:{name}") == images[tag].digest


@pytest.mark.parametrize("target", ["inside", "outside", "nowhere", "directory", "fifo"])
def test_a_blob_that_is_not_a_regular_file_is_not_read(tmp_path: Path, target: str) -> None:
    """An untrusted layout can contain links to files of this machine."""
    made = multi_platform("app")
    write_layout(tmp_path / "layout", {"app:1": made})
    name, data = next(iter(made.all_blobs().items()))
    path = blob_file(tmp_path / "layout", name)
    path.unlink()
    if target == "inside":
        (path.parent / "copy").write_bytes(data)
        path.symlink_to("copy")
    elif target == "outside":
        (tmp_path / "secret").write_bytes(data)  # the right size, so that only the link is wrong
        path.symlink_to(tmp_path / "secret")
    elif target == "nowhere":
        path.symlink_to("nothing")
    elif target == "directory":
        path.mkdir()
    else:
        run("mkfifo", path)

    async def scenario() -> None:
        repository = LayoutDirectoryStore(tmp_path / "layout").repository("app")
        blob = described(data)
        assert not await repository.has(blob)
        assert await repository.blob(blob.digest) is None
        assert not await repository.mount(blob, "other")
        with pytest.raises(MirrorsyncError):
            await repository.read(blob)
        with pytest.raises(MirrorsyncError), repository.open(blob):
            pass

    asyncio.run(scenario())


def test_an_archive_that_podman_saved_under_a_name_with_a_port_is_mirrored(
    mirrorsync: Mirrorsync, served: Serve, tmp_path: Path, unique: str
) -> None:
    """skopeo#1442, ggcr#1401."""
    write_layout(tmp_path / "seed", {"app:1": multi_platform("app").children[0]})
    with Podman() as podman:
        pulled = podman("pull", "--quiet", f"oci:{tmp_path}/seed:app:1").split()[-1]
        podman("tag", pulled, "localhost:5000/x/y:1")
        podman("save", "-q", "--format", "oci-archive", "-o", f"{tmp_path}/saved.tar", "localhost:5000/x/y:1")
    saved = "oci-archive:saved.tar"
    assert mirrorsync("list-tags", saved, code=0).out == "localhost:5000/x/y:1\n"
    assert mirrorsync("list-tags", f"{saved}:localhost:5000/x/y", code=0).out == "1\n"
    mirrorsync("copy", f"{saved}:localhost:5000/x/y:1", "oci:copied:localhost:5000/x/y:1", code=0)
    assert mirrorsync("list-tags", "oci:copied", code=0).out == "localhost:5000/x/y:1\n"
    root = skopeo_digest(f"oci:{tmp_path}/copied:localhost:5000/x/y:1")
    mirrorsync.spec(
        {
            "registries": plain(served.host),
            "destinations": {"corp": f"{served.host}/{unique}"},
            "mirrors": [{"from": saved, "tags": {"all": True}}],
        }
    )
    mirrorsync("apply", code=0)
    assert "nothing to do" in mirrorsync("apply", code=0).out
    assert skopeo_digest(f"docker://{served.host}/{unique}/localhost-5000/x/y:1") == root


@pytest.mark.parametrize("which", ["all", "the manifest", "a layer"])
@pytest.mark.parametrize("name", [":app:1", ""])
def test_an_image_whose_blobs_are_symbolic_links_is_refused_with_how_to_copy_it(
    mirrorsync: Mirrorsync, tmp_path: Path, which: str, name: str
) -> None:
    """bazel writes layouts so (rules_oci#560)."""
    made = multi_platform("app").children[0]
    write_layout(tmp_path / "layout", {"app:1": made})
    (tmp_path / "store").mkdir()
    linked = {"all": [made.digest, *made.blobs], "the manifest": [made.digest], "a layer": [list(made.blobs)[-1]]}
    for digest in linked[which]:
        file = blob_file(tmp_path / "layout", digest)
        file.rename(tmp_path / "store" / file.name)
        file.symlink_to(tmp_path / "store" / file.name)
    done = mirrorsync("copy", f"oci:layout{name}", "oci:copied:app:1", code=1)
    assert "is a symbolic link, which is not followed" in done.err
    assert "cp -rL" in done.err
    run("cp", "-rL", tmp_path / "layout", tmp_path / "plain")
    mirrorsync("copy", f"oci:plain{name}", "oci:copied:app:1", code=0)


def test_a_link_under_a_digest_is_replaced_and_not_followed_when_the_blob_is_stored(tmp_path: Path) -> None:
    data = b"the right content"
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")

    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path / "layout")
        store.lock()
        path = blob_file(tmp_path / "layout", described(data).digest)
        path.symlink_to(victim)
        await store.repository("app").write(described(data), data)
        assert not path.is_symlink()
        assert path.read_bytes() == data
        await store.close()

    asyncio.run(scenario())
    assert victim.read_bytes() == b"precious"


def test_a_tag_without_its_manifest_counts_as_missing(tmp_path: Path) -> None:
    made = multi_platform("app")
    write_layout(tmp_path / "layout", {"app:1": made})
    blob_file(tmp_path / "layout", made.digest).unlink()

    async def scenario() -> None:
        repository = LayoutDirectoryStore(tmp_path / "layout").repository("app")
        assert await repository.resolve(Tag("1")) is None
        assert await repository.resolve(Digest(made.digest)) is None
        with pytest.raises(ContentNotFound):
            await repository.read(described(b"nothing"))

    asyncio.run(scenario())
