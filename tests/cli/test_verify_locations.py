"""verify without a spec: layouts, archives, directories and registries, with what is read, told and refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import mirrorsync as library
from mirrorsync.events import BlobEnded, BlobStarted, BytesMoved, Event, ReadPlanned
from mirrorsync.sync.verify.model import Health
from tests.parts.daemon import Daemon
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.front import front
from tests.parts.images import Image, artifact, image, index, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

PLAIN = "--tls-verify=false"
SHARED = layer({"shared": noise("shared", 2_000_000)})


def blob_file(layout: Path, digest: str) -> Path:
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


def flip(path: Path, content: bytes = b"") -> None:
    """Change one byte in the middle of a file, or of some content in it."""
    data = bytearray(path.read_bytes())
    begin = data.find(content)
    assert begin >= 0
    data[begin + (len(content) or len(data)) // 2] ^= 1
    path.write_bytes(bytes(data))


def findings(mirrorsync: Mirrorsync, *words: str | Path, code: int) -> list[tuple[str, str, str]]:
    document = valid(mirrorsync("verify", "--json", *words, code=code).json(), "verification")
    assert document["exit_code"] == code
    return [(one["health"], one["role"], one["content"]["digest"]) for one in document["findings"]]


def many(number: int) -> dict[str, Image]:
    """Return images that share a base layer, and have a small layer each."""
    return {f"team/app:{n}": image([SHARED, layer({"own": f"{n}".encode()})]) for n in range(number)}


def test_a_layout_is_verified_whole_by_repository_prefix_and_name(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    names = ("base/app:1", "base/app:2", "base/app/extra:1", "other:1", "1.0")
    write_layout(tmp_path / "usb", dict.fromkeys(names, made))
    for scope, images in {
        "oci:usb": 5, "oci:usb:base/app": 3, "oci:usb:base": 3, "oci:usb:base/app:2": 1, "oci:usb:other": 1,
        "oci:usb:1.0": 1, f"oci:usb:base/app@{made.children[0].digest}": 1,
    }.items():  # fmt: skip
        word = "image" if images == 1 else "images"
        assert mirrorsync("verify", scope, code=0).out.startswith(f"{images} {word} complete; "), scope
    assert "no such tag" in mirrorsync("verify", "oci:usb:other:2", code=1).err
    assert "there are no images in" in mirrorsync("verify", "oci:nowhere", code=1).err
    assert not (tmp_path / "nowhere").exists()


WHAT: dict[str, tuple[str, str]] = {
    "index": ("index", ""),
    "child": ("manifest of linux/arm64", ""),
    "config": ("config of linux/amd64", ""),
    "layer": ("layer 2 of 3 of linux/arm64", ""),
}


@pytest.mark.parametrize("how", ["flipped", "truncated", "gone"])
@pytest.mark.parametrize("what", WHAT)
def test_damage_is_found_and_named_by_its_role(mirrorsync: Mirrorsync, tmp_path: Path, what: str, how: str) -> None:
    made = multi_platform("app")
    write_layout(tmp_path / "usb", {"app:1": made, "fine:1": image([layer({"fine": b"fine"})])})
    digest = {
        "index": made.digest,
        "child": made.children[1].digest,
        "config": next(iter(made.children[0].blobs)),
        "layer": list(made.children[1].blobs)[2],
    }[what]
    file = blob_file(tmp_path / "usb", digest)
    if how == "flipped":
        flip(file)
    else:
        os.truncate(file, 20) if how == "truncated" else file.unlink()
    health, code = ("missing", 1) if how == "gone" else ("damaged", 4)
    assert findings(mirrorsync, "oci:usb", code=code) == [(health, WHAT[what][0], digest)]
    done = mirrorsync("verify", "oci:usb", code=code)
    assert done.out.splitlines()[-1].startswith(f"1 image complete, 1 {health}; ")
    assert done.err == "copy the images again to a new path, or `mirrorsync apply --deep` a spec that names them\n"
    if how == "truncated":
        assert "  found 20 bytes\n" in done.out
    fast = 0 if how == "flipped" and what in ("config", "layer") else code
    mirrorsync("verify", "--fast", "oci:usb", code=fast)


def test_a_blob_of_200_images_is_read_and_reported_once(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    images = many(200)
    write_layout(tmp_path / "usb", images)
    seen: list[Event] = []
    environment = library.process_environment({}, observer=seen.append)
    found = library.verify_location(f"oci:{tmp_path}/usb", environment=environment)
    blobs = {key: data for made in images.values() for key, data in made.all_blobs().items()}
    size = sum(map(len, blobs.values()))
    assert (found.exit_code, found.counts[Health.COMPLETE]) == (0, 200)
    assert (found.blobs.blobs, found.blobs.size) == (len(blobs), size)
    assert (found.manifests.blobs, found.contents) == (200, 200 + len(blobs))
    assert [event for event in seen if isinstance(event, ReadPlanned)] == [ReadPlanned(len(blobs), size)]
    assert sorted(event.digest for event in seen if isinstance(event, BlobStarted)) == sorted(blobs)
    assert sorted(event.digest for event in seen if isinstance(event, BlobEnded)) == sorted(blobs)
    assert sum(event.size for event in seen if isinstance(event, BytesMoved)) == size

    shared = f"sha256:{hashlib.sha256(SHARED).hexdigest()}"
    flip(blob_file(tmp_path / "usb", shared))
    told = mirrorsync("verify", "oci:usb", code=4).out.splitlines()
    assert told[0] == "damaged: layer 1 of 2, 2.0 MB"
    assert told[1] == f"  {shared}"
    assert told[-2:-1] == ["  and 197 more images (-v shows them)"]
    assert told[-1].startswith("0 images complete, 200 damaged; ")
    assert len(told) < 10
    assert len(mirrorsync("verify", "-v", "oci:usb", code=4).out.splitlines()) > 200
    (finding,) = mirrorsync("verify", "--json", "oci:usb", code=4).json()["findings"]
    assert len(finding["images"]) == 200


def test_nothing_is_printed_with_quiet_if_all_is_complete(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    write_layout(tmp_path / "usb", {"app:1": made})
    done = mirrorsync("verify", "--quiet", "oci:usb", code=0)
    assert (done.out, done.err) == ("", "")
    flip(blob_file(tmp_path / "usb", next(iter(made.all_blobs()))))
    assert "damaged: " in mirrorsync("verify", "--quiet", "oci:usb", code=4).out


def test_an_oci_archive_is_read_whole(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    top = layer({"own": noise("own", 5000)})
    write_layout(tmp_path / "usb", {"app:1": image([SHARED, top]), "app:2": image([SHARED])})
    for tag in "12":
        mirrorsync("copy", f"oci:usb:app:{tag}", f"oci-archive:a.tar:app:{tag}", code=0)
    assert mirrorsync("verify", "oci-archive:a.tar", code=0).out.startswith("2 images complete; ")
    flip(tmp_path / "a.tar", top)
    digest = f"sha256:{hashlib.sha256(top).hexdigest()}"
    assert findings(mirrorsync, "oci-archive:a.tar", code=4) == [("damaged", "layer 2 of 2", digest)]
    assert findings(mirrorsync, "oci-archive:a.tar:app:2", code=0) == []


def test_a_directory_is_read_whole_with_its_manifests(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    write_layout(tmp_path / "usb", {"app:1": made})
    mirrorsync("copy", "oci:usb:app:1", "dir:there", code=0)
    assert mirrorsync("verify", "dir:there", code=0).out.startswith("1 image complete; ")
    child, blob = made.children[1].digest, list(made.children[0].blobs)[1]
    flip(tmp_path / "there" / f"{child[7:]}.manifest.json")
    assert findings(mirrorsync, "dir:there", code=4) == [("damaged", "manifest of linux/arm64", child)]
    flip(tmp_path / "there" / blob[7:])
    assert ("damaged", "layer 1 of 3 of linux/amd64", blob) in findings(mirrorsync, "dir:there", code=4)
    (tmp_path / "there" / f"{child[7:]}.manifest.json").unlink()
    assert ("missing", "manifest of linux/arm64", child) in findings(mirrorsync, "dir:there", code=4)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzipped"])
def test_layers_of_a_docker_archive_are_compared_with_the_diff_ids(
    mirrorsync: Mirrorsync, tmp_path: Path, compressed: bool
) -> None:
    shared, own = (layer({name: noise(name, 50_000)}) for name in ("shared", "own"))
    images = {"app:1": image([shared, own]), "app:2": image([shared])}
    write_layout(tmp_path / "usb", images)
    if compressed:
        crane_archive(tmp_path / "d.tar", images)
    else:
        for tag in "12":
            mirrorsync("copy", f"oci:usb:app:{tag}", f"docker-archive:d.tar:app:{tag}", code=0)
    assert mirrorsync("verify", "docker-archive:d.tar", code=0).out.startswith("2 images complete; ")
    flip(tmp_path / "d.tar", own if compressed else noise("own", 50_000))
    config = json.loads(next(iter(images["app:1"].blobs.values())))
    told = [("damaged", "layer 2 of 2, by its diff_id", config["rootfs"]["diff_ids"][1])]
    assert findings(mirrorsync, "docker-archive:d.tar", code=4) == told
    assert findings(mirrorsync, "docker-archive:d.tar:app:1", code=4) == told
    assert findings(mirrorsync, "docker-archive:d.tar:app:2", code=0) == []
    assert findings(mirrorsync, "docker-archive:d.tar:@1", code=0) == []
    assert findings(mirrorsync, "--fast", "docker-archive:d.tar", code=0) == []
    flip(tmp_path / "d.tar", next(iter(images["app:2"].blobs.values())))
    done = mirrorsync("verify", "docker-archive:d.tar", code=4)
    assert done.out.splitlines()[-1].startswith("0 images complete, 2 damaged; ")
    assert re.search(r"failed: docker-archive:.*:app:2: config .* does not match its digest: got sha256:", done.err)


def crane_archive(path: Path, images: dict[str, Image]) -> None:
    """Write a docker archive whose layers are gzipped, as crane does."""
    import io
    import tarfile

    members: dict[str, bytes] = {}
    entries = []
    for name, made in images.items():
        config, *layers = made.blobs.items()
        names = [f"{digest[7:]}.tar.gz" for digest, _ in layers]
        members |= {config[0]: config[1], **dict(zip(names, (data for _, data in layers), strict=True))}
        entries.append({"Config": config[0], "RepoTags": [name], "Layers": names})
    with tarfile.open(path, "w") as archive:
        for name, data in {**members, "manifest.json": json.dumps(entries).encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def test_an_image_of_a_daemon_is_exported_and_its_layers_are_read(
    mirrorsync: Mirrorsync, tmp_path: Path, daemon: Daemon, unique: str
) -> None:
    write_layout(tmp_path / "usb", {"app:1": image([layer({"a": noise("a", 5000)})])})
    host = ("--daemon-host", daemon.host)
    mirrorsync("copy", "oci:usb:app:1", f"docker-daemon:{unique}:1", "--dest-daemon-host", daemon.host, code=0)
    done = mirrorsync("verify", f"docker-daemon:{unique}:1", *host, code=0)
    assert re.match(r"1 image complete; \d.* kB read in ", done.out)
    assert "no such tag" in mirrorsync("verify", f"docker-daemon:{unique}:2", *host, code=1).err


def test_a_registry_is_asked_for_presence_and_read_with_content(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry
) -> None:
    made, host = multi_platform("app"), fresh_registry.host
    for name, tag in (("mirror/app", "1"), ("mirror/app", "2"), ("mirror/other", "1"), ("elsewhere", "1")):
        Registry(host).push(name, made, tag)
    fresh_registry.new_requests()
    assert mirrorsync("verify", PLAIN, f"{host}/mirror/app", code=0).out.startswith("2 images complete; presence of ")
    asked = fresh_registry.new_requests()
    assert not [one for one in asked if one.method == "GET" and "/blobs/" in one.path]
    assert len([one for one in asked if one.method == "HEAD" and "/blobs/" in one.path]) == len(made.all_blobs())
    for scope, images in {
        f"{host}/mirror/app:1": 1, f"docker://{host}/mirror/app@{made.digest}": 1, f"{host}/mirror": 3,
        f"{host}/mirror/": 3, host: 4,
    }.items():  # fmt: skip
        word = "image" if images == 1 else "images"
        assert mirrorsync("verify", PLAIN, scope, code=0).out.startswith(f"{images} {word} complete; "), scope
    (large,) = (key for key, data in made.all_blobs().items() if len(data) > 500_000)
    flip(fresh_registry.blob_file(large))
    mirrorsync("verify", PLAIN, host, code=0)
    fresh_registry.new_requests()
    assert (
        findings(mirrorsync, PLAIN, "--content", f"{host}/mirror/", code=4)
        == [("damaged", "layer 1 of 3 of linux/amd64", large)] * 2
    ), "a repository each"
    read = [one.path for one in fresh_registry.new_requests() if one.method == "GET" and "/blobs/" in one.path]
    assert sorted(path.rpartition("/")[2] for path in read) == sorted(made.all_blobs()), "each once for both"
    told = mirrorsync("verify", PLAIN, "--content", f"{host}/mirror/app", code=4)
    assert "remove it from the storage, then copy the images again" in told.err
    fresh_registry.blob_file(large).unlink()
    assert findings(mirrorsync, PLAIN, f"{host}/elsewhere", code=1) == [
        ("missing", "layer 1 of 3 of linux/amd64", large)
    ]
    os.truncate(fresh_registry.blob_file(list(made.children[1].blobs)[2]), 10)
    assert ("damaged", "layer 2 of 3 of linux/arm64", list(made.children[1].blobs)[2]) in findings(
        mirrorsync, PLAIN, f"{host}/elsewhere", code=4
    )
    assert "no such tag" in mirrorsync("verify", PLAIN, f"{host}/elsewhere:9", code=1).err
    assert "no repository of this name" in mirrorsync("verify", PLAIN, f"{host}/nothing", code=1).err


def test_referrers_in_a_registry_belong_to_their_image(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    note = artifact(made, noise("sbom", 500))
    write_layout(tmp_path / "usb", {"app:1": made, f"app@{note.digest}": note})
    blob = list(note.blobs)[1]
    with Serve(tmp_path / "usb") as server:
        assert mirrorsync("verify", PLAIN, f"{server.host}/app", code=0).out.startswith("1 image complete; ")
        blob_file(tmp_path / "usb", blob).unlink()
        told = [("missing", "layer 1 of 1 of a referrer (sbom)", blob)]
        assert findings(mirrorsync, PLAIN, f"{server.host}/app", code=1) == told


def test_our_own_registry_is_verified(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    write_layout(tmp_path / "usb", {"base/app:1": made})
    with Serve(tmp_path / "usb") as server:
        done = mirrorsync("verify", PLAIN, "--content", f"{server.host}/base/app", code=0)
        assert re.match(r"1 image complete; 1.1 MB read in ", done.out)
        blob_file(tmp_path / "usb", list(made.children[0].blobs)[3]).unlink()
        mirrorsync("verify", PLAIN, f"{server.host}/base/app", code=1)


def test_a_sample_reads_so_many_blobs_and_can_be_repeated(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    images = {f"app:{n}": image([layer({"own": noise(f"own {n}", 100)})]) for n in range(40)}
    write_layout(tmp_path / "usb", images)

    def sampled(*words: str) -> dict[str, Any]:
        document: dict[str, Any] = mirrorsync("verify", "--json", "oci:usb", *words, code=0).json()
        return document

    first = sampled("--sample", "5%")
    assert first["counts"]["candidates"] == 80
    assert first["counts"]["read"]["blobs"] == 4
    seed = str(first["depth"]["seed"])
    again = sampled("--sample", "5", "--seed", seed)
    assert again["counts"]["read"] == first["counts"]["read"]
    assert sampled("--sample", "0.01%")["counts"]["read"]["blobs"] == 1
    text = mirrorsync("verify", "oci:usb", "--sample", "5%", "--seed", "7", code=0).out
    assert text.startswith("40 images complete; 4 of 80 blobs (seed 7), ")
    environment = library.process_environment({})
    seen: set[str] = set()
    for number in range(2):
        started: list[Event] = []
        environment = library.process_environment({}, observer=started.append)
        library.verify_location(f"oci:{tmp_path}/usb", sample=5, seed=number, environment=environment)
        seen |= {event.digest for event in started if isinstance(event, BlobStarted)}
    assert len(seen) > 4, "another seed chooses other blobs"


def test_a_registry_that_does_not_list_its_repositories_is_refused_with_what_to_do(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    with Unruly(front({"/": registry.host})) as proxy:
        proxy.fault("answer", "GET", "_catalog", status=404)
        for scope in (proxy.host, f"{proxy.host}/{unique}", f"{proxy.host}/{unique}/"):
            done = mirrorsync("verify", PLAIN, scope, code=1)
            assert "does not list" in done.err
            assert f"name one repository: {scope.rstrip('/')}/NAME" in done.err
        mirrorsync("verify", PLAIN, f"{proxy.host}/{unique}/app", code=0)


def test_a_blob_is_not_missing_because_a_registry_answers_heads_wrongly(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    made = image([layer({"own": noise("own", 500)})])
    Registry(registry.host).push(f"{unique}/app", made, "1")
    with Unruly(front({"/": registry.host})) as proxy:
        proxy.fault("answer", "HEAD", "/blobs/", status=404)
        assert mirrorsync("verify", PLAIN, f"{proxy.host}/{unique}/app", code=0).out.startswith("1 image complete; ")
        proxy.fault("answer", "GET", "/blobs/", status=404)
        assert len(findings(mirrorsync, PLAIN, f"{proxy.host}/{unique}/app", code=1)) == 2


def test_what_could_not_be_checked_exits_3_and_the_rest_is_reported(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    made = {tag: image([layer({"own": noise(tag, 500)})]) for tag in "12"}
    for tag, one in made.items():
        Registry(registry.host).push(f"{unique}/app", one, tag)
    blob = list(made["1"].blobs)[1]
    with Unruly(front({"/": registry.host})) as proxy:
        proxy.fault("answer", pattern=blob, status=403)
        done = mirrorsync("verify", PLAIN, "--retry-times", "0", f"{proxy.host}/{unique}/app", code=3)
    assert done.out.startswith("1 image complete, 1 not checked; ")
    assert done.err.count("failed: ") == 1


def test_referrers_in_a_layout_are_verified(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    note = artifact(made, noise("sbom", 500))
    write_layout(tmp_path / "usb", {"app:1": made, f"app@{note.digest}": note})
    assert mirrorsync("verify", "oci:usb", code=0).out.startswith("2 images complete; ")
    flip(blob_file(tmp_path / "usb", list(note.blobs)[1]))
    assert findings(mirrorsync, "oci:usb", code=4) == [("damaged", "layer 1 of 1", list(note.blobs)[1])]


def test_content_that_no_image_needs_is_not_read(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = image([SHARED])
    write_layout(tmp_path / "usb", {"app:1": made})
    before = mirrorsync("verify", "--json", "oci:usb", code=0).json()["counts"]
    blob_file(tmp_path / "usb", "0" * 64).write_bytes(b"neither needed nor right")
    assert mirrorsync("verify", "--json", "oci:usb", code=0).json()["counts"] == before


def test_a_blob_that_is_a_link_is_missing(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = index([image([SHARED])])
    write_layout(tmp_path / "usb", {"app:1": made})
    digest = f"sha256:{hashlib.sha256(SHARED).hexdigest()}"
    file = blob_file(tmp_path / "usb", digest)
    file.rename(tmp_path / "outside")
    file.symlink_to(tmp_path / "outside")
    assert findings(mirrorsync, "oci:usb", code=1) == [("missing", "layer 1 of 1 of linux/amd64", digest)]


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "two depths": (("oci:usb", "--fast", "--content"), "contradict"),
    "a sample and all": (("oci:usb", "--sample", "5%", "--content"), "contradict"),
    "a seed alone": (("oci:usb", "--seed", "5"), "without a sample"),
    "no percentage": (("oci:usb", "--sample", "most"), "not a percentage"),
    "more than all": (("oci:usb", "--sample", "101%"), "not a percentage"),
    "a glob": (("oci:usb", "--only", "x"), "not possible with a location"),
    "access to a spec": (("mirror.yaml", "--tls-verify=false"), "set it in the spec"),
    "neither": (("nginx",), "write a location as HOST/REPOSITORY"),
    "a directory": (("./usb",), "a layout is written as oci:./usb"),
    "an archive": (("images.tar",), "an archive is written as oci-archive:FILE or docker-archive:FILE"),
    "no path": (("oci:",), "no valid path"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_are_refused_with_what_to_write(mirrorsync: Mirrorsync, tmp_path: Path, what: str) -> None:
    write_layout(tmp_path / "usb", {"app:1": multi_platform("app")})
    words, told = WRONG[what]
    assert told in mirrorsync("verify", *words, code=2).err


def test_a_file_is_a_spec_although_its_name_looks_like_a_host(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "usb", {"app:1": multi_platform("app")})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["oci:usb:app:1"]}, "mirror.example")
    assert mirrorsync("verify", "mirror.example", code=1).out.startswith("missing: ")
