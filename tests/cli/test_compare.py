"""`compare`: what nodes have that the mirror lacks, has differently, or has for nothing."""

from __future__ import annotations

import json
from typing import Any

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, layer, multi_platform
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry


def test_missing_drifted_present_and_unused_images(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    mirror = Registry(registry.host)
    index = multi_platform("web")
    web = mirror.push(f"{unique}/library/web", index, "1")
    mirror.push(f"{unique}/library/web", image([layer({"a": b"2"})]), "2")
    mirror.push(f"{unique}/library/web", image([layer({"a": b"3"})]), "3")
    host = registry.host
    mirrorsync.spec({
        "registries": {host: {"plain_http": True}},
        "destinations": {"corp": f"{host}/{unique}"},
        "mirrors": [{"from": "docker.io/library/web", "tags": {"all": True}, "to": ["corp"]}],
    })  # fmt: skip
    child = index.children[0].digest
    other = f"sha256:{'0' * 64}"
    node = mirrorsync.directory / "node.json"

    def nodes(*images: tuple[str, str]) -> None:
        listed = [{"repoTags": [name], "repoDigests": [f"x/y@{digest}"]} for name, digest in images]
        node.write_text(json.dumps({"images": listed}))

    def found(code: int) -> Any:
        document = mirrorsync("compare", "--exit-code", "--json", "node.json", "mirror.yaml", code=code).json()
        return [(one["image"], one["finding"]) for one in document["images"]], document["unused"]

    nodes(("web:1", web), (f"{host}/{unique}/library/web:2", other), ("web:9", other), ("ghcr.io/a/b:1", other))
    assert found(10) == (
        [
            (f"{host}/{unique}/library/web:2", "drifted"),
            ("docker.io/library/web:1", "present"),
            ("docker.io/library/web:9", "missing"),
            ("ghcr.io/a/b:1", "missing"),
        ],
        [f"{host}/{unique}/library/web:3"],
    )
    lines = mirrorsync("compare", "node.json", "mirror.yaml", code=0).out.splitlines()
    assert lines[-1] == "1 present, 2 missing, 1 drifted, 1 unused"
    # A runtime that keeps the digest of its platform only has the same image.
    nodes(("web:1", child))
    assert found(0)[0] == [("docker.io/library/web:1", "present")]


def test_an_image_without_a_name_at_the_mirror_is_a_failure_of_that_image(mirrorsync: Mirrorsync) -> None:
    mirror = {"from": "quay.io/*", "tags": {"all": True}, "to": ["corp"], "name": "{repository}"}
    destinations = {"corp": f"oci:{mirrorsync.directory / 'mirror'}:{'p' * 100}"}
    mirrorsync.spec({"destinations": destinations, "mirrors": [mirror]})
    node = {"images": [{"repoTags": [f"quay.io/{'a' * 200}:1"]}, {"repoTags": ["ghcr.io/a/b:1"]}]}
    (mirrorsync.directory / "node.json").write_text(json.dumps(node))
    document = mirrorsync("compare", "--json", "node.json", "mirror.yaml", code=3).json()
    assert [one["image"] for one in document["images"]] == ["ghcr.io/a/b:1"]
    assert "is not a repository name" in json.dumps(document["failures"])


def test_unused_images_of_namespaces_are_found_in_the_repositories_that_the_mirror_lists(
    mirrorsync: Mirrorsync,
) -> None:
    mirror = TinyRegistry()
    held = {"m/team/a": "1 2", "m/team/sub/b": "1", "m/team/c-doc": "1", "m/prom/exporter": "1 2", "m/other": "1"}
    for name, tags in held.items():
        mirror.hold(name, image([layer({"a": name.encode()})]), *tags.split())
    (mirrorsync.directory / "node.json").write_text(json.dumps({"images": [{"repoTags": ["quay.io/team/a:1"]}]}))
    with Unruly(mirror) as server:
        host = server.host
        mirrorsync.spec({
            "registries": {host: {"plain_http": True}},
            "destinations": {"corp": f"{host}/m"},
            "defaults": {"to": ["corp"]},
            "mirrors": [
                {"from": "quay.io/team/*", "tags": {"all": True}, "exclude_repositories": ["*-doc"]},
                {"from": "quay.io/prometheus/*", "tags": {"all": True}, "name": "prom/{basename}"},
            ],
        })  # fmt: skip
        listed = json.dumps({"repositories": [*sorted(held), "team/elsewhere", "m/team/gone"]}).encode()
        server.fault("answer", "GET", "_catalog", status=200, body=listed)
        found = mirrorsync("compare", "--json", "node.json", "mirror.yaml", code=0).json()
        unused = [f"{host}/m/{name}" for name in ("prom/exporter:1", "prom/exporter:2", "team/a:2", "team/sub/b:1")]
        assert found["unused"] == unused
        for status in (401, 404):
            server.fault("answer", "GET", "_catalog", status=status)
            done = mirrorsync("compare", "--json", "node.json", "mirror.yaml", code=0)
            assert done.json()["unused"] == [f"{host}/m/team/a:2"]
            assert "unused tags of namespaces are found only where nodes have images" in done.err
        server.fault("answer", "GET", "_catalog", status=200, body=b"<html>")
        done = mirrorsync("compare", "--json", "node.json", "mirror.yaml", code=3).json()
        assert [one["subject"] for one in done["failures"]] == [host]
