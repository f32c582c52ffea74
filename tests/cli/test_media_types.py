"""Every kind of image is copied byte for byte, and the kind that cannot be is rejected by name."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cli.tools import skopeo_digest
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    Image,
    artifact,
    digest,
    image,
    index,
    layer,
    multi_platform,
    noise,
    write_layout,
)
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry, ask


def plain_layer() -> bytes:
    return layer({"etc/motd": b"not compressed"}, compress=False)


def nested() -> Image:
    return index([multi_platform("inner", "a"), multi_platform("inner", "b")], annotations={"org.example.deep": "yes"})


def attestation() -> Image:
    """Return an index as buildx writes it: an image, and an attestation manifest of unknown platform."""
    made = image([plain_layer()])
    proof = image([b'{"predicate": {}}'], architecture="unknown")
    return index([made, proof], annotations={"org.example.builder": "buildx"})


KINDS: dict[str, Callable[[], Image]] = {
    "OCI image": lambda: image([plain_layer()], annotations={"org.example.word": "käse"}),
    "OCI image with one layer twice": lambda: image([plain_layer(), plain_layer()]),
    "OCI image without layers": lambda: image([]),
    "OCI image with an empty layer": lambda: image([b""]),
    "OCI index": lambda: multi_platform("app"),
    "OCI index of indexes": nested,
    "OCI index of nothing": lambda: index([]),
    "OCI index with an attestation": attestation,
    "OCI artifact with a subject": lambda: artifact(image([plain_layer()]), b"the bill of materials"),
    "Docker image": lambda: image([plain_layer()], media_type=DOCKER_MANIFEST),
    "Docker list": lambda: multi_platform("app", manifest=DOCKER_MANIFEST, list_type=DOCKER_LIST),
    "OCI index of Docker images": lambda: multi_platform("app", manifest=DOCKER_MANIFEST),
}


def test_each_kind_of_image_arrives_byte_for_byte(
    mirrorsync: Mirrorsync, registry: DockerRegistry, served: Serve, unique: str
) -> None:
    images = {kind.replace(" ", "-"): make() for kind, make in KINDS.items()}
    for tag, made in images.items():
        Registry(registry.host).push(f"{unique}/app", made, tag)
    mirrorsync.spec(
        {
            "registries": plain(registry.host, served.host),
            "destinations": {
                "served": f"{served.host}/{unique}/served",
                "disk": "oci:disk",
                "back": f"{registry.host}/{unique}/back",
            },
            "defaults": {"to": ["served", "disk", "back"]},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": list(images)}],
        }
    )
    mirrorsync("apply", code=0)
    for tag, made in images.items():
        assert Registry(served.host).holds(f"{unique}/served/{unique}/app", made, tag), tag
        assert Registry(registry.host).holds(f"{unique}/back/{unique}/app", made, tag), tag
        for part in (*(manifest.raw for manifest in made.manifests()), *made.all_blobs().values()):
            assert (mirrorsync.directory / "disk/blobs/sha256" / digest(part)[7:]).read_bytes() == part
        if made.media_type not in (DOCKER_MANIFEST, DOCKER_LIST):  # skopeo finds nothing but OCI types in a layout
            assert skopeo_digest(f"oci:{mirrorsync.directory}/disk:{unique}/app:{tag}") == made.digest
    assert mirrorsync("verify", code=0).out.startswith(f"{3 * len(images)} images complete; ")


def test_an_image_of_more_than_64_mib_is_copied_to_two_destinations(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    made = image([noise(unique, 66 * 1024 * 1024), noise(f"{unique} more", 3 * 1024 * 1024)])
    Registry(registry.host).push(f"{unique}/big", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host, second_registry.host),
            "destinations": {"corp": f"{second_registry.host}/{unique}", "disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/big", "tags": ["1"], "to": ["corp", "disk"]}],
        }
    )
    report = mirrorsync("apply", "--json", code=0).json()
    total = sum(map(len, made.all_blobs().values()))
    assert report["counts"]["read"]["bytes"] == total
    assert report["counts"]["written"]["bytes"] == 2 * total
    assert Registry(second_registry.host).holds(f"{unique}/{unique}/big", made, "1")
    for key, data in made.all_blobs().items():
        assert digest((mirrorsync.directory / "disk/blobs/sha256" / key[7:]).read_bytes()) == digest(data)


def test_an_artifact_is_among_its_subjects_referrers_at_the_destination(
    mirrorsync: Mirrorsync, registry: DockerRegistry, served: Serve, unique: str
) -> None:
    subject = multi_platform("app")
    signature = artifact(subject, b"signed")
    source = Registry(registry.host)
    source.push(f"{unique}/app", subject, "1")
    source.push(f"{unique}/app", signature, "1.sig")
    mirrorsync.spec(
        {
            "registries": plain(registry.host, served.host),
            "destinations": {"served": f"{served.host}/{unique}/served"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": ["1", "1.sig"]}],
        }
    )
    mirrorsync("apply", code=0)
    found = ask("GET", f"http://{served.host}/v2/{unique}/served/{unique}/app/referrers/{subject.digest}").json()
    assert [entry["digest"] for entry in found["manifests"]] == [signature.digest]


def test_a_schema_1_image_is_rejected_by_name(mirrorsync: Mirrorsync) -> None:
    raw = json.dumps({"schemaVersion": 1, "name": "old", "tag": "1", "fsLayers": [], "history": []}).encode()
    old = Image("application/vnd.docker.distribution.manifest.v1+prettyjws", raw)
    write_layout(mirrorsync.directory / "source", {"old/app:1": old})
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["oci:source:old/app:1"]})
    refused = mirrorsync("apply")
    assert refused.code in (1, 4)
    assert "schema 1" in refused.err
    assert "old/app:1" in refused.err
