"""verify finds content that a destination lost, apply --deep repairs it, and a plan without --deep trusts the tags."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

Damage = Callable[[DockerRegistry, str, Image], None]


def blob_of(made: Image) -> str:
    return list(made.children[0].blobs)[-1]


def blob_file(server: DockerRegistry, repository: str, made: Image) -> None:
    server.blob_file(blob_of(made)).unlink()


def blob_link(server: DockerRegistry, repository: str, made: Image) -> None:
    directory = server.storage / "docker/registry/v2/repositories" / repository / "_layers/sha256"
    shutil.rmtree(directory / blob_of(made)[7:])


def child_manifest(server: DockerRegistry, repository: str, made: Image) -> None:
    directory = server.storage / "docker/registry/v2/repositories" / repository / "_manifests/revisions/sha256"
    shutil.rmtree(directory / made.children[1].digest[7:])


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
    DAMAGES[what](fresh_registry, name, images["1"])

    assert mirrorsync("plan", "--exit-code", code=0).out.startswith("nothing to do")
    found = mirrorsync("verify", code=1).out.splitlines()
    assert found[0].startswith(f"incomplete  {fresh_registry.host}/{name}:1 ")
    assert found[1:] == ["1 image complete, 1 missing or different"]
    report = mirrorsync("apply", "--deep", "--json", code=0).json()
    assert [image["outcome"] for image in report["images"]] == ["done", "unchanged"]
    assert report["counts"]["read"]["blobs"] <= 1
    for tag, made in images.items():
        assert Registry(fresh_registry.host).holds(name, made, tag)


@pytest.mark.parametrize("size", [100, -1])
def test_content_that_a_layout_lost_is_found_and_repaired(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path, size: int
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
    if size >= 0:
        file.write_bytes(whole[:size])
    mirrorsync("plan", "--exit-code", code=0)
    assert mirrorsync("verify", code=1).out.startswith("incomplete ")
    mirrorsync("apply", "--deep", code=0)
    assert file.read_bytes() == whole
    assert mirrorsync("verify", code=0).out == "1 image complete\n"


def test_verify_reports_missing_images_and_changes_nothing(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    assert mirrorsync("verify", code=1).out.startswith("new ")
    assert not (tmp_path / "disk").exists()
    mirrorsync("apply", code=0)
    Registry(registry.host).push(f"{unique}/app", multi_platform("app", "newer"), "1")
    assert mirrorsync("verify", code=1).out.startswith("moved ")


def test_nothing_is_said_of_images_if_the_source_cannot_be_asked(mirrorsync: Mirrorsync) -> None:
    hosts = {"127.0.0.1:1": {"plain_http": True}}
    mirrorsync.spec({"registries": hosts, "destinations": {"disk": "oci:disk"}, "mirrors": ["127.0.0.1:1/app:1"]})
    done = mirrorsync("verify", code=1)
    assert "complete" not in done.out
    assert "failed: source 127.0.0.1:1/app:1" in done.err
