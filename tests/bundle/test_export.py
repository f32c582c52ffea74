"""`bundle export`: one archive for each image, under the name of its source, as runtimes import it at their start."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from mirrorsync.bundle.archives import file_name
from mirrorsync.bundle.model import Assumed, Delta
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from tests.cli.tools import Podman, skopeo_digest
from tests.parts.bundles import Packed, Wanted, pack, with_members
from tests.parts.images import Image, artifact, image, index, layer, noise
from tests.parts.mirrorsync import Mirrorsync

ALPINE = image([layer({"a": b"alpine"})])
APP = index([image([layer({"a": noise("a", 1_200_000)})]), image([layer({"b": b"arm"})], architecture="arm64")])
SIGNED = {f"team/app:{APP.digest.replace(':', '-')}.sig": image([layer({"s": b"signature"})])}
CHART = replace(ALPINE, raw=ALPINE.raw.replace(b"oci.image.config.v1", b"cncf.helm.config.v1"))
IMAGES: Wanted = {"library/alpine:3.20": ALPINE, "team/app:1": APP, "team/app": artifact(APP, b"an sbom"), **SIGNED}
NODE = "node/var/lib/rancher/k3s/agent/images"
FILES = ["docker.io+library+alpine+3.20.tar", "docker.io+team+app+1.tar"]


def export(mirrorsync: Mirrorsync, *, code: int = 0, runtime: str = "k3s") -> dict[str, dict[str, object]]:
    said = mirrorsync("bundle", "export", "usb", "--for", runtime, "--output", "node", "--json", code=code).json()
    return {one["image"]: one for one in (*said["archives"], *said["unwritten"])}


def test_each_image_that_runs_becomes_an_archive_that_skopeo_and_podman_read(mirrorsync: Mirrorsync) -> None:
    pack({**IMAGES, "charts/app:1": CHART}, part_size=1_000_000).write(mirrorsync.directory / "usb")
    done = export(mirrorsync)
    assert sorted(path.name for path in (mirrorsync.directory / NODE).iterdir()) == FILES
    assert not done["docker.io/charts/app:1"]["failed"]
    for name, made, tag in ((FILES[0], ALPINE, "3.20"), (FILES[1], APP, "1")):
        path = mirrorsync.directory / NODE / name
        assert skopeo_digest(f"oci-archive:{path}:{tag}") == made.digest
        with tarfile.open(path) as archive:
            members = {member.name: archive.extractfile(member) for member in archive}
            content = {name: file.read() for name, file in members.items() if file}
        (root,) = json.loads(content["index.json"])["manifests"]
        whole = made.all_blobs() | {one.digest: one.raw for one in made.manifests()}
        assert {name for name in content if name.startswith("blobs/")} == {
            f"blobs/sha256/{digest[7:]}" for digest in whole
        }
        assert all(content[f"blobs/sha256/{digest[7:]}"] == data for digest, data in whole.items())
        assert root["digest"] == made.digest
    with Podman() as podman:
        assert "docker.io/library/alpine:3.20" in podman("load", "--input", str(mirrorsync.directory / NODE / FILES[0]))
        assert "docker.io/library/alpine:3.20" in podman("images", "--format", "{{.Repository}}:{{.Tag}}")


def test_only_what_changed_is_written_again(mirrorsync: Mirrorsync) -> None:
    """An unchanged file keeps its time, and k3s does not import it again (k3s-io/k3s#12243)."""
    pack(IMAGES).write(mirrorsync.directory / "usb")
    export(mirrorsync)
    before = {name: (mirrorsync.directory / NODE / name).stat() for name in FILES}
    moved = {**IMAGES, "team/app:1": image([layer({"a": b"new"})])}
    pack(moved, sequence=2).write(mirrorsync.directory / "usb")
    done = export(mirrorsync)
    assert [done[f"docker.io/{name}"]["written"] for name in ("library/alpine:3.20", "team/app:1")] == [False, True]
    after = {name: (mirrorsync.directory / NODE / name).stat() for name in FILES}
    assert before[FILES[0]].st_mtime_ns == after[FILES[0]].st_mtime_ns
    assert before[FILES[1]].st_ino != after[FILES[1]].st_ino
    (mirrorsync.directory / NODE / FILES[0]).write_bytes(b"cut off")
    assert export(mirrorsync)["docker.io/library/alpine:3.20"]["written"]


def test_an_image_that_the_bundle_does_not_carry_whole_is_named_and_the_others_are_written(
    mirrorsync: Mirrorsync,
) -> None:
    some = {*ALPINE.all_blobs(), ALPINE.digest, next(iter(APP.all_blobs()))}
    pack({**IMAGES, "team/db:1": image([layer({"d": b"db"})])}, has=some).write(mirrorsync.directory / "usb")
    done = export(mirrorsync, code=3, runtime="containerd")
    assert "unchanged" in str(done["docker.io/library/alpine:3.20"]["reason"])
    assert done["docker.io/team/app:1"]["failed"]
    assert [path.name for path in (mirrorsync.directory / "node/images").iterdir()] == ["docker.io+team+db+1.tar"]


def test_a_damaged_blob_becomes_no_archive(mirrorsync: Mirrorsync) -> None:
    path = pack(IMAGES).write(mirrorsync.directory / "usb") / "shop-000001.001of001.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # in the largest layer
    path.write_bytes(data)
    done = export(mirrorsync, code=4)
    assert "does not match its digest" in str(done["docker.io/team/app:1"]["reason"])
    assert [one.name for one in (mirrorsync.directory / NODE).iterdir()] == FILES[:1]


def test_an_image_from_a_store_on_disk_has_the_name_of_its_registry_if_the_store_keeps_it(
    mirrorsync: Mirrorsync,
) -> None:
    (one,) = pack({"app:1": ALPINE}).bundle.images
    for source, name in (
        ("oci:/srv/x:app", "app:1"),
        ("oci:/srv/x:quay.io/team/app", "quay.io/team/app:1"),
        ("docker-archive:/srv/x.tar:app", "docker.io/library/app:1"),
    ):
        images = (type(one)(one.repository, one.tag, one.content, source),)
        pack({"app:1": ALPINE}, images=images).write(mirrorsync.directory / "usb")
        (exported,) = export(mirrorsync).items()
        assert exported[0] == name
        assert ("says of no registry" in str(exported[1].get("reason"))) == (name == "app:1")
        text = mirrorsync("bundle", "export", "usb", "--for", "k3s", "--output", "node", code=0).out
        assert ("0 archives" in text and "1 without a file (-v says why)" in text) == (name == "app:1")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("quay.io/a/b:1", "quay.io+a+b+1.tar"),
        ("localhost:5000/a_b:1", "localhost+5000+a_b+1.tar"),
        ("quay.io/a@sha256:00", "quay.io+a+sha256+00.tar"),
    ],
)
def test_files_have_names_that_every_file_system_takes(name: str, file: str) -> None:
    assert file_name(name) == file


def test_long_names_of_images_have_different_files() -> None:
    one, other = (file_name(f"quay.io/{'a' * 240}:{number}") for number in (1, 2))
    assert one != other
    assert len(one) < 255


def test_an_unsigned_bundle_is_refused_if_someone_has_to_sign(mirrorsync: Mirrorsync) -> None:
    pack(IMAGES).write(mirrorsync.directory / "usb")
    (mirrorsync.directory / "signers").write_text("")
    refused = mirrorsync(
        "bundle", "export", "usb", "--for", "rke2", "--output", "node", "--signers", "signers", code=None
    )
    assert refused.code not in (0, 2)
    assert not (mirrorsync.directory / "node").exists()


class Registryd:
    """What Talos' registryd answers from an image cache, after internal/app/machined/pkg/system/services/registry.

    It takes the host that a client asks it for (`ns`), the repository, and a tag or digest.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def manifest(self, host: str, name: str, ref: str) -> tuple[str, bytes]:
        registry, colon, port = host.rpartition(":")
        folder = self.root / "manifests" / (f"{registry}_{port}_" if colon else host) / name
        if not ref.startswith("sha256:"):
            tagged = (folder / "reference" / ref).read_bytes()
            ref = f"sha256:{hashlib.sha256(tagged).hexdigest()}"
            assert (folder / "digest" / ref.replace(":", "-")).read_bytes() == tagged
        assert (folder / "reference").is_dir()  # what it finds a repository by, if a client names no host
        raw = (folder / "digest" / ref.replace(":", "-")).read_bytes()
        return ref, raw

    def whole(self, host: str, name: str, ref: str) -> dict[str, bytes]:
        """Return all content of an image, as a client pulls it."""
        digest, raw = self.manifest(host, name, ref)
        found, document = {digest: raw}, json.loads(raw)
        for child in document.get("manifests", ()):
            found |= self.whole(host, name, child["digest"])
        for blob in [*document.get("layers", ()), *filter(None, [document.get("config")])]:
            found[blob["digest"]] = (self.root / "blob" / blob["digest"].replace(":", "-")).read_bytes()
        return found


def content(made: Image) -> dict[str, bytes]:
    return {digest: data for one in made.manifests() for digest, data in {one.digest: one.raw, **one.blobs}.items()}


def test_talos_finds_every_image_in_its_cache_and_only_what_changed_is_written_again(mirrorsync: Mirrorsync) -> None:
    packed = pack({**IMAGES, "base": ALPINE}, part_size=1_000_000)
    with_port = tuple(
        replace(one, source="localhost:5000/a/db") if one.repository == "base" else one for one in packed.bundle.images
    )
    pack({**IMAGES, "base": ALPINE}, part_size=1_000_000, images=with_port).write(mirrorsync.directory / "usb")
    assert all(one["written"] for one in export(mirrorsync, runtime="talos").values() if "written" in one)
    cache = Registryd(mirrorsync.directory / "node/imagecache")
    images = [("docker.io", "library/alpine", "3.20", ALPINE), ("docker.io", "team/app", "1", APP)]
    for host, name, ref, made in [*images, ("localhost:5000", "a/db", ALPINE.digest, ALPINE)]:
        assert cache.whole(host, name, ref) == content(made)
    names = [path.relative_to(cache.root) for path in cache.root.rglob("*") if path.is_file()]
    assert len(names) == len({path.name for path in names if path.parts[0] == "blob"}) + 7  # 5 digests, 2 tags
    moved = image([layer({"a": b"alpinf"})])
    assert len(moved.raw) == len(ALPINE.raw)  # so that the size of a tag's file does not tell them apart
    pack({**IMAGES, "library/alpine:3.20": moved}, sequence=2).write(mirrorsync.directory / "usb")
    again = export(mirrorsync, runtime="talos")
    assert {name: one["written"] for name, one in again.items() if "written" in one} == {
        "docker.io/library/alpine:3.20": True, "docker.io/team/app:1": False,
    }  # fmt: skip
    assert cache.whole("docker.io", "library/alpine", "3.20") == content(moved)
    assert not list(cache.root.rglob("*.partial"))


def test_a_damaged_blob_is_not_in_the_image_cache_and_its_image_has_no_tag(mirrorsync: Mirrorsync) -> None:
    path = pack(IMAGES).write(mirrorsync.directory / "usb") / "shop-000001.001of001.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # in the largest layer
    path.write_bytes(data)
    assert export(mirrorsync, code=4, runtime="talos")["docker.io/team/app:1"]["failed"]
    cache = mirrorsync.directory / "node/imagecache"
    assert all(
        hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name.removeprefix("sha256-")
        for blob in (cache / "blob").iterdir()
    )
    assert [path.name for path in cache.rglob("reference/*")] == ["3.20"]


@pytest.mark.parametrize("runtime", ["k3s", "talos"])
def test_an_image_whose_layer_is_a_delta_is_named_with_what_it_is_against(mirrorsync: Mirrorsync, runtime: str) -> None:
    packed = pack({"library/alpine:3.20": ALPINE, "team/app:1": APP})
    (layer_,) = (one for one in packed.bundle.objects if str(one.digest) == next(iter(ALPINE.blobs)))
    base = Assumed(Descriptor(layer_.content.media_type, Digest.of(b"base"), 4), False, ("library/alpine",))
    form = Delta(1, 5, Digest.of(b"delta"), base.digest, "mirrorsync-1")
    objects = tuple(replace(one, form=form) if one is layer_ else one for one in packed.bundle.objects)
    changed = with_members(replace(packed.bundle, objects=objects, assumes=(base,)))
    packed = Packed(changed, {**packed.content, f"deltas/sha256/{layer_.digest[7:]}": b"delta"})
    packed.write(mirrorsync.directory / "usb")
    done = export(mirrorsync, code=3, runtime=runtime)
    assert done["docker.io/team/app:1"]["written"]
    reason = str(done["docker.io/library/alpine:3.20"]["reason"])
    assert f"it is a delta against {base.digest.short}, which only the destination has; " in reason
    assert "--deltas off" in reason
