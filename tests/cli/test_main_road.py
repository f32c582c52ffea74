"""The main use, with other programs at both ends: seed, validate, plan, apply, plan, read back."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cli.tools import Podman, skopeo_digest, skopeo_seed
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


def test_what_skopeo_seeds_is_mirrored_and_read_back_by_skopeo_and_podman(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    name = f"{unique}/harness/web"
    images = {tag: multi_platform("web", tag) for tag in ("1.0", "1.1", "latest")}
    skopeo_seed(tmp_path / "seed", registry.host, name, images)
    mirrorsync.spec(
        {
            "registries": plain(registry.host, second_registry.host),
            "destinations": {"corp": f"{second_registry.host}/{unique}/mirror", "disk": "oci:mirror"},
            "defaults": {"to": ["corp", "disk"]},
            "mirrors": [{"from": f"{registry.host}/{name}", "tags": {"all": True}}],
        }
    )

    assert mirrorsync("validate", code=0).out.startswith("mirror.yaml is valid: 1 mirror")
    planned = mirrorsync("plan", "--exit-code", code=10)
    assert planned.out.count("\nnew ") + planned.out.startswith("new ") == 6
    assert not (tmp_path / "mirror").exists()
    assert Registry(second_registry.host).tags(f"{unique}/mirror/{name}") == []

    mirrorsync("apply", code=0)
    again = mirrorsync("plan", "--exit-code", code=0)
    assert (again.out, again.err) == ("nothing to do: 6 images up to date at 2 destinations\n", "")
    assert mirrorsync("apply", code=0).out == again.out

    for tag, made in images.items():
        for reference in (
            f"docker://{registry.host}/{name}:{tag}",
            f"docker://{second_registry.host}/{unique}/mirror/{name}:{tag}",
            f"oci:{tmp_path}/mirror:{name}:{tag}",
        ):
            assert skopeo_digest(reference) == made.digest
        assert Registry(second_registry.host).holds(f"{unique}/mirror/{name}", made, tag)
    assert mirrorsync("verify", code=0).out.startswith("6 images complete; ")

    with Podman() as podman:
        pulled = f"{second_registry.host}/{unique}/mirror/{name}:latest"
        podman("pull", "--quiet", "--tls-verify=false", pulled)
        root = Path(podman("image", "mount", pulled))
        told = subprocess.run([root / "bin/busybox", "echo", "it runs"], capture_output=True, text=True, check=True)
        assert told.stdout == "it runs\n"
        assert (root / "etc/version").read_text() == "web latest amd64"
        podman("image", "unmount", pulled)


def test_skopeo_copies_an_image_with_all_its_platforms_out_of_a_mirrored_layout(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    made = multi_platform("app")
    Registry(registry.host).push(f"{unique}/app", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:mirror"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    mirrorsync("apply", code=0)
    mirrored = f"oci:{tmp_path}/mirror:{unique}/app:1"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false", mirrored,
         f"docker://{registry.host}/{unique}/back:1"],
        check=True, timeout=60,
    )  # fmt: skip
    assert Registry(registry.host).holds(f"{unique}/back", made, "1")


def test_a_moved_tag_is_shown_with_old_and_new_digest_and_follows_its_source(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    source = Registry(registry.host)
    old, new = multi_platform("app", "old"), multi_platform("app", "new")
    source.push(f"{unique}/app", old, "stable")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:mirror"},
            "mirrors": [f"{registry.host}/{unique}/app:stable"],
        }
    )
    mirrorsync("apply", code=0)
    source.push(f"{unique}/app", new, "stable")
    out = mirrorsync("plan", "--exit-code", code=10).out
    assert out.startswith("moved ")
    assert f"{old.digest[7:19]} -> {new.digest[7:19]}" in out
    # Only what is new is copied: for each platform a config and a top layer.
    assert "disk:  copy 4 blobs" in out
    assert "Plan: 1 moved; " in out
    mirrorsync("apply", code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/mirror:{unique}/app:stable") == new.digest
    assert skopeo_digest(f"oci:{mirrorsync.directory}/mirror:{unique}/app@{old.digest}") == old.digest
