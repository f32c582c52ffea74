"""A run that reads its content at an endpoint of the source."""

from __future__ import annotations

from pathlib import Path

from tests.cli.tools import skopeo_digest, skopeo_seed
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly


def test_a_mirror_is_read_at_an_endpoint_and_its_tags_are_those_of_the_source(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    made = multi_platform("app")
    skopeo_seed(tmp_path / "seed", registry.host, f"{unique}/app", {"1.0": made})
    tiny = TinyRegistry()
    tiny.hold("app", made, "1.0")
    with Unruly(tiny) as source, Unruly(tiny) as closed:
        closed.fault("answer", status=403)
        endpoints = [closed.host, f"{registry.host}/{unique}"]
        mirrorsync.spec(
            {
                "registries": {
                    **plain(closed.host, registry.host),
                    source.host: {"plain_http": True, "endpoints": endpoints},
                },
                "destinations": {"disk": "oci:disk"},
                "mirrors": [f"{source.host}/app:1.0"],
            }
        )
        err = mirrorsync("apply", code=0).err
        assert [line for line in source.seen.lines() if not line.endswith("/v2/")] == ["HEAD /v2/app/manifests/1.0"]
    assert skopeo_digest(f"oci:{tmp_path}/disk:app:1.0") == made.digest
    assert err.count(f"endpoint {closed.host}: ") == 2
    assert "it failed repeatedly, and is not asked any more in this run" in err


def test_a_registry_with_endpoints_cannot_be_a_destination(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(
        {
            "registries": {"r.example": {"endpoints": ["cache.example/r"]}},
            "destinations": {"there": "r.example/m"},
            "mirrors": ["r.example/app:1.0"],
        }
    )
    error = mirrorsync("validate", code=2).err
    assert "/destinations/there: r.example has endpoints, which are for sources" in error
    assert "remove endpoints: of r.example" in error
