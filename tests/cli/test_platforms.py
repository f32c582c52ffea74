"""`platforms:` with what becomes of the index: rewritten, or mirrored as it is with only some of its images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, artifact, image, index, layer, noise
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry

ARCHITECTURES = ("amd64", "arm64", "s390x")
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}
SHARED = layer({"shared": noise("shared by all", 2000)})


def attested(name: str) -> Image:
    """Return an index of three images as buildkit writes it: each has an attestation, which is in the index too."""
    children, entries = [], []
    for architecture in ARCHITECTURES:
        made = image([SHARED, layer({"name": f"{name} {architecture}".encode()})], architecture=architecture)
        proof = image([layer({"proof": f"of {name} {architecture}".encode()})], architecture="unknown")
        children += [made, proof]
        entries.append({**made.descriptor, "platform": {"os": "linux", "architecture": architecture}})
        entries.append(
            {
                **proof.descriptor,
                "platform": {"os": "unknown", "architecture": "unknown"},
                "annotations": {**ATTESTATION, "vnd.docker.reference.digest": made.digest},
            }
        )
    document = json.loads(index(children).raw)
    return Image(index(children).media_type, json.dumps({**document, "manifests": entries}).encode(), {}, children)


class Site:
    """A docker-registry as the source; destinations that store sparse indexes: a server of ours, and a layout."""

    def __init__(self, run: Mirrorsync, source: DockerRegistry, there: Serve, unique: str) -> None:
        self.run = run
        self.name = f"{unique}/app"
        self.source, self.there = Registry(source.host), Registry(there.host)

    def push(self, made: Image, tag: str | None = None) -> Image:
        self.source.push(self.name, made, tag)
        return made

    def spec(
        self,
        *tags: str,
        only: Sequence[str] = ARCHITECTURES[:2],
        source: str = "",
        whole: Sequence[str] = (),
        **entry: Any,
    ) -> None:
        """Write a spec. source: the host, if it is another one. whole: tags that are mirrored with all platforms.

        only: architectures, none = all.
        """
        platforms = {"platforms": {"only": [f"linux/{one}" for one in only], "index": "sparse"}} if only else {}
        name = f"{source or self.source.host}/{self.name}"
        entries: list[dict[str, Any]] = [{"from": name, "tags": list(tags or ("1",)), **platforms, **entry}]
        self.run.spec(
            {
                "registries": plain(self.source.host) | plain(self.there.host),
                "destinations": {"there": self.there.host, "disk": "oci:disk"},
                "defaults": {"to": ["there", "disk"]},
                "mirrors": entries + ([{"from": name, "tags": list(whole)}] if whole else []),
            }
        )

    def has(self, made: Image) -> bool:
        """Return whether the server has a manifest, and (asserted) whether the layout has the same."""
        there = self.there.manifest(self.name, made.digest).status == 200
        assert (self.run.directory / "disk/blobs/sha256" / made.digest.partition(":")[2]).exists() == there
        return there


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, served: Serve, unique: str) -> Site:
    return Site(mirrorsync, registry, served, unique)


def test_a_sparse_index_has_its_digest_and_only_the_selected_images(site: Site) -> None:
    made = attested("app")
    site.push(made, "1")
    site.spec()
    planned = site.run("plan", code=0).out
    assert "platforms: 2 images with only some of the images that the index lists (sparse)\n" in planned
    site.run("apply", code=0)
    assert site.there.manifest(site.name, "1").body == made.raw
    assert [site.has(child) for child in made.children] == [True, True, True, True, False, False]
    assert site.run("apply", code=0).out.startswith("nothing to do: 2 images")
    assert site.run("apply", "--deep", code=0).out.startswith("nothing to do: 2 images")
    assert site.run("verify", code=0).out.startswith("2 images complete")


def test_a_sparse_index_is_complete_for_verify_without_its_source(site: Site, tmp_path: Path) -> None:
    site.push(attested("app"), "1")
    site.spec()
    site.run("apply", code=0)
    site.spec(source="127.0.0.1:1")
    done = site.run("verify", "--json")
    assert [one["health"] for one in json.loads(done.out)["images"]] == ["complete", "complete"]
    gone = attested("app").children[0]
    (tmp_path / "disk/blobs/sha256" / gone.digest.partition(":")[2]).unlink()
    found = json.loads(site.run("verify", "--json").out)["images"]
    assert sorted(one["health"] for one in found) == ["complete", "missing"]


def test_more_platforms_of_a_sparse_index_are_added_and_missing_ones_copied_again(site: Site) -> None:
    made = attested("app")
    site.push(made, "1")
    site.spec(only=("arm64",))
    site.run("apply", code=0)
    assert [site.has(child) for child in made.children[:4]] == [False, False, True, True]
    site.spec(only=ARCHITECTURES)
    assert site.run("plan", code=0).out.count("incomplete  ") == 2
    site.run("apply", code=0)
    assert all(site.has(child) for child in made.children)
    site.spec("1", "2")
    site.push(made, "2")
    site.run("apply", code=0)
    assert site.run("apply", code=0).out.startswith("nothing to do: 4 images")


def test_a_sparse_index_gets_all_its_images_once_the_spec_wants_all(site: Site) -> None:
    """Its digest stays the same, so that only the memory knows that images are missing."""
    made = site.push(attested("app"), "1")
    site.spec()
    site.run("apply", code=0)
    site.spec(only=())
    assert site.run("plan", code=0).out.count("incomplete  ") == 2
    site.run("apply", code=0)
    assert all(site.has(child) for child in made.children)
    assert site.run("apply", code=0).out.startswith("nothing to do: 2 images")


def test_a_whole_index_in_the_repository_of_a_sparse_one_gets_all_its_images(site: Site) -> None:
    made, other = site.push(attested("app"), "1"), site.push(attested("other"), "2")
    site.push(made, "whole")
    site.spec("1", "2")
    site.run("apply", code=0)
    site.spec("1", "2", whole=["whole"])
    site.run("apply", code=0)
    assert all(site.has(child) for child in made.children)
    assert [site.has(child) for child in other.children] == [True, True, True, True, False, False]
    assert site.run("apply", code=0).out.startswith("nothing to do: 6 images")


def test_referrers_of_a_sparse_index_and_of_its_selected_images_come_along(site: Site) -> None:
    made = attested("app")
    site.push(made, "1")
    signed = [artifact(of, b"signature", "application/vnd.cncf.notary.signature") for of in (made, *made.children[::2])]
    tags = [of.digest.replace(":", "-") for of in (made, *made.children[::2])]
    for one, tag in zip(signed, tags, strict=True):
        site.push(one)
        site.push(index([one]), tag)
    site.spec(referrers={"require": ["signature"]})
    site.run("apply", code=0)
    assert [site.has(one) for one in signed] == [True, True, True, False]
    assert site.run("apply", code=0).out.startswith("nothing to do: 8 images")


def test_a_saved_plan_of_a_sparse_index_is_applied(site: Site) -> None:
    made = attested("app")
    site.push(made, "1")
    site.spec()
    site.run("plan", "--output", "saved", code=0)
    site.run("apply", "saved", code=0)
    assert [site.has(child) for child in made.children] == [True, True, True, True, False, False]
    assert site.run("apply", "saved", code=0).out.startswith("nothing to do: 2 images")


def test_a_registry_that_rejects_a_sparse_index_is_reported_with_the_remedy(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> None:
    source, made = Registry(registry.host), attested("app")
    source.push(f"{unique}/app", made, "1")
    spec = {
        "registries": plain(registry.host) | plain(second_registry.host),
        "destinations": {"there": second_registry.host},
    }
    only = ["linux/amd64", "linux/arm64"]
    entry = {"from": f"{registry.host}/{unique}/app", "tags": ["1"]}
    mirrorsync.spec({**spec, "mirrors": [{**entry, "platforms": {"only": only, "index": "sparse"}}]})
    done = mirrorsync("apply", code=1)
    assert "the registry rejects an index of which images are missing (platforms: index: sparse)" in done.err
    assert "mirror a new index of the wanted images with index: rewrite" in done.err
    assert Registry(second_registry.host).manifest(f"{unique}/app", "1").status == 404
    mirrorsync.spec({**spec, "mirrors": [{**entry, "platforms": {"only": only, "index": "rewrite"}}]})
    mirrorsync("apply", code=0)
    assert len(Registry(second_registry.host).manifest(f"{unique}/app", "1").json()["manifests"]) == 4


def test_one_platform_is_its_image_or_a_rewritten_index_with_its_attestation(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    made = attested("app")
    Registry(registry.host).push(f"{unique}/app", made, "1")
    rewritten = {"only": ["linux/arm64"], "index": "rewrite"}
    for platforms, name in ((["linux/arm64"], "list"), ({"only": ["linux/arm64"]}, "mapping"), (rewritten, "rewrite")):
        mirrorsync.spec(
            {
                "registries": plain(registry.host),
                "destinations": {"there": f"{registry.host}/{unique}/{name}"},
                "mirrors": [
                    {"from": f"{registry.host}/{unique}/app", "tags": ["1"], "name": "app", "platforms": platforms}
                ],
            }
        )
        mirrorsync("apply", code=0)
        found = Registry(registry.host).manifest(f"{unique}/{name}/app", "1")
        if name == "rewrite":
            assert found.json()["manifests"] == json.loads(made.raw)["manifests"][2:4]
        else:
            assert found.body == made.children[2].raw
