"""A docker-registry whose disk was full once: it answers 201 and keeps an empty file. No tag may refer to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, digest, image, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.processes import run
from tests.parts.wire import Registry

GOOD = image([layer({"good": b"good"})])
BAD = image([layer({"bad": b"bad"})])


@pytest.fixture
def mirrored(mirrorsync: Mirrorsync, registry: DockerRegistry, fresh_registry: DockerRegistry, unique: str) -> str:
    for name, made in (("good", GOOD), ("bad", BAD)):
        Registry(registry.host).push(f"{unique}/{name}", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host, fresh_registry.host),
            "destinations": {"there": fresh_registry.host},
            "mirrors": [f"{registry.host}/{unique}/{name}:1" for name in ("good", "bad")],
        }
    )
    return unique


def damaged_file(registry: DockerRegistry, key: str) -> Path:
    """Leave what distribution leaves of a blob that was pushed while its disk was full."""
    path = registry.blob_file(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def pulls(registry: DockerRegistry, name: str, made: Image, directory: Path) -> bool:
    target = directory / f"pulled-{name.replace('/', '-')}"
    run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{registry.host}/{name}:1", f"dir:{target}")
    return digest((target / "manifest.json").read_bytes()) == made.digest


@pytest.mark.parametrize("which", ["layer", "config", "manifest"])
def test_an_image_with_an_emptied_blob_gets_no_tag_until_the_empty_file_is_gone(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry, mirrored: str, which: str, tmp_path: Path
) -> None:
    config, layer_key = BAD.blobs
    key = {"layer": layer_key, "config": config, "manifest": BAD.digest}[which]
    path = damaged_file(fresh_registry, key)
    done = mirrorsync("apply", code=3)
    assert "1 done, 1 failed" in done.out
    assert f"{fresh_registry.host}/{mirrored}/bad" in done.err
    assert f"accepted {'manifest' if which == 'manifest' else 'blob'} {key[7:19]}, but does not have it" in done.err
    assert "remove the damaged file from its storage" in done.err
    assert Registry(fresh_registry.host).tags(f"{mirrored}/bad") == []
    assert pulls(fresh_registry, f"{mirrored}/good", GOOD, tmp_path)
    path.unlink()
    mirrorsync("apply", code=0)
    assert pulls(fresh_registry, f"{mirrored}/bad", BAD, tmp_path)


def test_a_deep_run_reports_a_layer_that_was_emptied_afterwards(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry, mirrored: str, tmp_path: Path
) -> None:
    mirrorsync("apply", code=0)
    path = fresh_registry.blob_file(list(BAD.blobs)[1])
    path.write_bytes(b"")
    done = mirrorsync("apply", "--deep", code=3)
    assert "but does not have it, or not all of it" in done.err
    path.unlink()
    mirrorsync("apply", "--deep", code=0)
    assert pulls(fresh_registry, f"{mirrored}/bad", BAD, tmp_path)
