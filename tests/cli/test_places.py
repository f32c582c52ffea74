"""Every kind of store in a spec, as source and as destination, and a second run with nothing to do."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.tools import skopeo_digest
from tests.parts.daemon import Daemon
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.processes import run
from tests.parts.wire import Registry

UNCHANGED = "nothing to do: {} up to date at 1 destination\n"


def single(name: str) -> Image:
    return image([layer({"bin/app": name.encode()}), layer({"etc/app": b"shared by all"})])


def saved(directory: Path, *names: str) -> Path:
    """Return a docker archive of several images, as podman saves it."""
    archive = directory / "saved.tar"
    with Daemon() as podman:
        for name in names:
            write_layout(directory / "built", {name: single(name)})
            run("skopeo", "copy", "-q", f"oci:{directory}/built:{name}", f"docker-archive:{directory}/one.tar:{name}")
            podman("load", "-i", directory / "one.tar")
            (directory / "one.tar").unlink()
        podman("save", "--format", "docker-archive", "--multi-image-archive", "-o", archive, *names)
    return archive


def images_of(archive: Path) -> dict[str, str]:
    """Return the config's digest of each name in a docker archive."""
    with tarfile.open(archive) as members:
        listed = members.extractfile("manifest.json")
        assert listed is not None
        entries = json.loads(listed.read())
    return {name: f"sha256:{entry['Config'].removesuffix('.json')}" for entry in entries for name in entry["RepoTags"]}


def config_of(made: Image) -> str:
    return str(json.loads(made.raw)["config"]["digest"])


def test_all_images_of_a_docker_archive_are_mirrored_by_name(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    saved(mirrorsync.directory, "app:1", "app:2", "quay.io/x/tool:1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"there": f"{registry.host}/{unique}"},
            "mirrors": [{"from": "docker-archive:saved.tar", "tags": {"all": True}}],
        }
    )
    mirrorsync("apply", code=0)
    for place, name in (("app:1", "app:1"), ("app:2", "app:2"), ("x/tool:1", "quay.io/x/tool:1")):
        raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/{unique}/{place}")
        assert json.loads(raw)["config"]["digest"] == config_of(single(name))
    assert mirrorsync("apply", code=0).out == UNCHANGED.format("3 images")


def test_an_image_of_an_archive_directory_or_daemon_gets_a_name_and_a_tag(
    mirrorsync: Mirrorsync, daemon: Daemon, unique: str
) -> None:
    archive = saved(mirrorsync.directory, f"{unique}:1", f"{unique}:2")
    daemon("load", "-i", archive)
    run("skopeo", "copy", "-q", f"docker-archive:{archive}:{unique}:2", f"dir:{mirrorsync.directory}/two")
    whole = single(f"{unique}:1")
    mirrorsync.spec(
        {
            "destinations": {"disk": "oci:disk"},
            "mirrors": [
                {"from": "docker-archive:saved.tar:@1", "name": "tools/app", "tag": "by-number"},
                {"from": "dir:two", "name": "tools/app", "tag": "from-dir"},
                {"from": f"docker-daemon:{unique}:1", "name": "tools/app", "tag": "from-daemon"},
                {"from": f"docker-daemon:{config_of(whole)}", "name": "tools/app", "tag": "by-id"},
            ],
        }
    )
    environment = {"DOCKER_HOST": daemon.host}
    mirrorsync("plan", "-o", "plan.json", env=environment, code=0)
    mirrorsync("apply", "plan.json", env=environment, code=0)
    assert mirrorsync("apply", env=environment, code=0).out == UNCHANGED.format("4 images")
    by_id, by_name = (
        skopeo_digest(f"oci:{mirrorsync.directory}/disk:tools/app:{tag}") for tag in ("by-id", "from-daemon")
    )
    assert by_id == by_name
    two = json.loads(run("skopeo", "inspect", "--raw", f"oci:{mirrorsync.directory}/disk:tools/app:by-number"))
    assert two["config"]["digest"] == config_of(single(f"{unique}:2"))


@pytest.mark.parametrize("place", ["oci-archive:there.tar", "docker-archive:there.tar", "docker-daemon:"])
def test_stores_of_many_images_can_be_destinations(
    mirrorsync: Mirrorsync, registry: DockerRegistry, daemon: Daemon, unique: str, place: str
) -> None:
    first, second = single(f"{unique} one"), single(f"{unique} two")
    Registry(registry.host).push(f"{unique}/app", first, "1")
    Registry(registry.host).push(f"{unique}/app", second, "2")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"there": place},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": {"all": True}}],
        }
    )
    environment = {"DOCKER_HOST": daemon.host}
    planned = mirrorsync("plan", "-o", "plan.json", env=environment, code=0).out
    assert "there:  copy 5 blobs" in planned
    mirrorsync("apply", "plan.json", env=environment, code=0)
    assert mirrorsync("plan", "--exit-code", env=environment, code=0).out == UNCHANGED.format("2 images")
    archive = mirrorsync.directory / "there.tar"
    if place == "docker-daemon:":
        configs = {daemon("inspect", "--type", "image", "--format", "{{.Id}}", f"{unique}/app:{tag}") for tag in "12"}
        assert configs == {config_of(made).removeprefix("sha256:") for made in (first, second)}
    elif place.startswith("docker-archive"):
        assert set(images_of(archive).values()) == {config_of(first), config_of(second)}
        daemon("load", "-i", archive)
    else:
        for tag, made in (("1", first), ("2", second)):
            assert skopeo_digest(f"oci-archive:{archive}:{unique}/app:{tag}") == made.digest
    third = single(f"{unique} three")
    Registry(registry.host).push(f"{unique}/app", third, "3")
    changed = mirrorsync("apply", env=environment, code=0)
    assert "1 done, 2 unchanged" in changed.out
    if place.startswith("oci-archive"):
        assert skopeo_digest(f"{place.replace(':', f':{mirrorsync.directory}/')}:{unique}/app:1") == first.digest


def test_a_directory_stores_one_image(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": single("one"), "app:2": multi_platform("two")})
    mirrorsync.spec(
        {"destinations": {"there": "dir:there"}, "mirrors": [{"from": "oci:source:app", "tags": ["1", "2"]}]}
    )
    assert "has room for one image" in mirrorsync("apply", code=2).err
    mirrorsync.spec({"destinations": {"there": "dir:there"}, "mirrors": ["oci:source:app:2"]})
    mirrorsync("plan", "-o", "plan.json", code=0)
    mirrorsync("apply", "plan.json", code=0)
    assert skopeo_digest(f"dir:{mirrorsync.directory}/there") == multi_platform("two").digest
    assert mirrorsync("apply", code=0).out == UNCHANGED.format("1 image")


@pytest.mark.parametrize("place", ["docker-archive:there.tar", "docker-daemon:"])
def test_docker_stores_reject_an_index_unless_a_platform_is_chosen(
    mirrorsync: Mirrorsync, daemon: Daemon, place: str
) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": multi_platform("app")})
    mirrorsync.spec({"destinations": {"there": place}, "mirrors": ["oci:source:app:1"]})
    environment = {"DOCKER_HOST": daemon.host}
    refused = mirrorsync("apply", env=environment, code=1)
    assert "name one with platforms: in the spec" in refused.err
    assert "platforms:" in refused.err
    assert not (mirrorsync.directory / "there.tar").exists()
    mirrorsync.spec(
        {
            "destinations": {"there": place},
            "defaults": {"platforms": ["linux/arm64"]},
            "mirrors": ["oci:source:app:1"],
        }
    )
    mirrorsync("apply", env=environment, code=0)
    assert mirrorsync("apply", env=environment, code=0).out == UNCHANGED.format("1 image")


@pytest.mark.parametrize("place", ["docker-archive:there.tar", "docker-daemon:"])
def test_docker_stores_that_have_other_images_of_the_repository_reject_an_index_before_copying(
    mirrorsync: Mirrorsync, daemon: Daemon, place: str
) -> None:
    write_layout(
        mirrorsync.directory / "source", {"app:1": multi_platform("app"), "app:2": image([layer({"one": b"platform"})])}
    )
    environment = {"DOCKER_HOST": daemon.host}
    mirrorsync.spec({"destinations": {"there": place}, "mirrors": ["oci:source:app:2"]})
    mirrorsync("apply", env=environment, code=0)
    mirrorsync.spec({"destinations": {"there": place}, "mirrors": ["oci:source:app:1"]})
    refused = mirrorsync("plan", env=environment, code=1)
    assert "name one with platforms: in the spec" in refused.err


def test_a_saved_plan_with_platforms_is_applied_and_becomes_stale(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app", "1"), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app:1", "platforms": ["linux/arm64"], "referrers": True}],
        }
    )
    mirrorsync("plan", "--output", "plan.json", code=0)
    mirrorsync("apply", "plan.json", code=0)
    assert (
        skopeo_digest(f"oci:{mirrorsync.directory}/disk:{unique}/app:1")
        == multi_platform("app", "1").children[1].digest
    )
    Registry(registry.host).push(f"{unique}/app", multi_platform("app", "2"), "1")
    mirrorsync("plan", "--output", "plan.json", code=0)
    Registry(registry.host).push(f"{unique}/app", multi_platform("app", "3"), "1")
    mirrorsync("apply", "plan.json", code=5)
