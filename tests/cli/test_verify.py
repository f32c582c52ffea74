"""verify with a spec: what the destinations have, and whether it is what the sources name; apply --deep repairs it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.daemon import Daemon
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, artifact, image, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.processes import free_port
from tests.parts.wire import Registry

Damage = Callable[[DockerRegistry, str, Image], str]


def blob_of(made: Image) -> str:
    return list(made.children[0].blobs)[-1]


def blob_file(server: DockerRegistry, repository: str, made: Image) -> str:
    server.blob_file(blob_of(made)).unlink()
    return f"missing: layer 3 of 3 of linux/amd64, {len(made.all_blobs()[blob_of(made)])} bytes\n  {blob_of(made)}\n"


def blob_link(server: DockerRegistry, repository: str, made: Image) -> str:
    directory = server.storage / "docker/registry/v2/repositories" / repository / "_layers/sha256"
    shutil.rmtree(directory / blob_of(made)[7:])
    return f"missing: layer 3 of 3 of linux/amd64, {len(made.all_blobs()[blob_of(made)])} bytes\n  {blob_of(made)}\n"


def child_manifest(server: DockerRegistry, repository: str, made: Image) -> str:
    directory = server.storage / "docker/registry/v2/repositories" / repository / "_manifests/revisions/sha256"
    shutil.rmtree(directory / made.children[1].digest[7:])
    return f"missing: manifest of linux/arm64, {size(made.children[1].raw)}\n  {made.children[1].digest}\n"


def size(data: bytes) -> str:
    return f"{len(data)} bytes" if len(data) < 1000 else f"{len(data) / 1000:.1f} kB"


DAMAGES: dict[str, Damage] = {
    "the file of a blob": blob_file,
    "the link of a blob": blob_link,
    "the manifest of a platform": child_manifest,
}


@pytest.mark.parametrize("what", DAMAGES)
def test_content_that_a_registry_lost_is_found_and_repaired(
    mirrorsync: Mirrorsync, registry: DockerRegistry, fresh_registry: DockerRegistry, unique: str, what: str
) -> None:
    images = {tag: multi_platform(f"{unique}{tag}", tag) for tag in ("1", "2")}
    for tag, made in images.items():
        Registry(registry.host).push(f"{unique}/app", made, tag)
    mirrorsync.spec(
        {
            "registries": plain(registry.host, fresh_registry.host),
            "destinations": {"there": f"{fresh_registry.host}/there"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": ["1", "2"]}],
        }
    )
    mirrorsync("apply", code=0)
    name = f"there/{unique}/app"
    told = DAMAGES[what](fresh_registry, name, images["1"])

    assert mirrorsync("plan", "--exit-code", code=0).out.startswith("nothing to do")
    found = mirrorsync("verify", code=1)
    assert found.out.startswith(f"{told}  in {fresh_registry.host}/{name}:1\n1 image complete, 1 missing; presence of ")
    assert found.err == "`mirrorsync apply --deep mirror.yaml` copies it again\n"
    report = mirrorsync("apply", "--deep", "--json", code=0).json()
    assert [image["outcome"] for image in report["images"]] == ["done", "unchanged"]
    assert report["counts"]["read"]["blobs"] <= 1
    for tag, made in images.items():
        assert Registry(fresh_registry.host).holds(name, made, tag)
    mirrorsync("verify", "--content", code=0)


@pytest.mark.parametrize("length", [100, -1])
def test_content_that_a_layout_lost_is_found_and_repaired(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path, length: int
) -> None:
    """A blob is missing (-1) or truncated, as after a full or failing disk."""
    made = multi_platform("app")
    Registry(registry.host).push(f"{unique}/app", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    mirrorsync("apply", code=0)
    file = tmp_path / "disk/blobs/sha256" / blob_of(made)[7:]
    whole = file.read_bytes()
    file.unlink()
    if length >= 0:
        file.write_bytes(whole[:length])
    mirrorsync("plan", "--exit-code", code=0)
    for fast in ((), ("--fast",)):
        found = mirrorsync("verify", *fast, code=4 if length >= 0 else 1).out.splitlines()
        health = "damaged" if length >= 0 else "missing"
        assert found[:2] == [f"{health}: layer 3 of 3 of linux/amd64, {size(whole)}", f"  {blob_of(made)}"]
        assert ("  found 100 bytes" in found) is (length >= 0)
        assert found[-1].startswith(f"0 images complete, 1 {health}; ")
    mirrorsync("apply", "--deep", code=0)
    assert file.read_bytes() == whole
    assert mirrorsync("verify", code=0).out.startswith("1 image complete; ")


def test_a_flipped_byte_exits_4_names_the_layer_and_is_repaired(
    mirrorsync: Mirrorsync, tmp_path: Path, unique: str
) -> None:
    made = multi_platform("app", size=3_000_000)
    write_layout(tmp_path / "source", {"app:1": made, "app:2": made, "other:1": image([layer({"a": b"a"})])})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [{"from": "oci:source", "tags": {"all": True}}]})
    mirrorsync("apply", code=0)
    (large,) = (key for key, data in made.children[1].blobs.items() if len(data) > 2_000_000)
    file = tmp_path / "disk/blobs/sha256" / large[7:]
    whole = file.read_bytes()
    file.write_bytes(whole[:2_000_000] + bytes([whole[2_000_000] ^ 1]) + whole[2_000_001:])
    done = mirrorsync("verify", code=4)
    told = done.out.splitlines()
    assert told[:2] == ["damaged: layer 2 of 3 of linux/arm64, 3.0 MB", f"  {large}"]
    assert re.fullmatch(r"  found sha256:[0-9a-f]{64}", told[2])
    assert told[3:5] == [f"  in oci:{tmp_path}/disk:app:{tag}" for tag in "12"]
    assert re.fullmatch(r"1 image complete, 2 damaged; \d.*MB read in \d.* s \(.*B/s\)", told[5])
    assert done.err == "`mirrorsync apply --deep mirror.yaml` copies it again\n"
    document = valid(mirrorsync("verify", "--json", code=4).json(), "verification")
    (finding,) = document["findings"]
    assert (finding["content"]["digest"], len(finding["images"])) == (large, 2)
    assert finding["found"]["digest"] == told[2].split()[1]
    assert [one["health"] for one in document["images"]] == ["damaged", "damaged", "complete"]
    assert mirrorsync("verify", "--fast", code=0).out.startswith("3 images complete; presence of ")
    mirrorsync("apply", "--deep", code=0)
    assert file.read_bytes() == whole
    assert mirrorsync("verify", "--quiet", code=0) == mirrorsync("validate", "--quiet", code=0)


def test_an_image_that_its_source_has_moved_is_behind_and_a_missing_one_missing(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    old, new = multi_platform("app"), multi_platform("app", "newer")
    Registry(registry.host).push(f"{unique}/app", old, "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    name = f"oci:{tmp_path}/disk:{unique}/app:1"
    assert mirrorsync("verify", code=1).out.splitlines()[0] == f"missing: {name}"
    assert not (tmp_path / "disk").exists()
    mirrorsync("apply", code=0)
    Registry(registry.host).push(f"{unique}/app", new, "1")
    done = mirrorsync("verify", code=1)
    behind, summary = done.out.splitlines()
    assert behind == f"behind: {name} is {old.digest[7:19]}; its source names {new.digest[7:19]}"
    assert summary.startswith("0 images complete, 1 behind; ")
    assert done.err == "`mirrorsync apply mirror.yaml` brings it up to date\n"
    (file,) = (path for path in (tmp_path / "disk/blobs/sha256").iterdir() if path.name == blob_of(old)[7:])
    file.write_bytes(bytes(file.stat().st_size))
    assert mirrorsync("verify", code=4).out.startswith("damaged: "), "the content of an old image is verified too"


def dead(mirrorsync: Mirrorsync, made: Image, tmp_path: Path, **tags: object) -> str:
    """Mirror an image from a layout, and let the spec then name a registry that does not answer."""
    write_layout(tmp_path / "source", {"team/app:1": made, "team/app:2": made, "team/app:x": made})
    mirror = {"name": "app", **(tags or {"tags": ["1", "2", "3"]})}
    to = {"destinations": {"disk": "oci:disk"}}
    mirrorsync.spec(
        {**to, "mirrors": [{"name": "app", "from": "oci:source:team/app", "tags": ["1", "2", "x"]}]}, "full.yaml"
    )
    mirrorsync("apply", "full.yaml", code=0)
    host = f"127.0.0.1:{free_port()}"
    mirrorsync.spec({"registries": plain(host), **to, "mirrors": [{"from": f"{host}/team/app", **mirror}]})
    return host


def test_a_dead_source_does_not_hide_the_health_of_the_mirror(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    made = multi_platform("app")
    host = dead(mirrorsync, made, tmp_path)
    done = mirrorsync("verify", code=3)
    assert done.out.splitlines()[0] == f"missing: oci:{tmp_path}/disk:app:3"
    assert done.out.splitlines()[1].startswith("2 images complete, 1 missing; ")
    failed = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert failed[0].startswith(f"failed: source {host}/team/app: Connection refused (3 images; mirror.yaml:")
    (tmp_path / "disk/blobs/sha256" / blob_of(made)[7:]).write_bytes(b"x")
    assert mirrorsync("verify", code=4).out.startswith("damaged: layer 3 of 3 of linux/amd64")


def test_filters_are_applied_to_the_destination_if_the_source_cannot_be_listed(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    host = dead(mirrorsync, multi_platform("app"), tmp_path, tags={"regex": r"\d"})
    done = mirrorsync("verify", code=3)
    assert done.out.startswith("2 images complete; ")
    assert f"failed: source {host}/team/app: Connection refused" in done.err


def test_an_image_that_its_source_does_not_have_is_one_failure_and_not_missing_too(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:no-such-tag"],
        }
    )
    done = mirrorsync("verify", code=3)
    assert done.out == ""
    assert done.err.count("failed: ") == 1


def test_referrers_that_the_spec_wants_are_verified(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    made = multi_platform("app")
    note = artifact(made, noise("sbom", 500))
    Registry(registry.host).push(f"{unique}/app", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": ["1"], "referrers": True}],
        }
    )
    write_layout(tmp_path / "with", {"app:1": made, f"app@{note.digest}": note})
    mirrorsync("copy", "--referrers", "oci:with:app:1", f"docker://{registry.host}/{unique}/app:1",
               "--dest-tls-verify=false", code=0)  # fmt: skip
    mirrorsync("apply", code=0)
    assert mirrorsync("verify", code=0).out.startswith("2 images complete; ")
    (tmp_path / "disk/blobs/sha256" / list(note.blobs)[-1][7:]).unlink()
    assert mirrorsync("verify", code=1).out.splitlines()[0] == "missing: layer 1 of 1, 500 bytes"
    mirrorsync("apply", "--deep", code=0)
    mirrorsync("verify", code=0)


def test_only_some_mirrors_are_verified_with_a_glob(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {f"{name}:1": multi_platform(name) for name in ("one", "two")})
    mirrors = [f"oci:source:{name}:1" for name in ("one", "two")]
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": mirrors})
    mirrorsync("apply", "--only", "*one", code=0)
    assert mirrorsync("verify", "--only", "*one", code=0).out.startswith("1 image complete; ")
    assert mirrorsync("verify", code=1).out.splitlines()[0] == f"missing: oci:{tmp_path}/disk:two:1"


def test_an_image_in_a_docker_archive_is_compared_by_its_config(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {"app:1": image([layer({"a": noise("a", 2000)})])})
    mirrorsync.spec({"destinations": {"file": "docker-archive:there.tar"}, "mirrors": ["oci:source:app:1"]})
    mirrorsync("apply", code=0)
    assert mirrorsync("verify", code=0).out.startswith("1 image complete; ")
    write_layout(tmp_path / "source", {"app:1": image([layer({"b": b"b"})])})
    assert mirrorsync("verify", code=1).out.startswith("behind: docker-archive:")
    data = bytearray((tmp_path / "there.tar").read_bytes())
    data[data.find(noise("a", 2000)) + 500] ^= 1
    (tmp_path / "there.tar").write_bytes(bytes(data))
    found = mirrorsync("verify", code=4).out.splitlines()
    assert found[0].startswith("damaged: layer 1 of 1, by its diff_id, ")
    mirrorsync("apply", "--deep", code=0)
    mirrorsync("verify", code=0)


def test_no_images_are_not_complete(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    write_layout(tmp_path / "source", {"app:1": image([layer({"a": b"a"})])})
    mirror = {"from": "oci:source:app", "tags": {"glob": ["9*"]}, "allow_empty": True}
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [mirror]})
    assert mirrorsync("verify", code=0).out == "no images to verify\n"


def test_images_in_a_daemon_are_exported_and_verified(
    mirrorsync: Mirrorsync, daemon: Daemon, tmp_path: Path, unique: str
) -> None:
    write_layout(tmp_path / "source", {"app:1": image([layer({"a": noise("a", 5000)})])})
    mirrors = [{"from": "oci:source:app:1", "name": unique}]
    mirrorsync.spec({"destinations": {"here": "docker-daemon:"}, "mirrors": mirrors})
    mirrorsync("apply", env={"DOCKER_HOST": daemon.host}, code=0)
    assert re.match(r"1 image complete; \d.* kB read", mirrorsync("verify", "--daemon-host", daemon.host, code=0).out)
    write_layout(tmp_path / "source", {"app:1": image([layer({"b": b"b"})])})
    assert mirrorsync("verify", "--daemon-host", daemon.host, code=1).out.startswith("behind: docker-daemon:")
