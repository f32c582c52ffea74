"""From a registry into bundles and into another registry: every byte and tag, in one part and in many; differences."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.bundle.applying import apply_bundle
from mirrorsync.app.bundle.creating import Wanted, create_bundle
from mirrorsync.app.specs import load_spec
from mirrorsync.environment import Environment
from mirrorsync.hosts import HostSettings
from mirrorsync.sync.bundle.imported import Imported
from tests.bundle.test_second_reader import READER
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, artifact, image, index, layer, noise
from tests.parts.wire import Registry

PLAIN = index([image([layer({"a": b"1"}), layer({"b": noise("b", 300_000)})]), image([layer({"a": b"2"})])])
IMAGES = {"app:1": PLAIN, "app:2": image([layer({"a": b"1"}), layer({"c": noise("c", 700_000)})]), "db:1": PLAIN}
SBOM = artifact(PLAIN, b"an sbom")
NEXT = image([layer({"a": b"1"}), layer({"d": noise("d", 5000)})])


class Gap:
    """A source and a destination that are both registries, and what is carried between them."""

    def __init__(self, directory: Path, source: DockerRegistry, destination: DockerRegistry, unique: str) -> None:
        self.directory = directory
        self.source, self.destination = Registry(source.host), Registry(destination.host)
        self.registry = destination
        self.unique = unique
        hosts = {one.host: HostSettings(plain_http=True) for one in (source, destination)}
        self.environment = Environment(hosts, state_directory=directory / "state")

    def push(self, name: str, made: Image) -> None:
        repository, _, tag = name.partition(":")
        self.source.push(f"{self.unique}/{repository}", made, tag or None)

    def carry(self, output: str, *have: str, **fields: Any) -> Imported:
        """Make a bundle, check it with the second reader, and apply it."""
        mirrors = [
            {"from": f"{self.source.host}/{self.unique}/{name}", "tags": {"all": True}, "referrers": True}
            for name in ("app", "db")
        ]
        corp = {"corp": f"{self.destination.host}/{self.unique}/m"}
        path = self.directory / "shop.yaml"
        path.write_text(
            json.dumps({"version": 1, "destinations": corp, "defaults": {"to": ["corp"]}, "mirrors": mirrors})
        )
        wanted = Wanted(load_spec(path), have, **fields)
        place = self.directory / output
        asyncio.run(create_bundle(wanted, str(place), environment=self.environment))
        subprocess.run([sys.executable, "-I", READER, "verify", place], check=True, capture_output=True)
        return self.apply(output)

    def apply(self, output: str) -> Imported:
        to = f"{self.destination.host}/{self.unique}/m"
        return asyncio.run(apply_bundle(self.directory / output, [to], environment=self.environment))

    def name(self, made: Imported, repository: str) -> str:
        """Return where a repository of the source is at the destination."""
        (found,) = {one.repository for one in made.bundle.images if one.repository.endswith(f"/{repository}")}
        return f"{self.unique}/m/{found}"


@pytest.fixture
def gap(tmp_path: Path, registry: DockerRegistry, second_registry: DockerRegistry, unique: str) -> Gap:
    return Gap(tmp_path, registry, second_registry, unique)


@pytest.mark.parametrize("part_size", [None, 96 * 1024], ids=["one part", "many parts"])
def test_every_byte_and_tag_is_kept_and_then_only_the_difference_is_carried(gap: Gap, part_size: int | None) -> None:
    for name, made in {**IMAGES, "app": SBOM, f"app:{PLAIN.digest.replace(':', '-')}": index([SBOM])}.items():
        gap.push(name, made)  # the last one is the list of referrers for registries without an API for them
    done = gap.carry("first", part_size=part_size)
    assert int(done.exit_code) == 0
    assert len(done.bundle.parts) == 1 if part_size is None else len(done.bundle.parts) > 10
    for name, made in {**IMAGES, "app": SBOM}.items():
        repository, _, tag = name.partition(":")
        assert gap.destination.holds(gap.name(done, repository), made, tag or None), name
    assert gap.destination.tags(gap.name(done, "db")) == ["1"]
    gap.push("app:1", NEXT)
    second = gap.carry("second", "sent", part_size=part_size)
    assert int(second.exit_code) == 0
    new = {NEXT.digest, *NEXT.blobs} - {digest for made in IMAGES.values() for digest in made.all_blobs()}
    assert {str(one.digest) for one in second.bundle.objects} == new
    assert gap.destination.holds(gap.name(second, "app"), NEXT, "1")
    assert gap.destination.holds(gap.name(second, "app"), IMAGES["app:2"], "2")


def test_a_referrer_that_a_killed_import_has_not_listed_is_listed_by_the_next_one(gap: Gap) -> None:
    tag = PLAIN.digest.replace(":", "-")
    for name, made in {"app:1": PLAIN, "app": SBOM, f"app:{tag}": index([SBOM])}.items():
        gap.push(name, made)
    repository = gap.name(gap.carry("usb"), "app")
    written = gap.destination.manifest(repository, tag)
    gap.destination.delete(repository, written.headers["Docker-Content-Digest"])  # the list comes after the referrer
    assert [str(one.change.state) for one in gap.apply("usb").report.results] == ["new", "unchanged"]
    assert gap.destination.manifest(repository, tag).body == written.body
    assert [str(one.change.state) for one in gap.apply("usb").report.results] == ["unchanged", "unchanged"]


def test_a_blob_of_two_repositories_is_uploaded_once_and_mounted_into_the_other(gap: Gap) -> None:
    shared = layer({"shared": noise("shared", 300_000)})
    gap.push("app:1", image([shared, layer({"app": b"1"})]))
    gap.push("db:1", image([shared, layer({"db": b"1"})]))
    gap.registry.new_requests()
    done = gap.carry("usb")
    (blob,) = [one.digest for one in done.bundle.objects if one.content.size > 300_000]
    asked = gap.registry.new_requests()
    uploads = [one.path for one in asked if one.method == "PUT" and f"digest={blob.replace(':', '%3A')}" in one.path]
    mounts = [one for one in asked if one.method == "POST" and f"mount={blob.replace(':', '%3A')}" in one.path]
    assert len(uploads) == 1
    assert [one.status for one in mounts] == [201]
    repositories = {gap.name(done, name) for name in ("app", "db")}
    to = mounts[0].path.removeprefix("/v2/").partition("/blobs/uploads/")[0]
    of = uploads[0].removeprefix("/v2/").partition("/blobs/uploads/")[0]
    assert {to, of} == repositories
    assert (done.report.counts.blobs_mounted, done.report.counts.bytes_mounted) >= (1, 300_000)
