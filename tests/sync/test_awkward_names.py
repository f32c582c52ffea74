"""Everything that filters cover is mirrored, or named as left out with the reason, in every output and exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.processes import run
from tests.parts.wire import Registry

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD = "io.containerd.image.name"

# The annotations of ten images; the repository and tag at the destination, or why the image is left out.
AWKWARD: list[tuple[dict[str, str], tuple[str, str] | str]] = [
    ({REF_NAME: "latest", CONTAINERD: "docker.io/library/nginx:latest"}, ("library/nginx", "latest")),
    ({REF_NAME: "latest", CONTAINERD: "docker.io/library/redis:latest"}, ("library/redis", "latest")),
    ({REF_NAME: "localhost:5000/x/y:1"}, ("localhost-5000/x/y", "1")),
    ({REF_NAME: "docker.io/library/app:1"}, ("docker.io/library/app", "1")),
    ({REF_NAME: "localhost/app:dev"}, ("localhost/app", "dev")),
    ({}, "it has no name"),
    ({REF_NAME: "1.0+build5"}, "its name '1.0+build5' is not a tag"),
    ({REF_NAME: "app/web:feature/x"}, "its name 'app/web:feature/x' is not a tag"),
    ({REF_NAME: "twice:1"}, "2 images have this name"),
    ({REF_NAME: "twice:1"}, "2 images have this name"),
]
IMAGES = [image([layer({"etc/number": str(number).encode()})]) for number in range(len(AWKWARD))]
LEFT_OUT = {made.digest: why for made, (_, why) in zip(IMAGES, AWKWARD, strict=True) if isinstance(why, str)}


def awkward_source(directory: Path, kind: str) -> str:
    """Write the ten images as a layout or as an archive of one, and return its address."""
    layout = directory / "awkward"
    write_layout(layout, {f"x:{number}": made for number, made in enumerate(IMAGES)})
    entries = [{**made.descriptor, "annotations": names} for made, (names, _) in zip(IMAGES, AWKWARD, strict=True)]
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    if kind == "oci":
        return "oci:awkward"
    run("tar", "-C", layout, "-cf", directory / "awkward.tar", "oci-layout", "index.json", "blobs")
    return "oci-archive:awkward.tar"


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_a_source_of_ten_awkward_names_ends_with_all_ten_accounted_for(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path, kind: str
) -> None:
    source = awkward_source(tmp_path, kind)
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"corp": f"{registry.host}/{unique}"},
            "mirrors": [{"from": source, "tags": {"all": True}}],
        }
    )
    plan = mirrorsync("plan", "--json", code=3)
    assert _unaccounted(LEFT_OUT, json.dumps(plan.json()["failures"])) == []
    assert _unaccounted(LEFT_OUT, mirrorsync("plan", code=3).err) == []
    report = mirrorsync("apply", "--quiet", code=3)
    assert _unaccounted(LEFT_OUT, report.err) == []
    assert _unaccounted(LEFT_OUT, json.dumps(mirrorsync("apply", "--json", code=3).json()["failures"])) == []
    for made, (_, name) in zip(IMAGES, AWKWARD, strict=True):
        if isinstance(name, tuple):
            assert Registry(registry.host).holds(f"{unique}/{name[0]}", made, name[1])


def _unaccounted(left_out: dict[str, str], text: str) -> list[str]:
    return [digest for digest, why in left_out.items() if digest not in text or why not in text]


def _without_name(made: Image, source: str) -> dict[str, Any]:
    return {"from": f"{source}:@{made.digest}", "tag": f"digest-{made.digest[7:15]}", "name": "by/digest"}


def test_images_without_a_tag_are_mirrored_if_the_spec_names_them_by_digest(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    source = awkward_source(tmp_path, "oci")
    unnamed = [
        made for made in IMAGES if "name" in LEFT_OUT.get(made.digest, "") and "images" not in LEFT_OUT[made.digest]
    ]
    assert len(unnamed) == 3
    mirrors = [
        {"from": source, "tags": {"all": True, "exclude": ["1"]}},
        *(_without_name(made, source) for made in unnamed),
    ]
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": mirrors})
    mirrorsync("apply", code=0)
    listed = mirrorsync("list-tags", "oci:mirror:by/digest", code=0).out.split()
    assert len(listed) == 3


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"glob": ["1.*"]}, ["1.0+build5"]),
        ({"glob": ["feature/*"]}, ["app/web:feature/x"]),
        ({"glob": ["latest"]}, []),
        ({"glob": ["?*"], "exclude": ["1*"]}, ["app/web:feature/x"]),
        ({"all": True, "exclude": ["*+*", "feature/*"]}, ["no name"]),
    ],
    ids=str,
)
def test_only_names_that_the_filters_cover_are_named_as_left_out(
    mirrorsync: Mirrorsync, tmp_path: Path, tags: dict[str, Any], named: list[str]
) -> None:
    mirror = {"from": awkward_source(tmp_path, "oci"), "tags": tags, "allow_empty": True}
    mirrorsync.spec({"destinations": {"disk": "oci:mirror"}, "mirrors": [mirror]})
    failures = mirrorsync("plan", "--json").json()["failures"]
    left_out = [one["error"]["message"] for one in failures if "left out" in one["error"]["message"]]
    assert len(left_out) == len(named)
    assert all(name in message for name, message in zip(named, left_out, strict=True))


def test_images_of_a_docker_archive_without_a_name_are_named_as_left_out(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    write_layout(tmp_path / "seed", {f"app:{number}": made for number, made in enumerate(IMAGES[:2])})
    run("skopeo", "copy", "-q", f"oci:{tmp_path}/seed:app:0", f"docker-archive:{tmp_path}/one.tar")
    mirrorsync.spec(
        {"destinations": {"disk": "oci:mirror"}, "mirrors": [{"from": "docker-archive:one.tar", "tags": {"all": True}}]}
    )
    done = mirrorsync("apply", "--quiet", code=3)
    assert f"docker-archive:{tmp_path}/one.tar:@0: left out, because it has no name" in done.err
