"""An index that is mirrored without some of its images travels so, and gets more of them later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.bundle.applying import apply_bundle
from mirrorsync.app.bundle.inventories import make_inventory, save_inventory
from mirrorsync.app.runs import apply_spec
from mirrorsync.sync.bundle.imported import Imported
from tests.app.test_bundling import Side, all_content, content
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, multi_platform
from tests.parts.mirrorsync import Mirrorsync


def sparse(*architectures: str) -> dict[str, Any]:
    return {"platforms": {"only": [f"linux/{one}" for one in architectures], "index": "sparse"}}


@dataclass
class Far:
    """A side, and an empty far side without the memory and the cache of the near one."""

    side: Side

    @property
    def disk(self) -> Path:
        return self.side.directory / "far"

    def apply(self, output: str, to: str = "") -> Imported:
        environment = self.side.environment
        done = apply_bundle(self.side.directory / output, [to or self.side.destination], environment=environment)
        return asyncio.run(done)

    def has(self, *images: Image) -> list[bool]:
        return [(self.disk / "blobs/sha256" / one.digest.partition(":")[2]).exists() for one in images]

    def inventory(self) -> Path:
        taken, _ = asyncio.run(make_inventory(self.side.destination, environment=self.side.environment))
        path = self.side.directory / "far.json"
        save_inventory(taken, str(path))
        return path


@pytest.fixture
def far(tmp_path: Path) -> Far:
    side = Side(tmp_path)
    side.destination = f"oci:{tmp_path / 'far'}"
    side.mirror = sparse("arm64")
    return Far(side)


def states(done: Imported) -> list[str]:
    return sorted(f"{one.change.short} {one.change.state.value}" for one in done.report.results)


def test_a_sparse_index_arrives_with_its_digest_and_the_selected_images(far: Far) -> None:
    both = multi_platform("app")
    far.side.seed({"app:1": both})
    far.side.create("out")
    assert states(far.apply("out")) == ["app:1 new"]
    assert far.has(both, *both.children) == [True, False, True]
    assert states(far.apply("out")) == ["app:1 unchanged"]


def test_more_images_of_a_sparse_index_arrive_with_a_later_bundle(far: Far) -> None:
    """Its digest is the same. Another index of the repository, that the bundle does not carry, is left alone."""
    both, other = multi_platform("app"), multi_platform("other")
    far.side.seed({"app:1": both, "app:2": other})
    far.side.create("first")
    far.apply("first")
    far.side.mirror = {"tags": ["1"], **sparse("arm64", "amd64")}
    far.side.create("second", far.inventory())
    amd64, arm64 = map(all_content, both.children)
    assert content(far.side.directory / "second").keys() == {both.digest, *(amd64.keys() - arm64.keys())}
    assert states(far.apply("second")) == ["app:1 incomplete"]
    assert far.has(both, *both.children) == [True, True, True]
    assert states(far.apply("second")) == ["app:1 unchanged"]
    assert far.side.create("none", far.inventory()).bundle is None


@pytest.mark.parametrize("have", ["inventory", "sent", "document", "generation"])
def test_what_the_far_side_lacks_of_an_index_is_sent_once_the_spec_wants_all(far: Far, have: str) -> None:
    """The tag names the index already. What is known of the far side says that images of it are missing."""
    both = multi_platform("app")
    amd64, arm64 = map(all_content, both.children)
    far.side.seed({"app:1": both})
    if have == "generation":
        asyncio.run(apply_spec(far.side.wanted().spec, environment=far.side.environment))
    else:
        far.side.create("first")
        far.apply("first")
    far.side.mirror = {}
    known = {"sent": "sent", "document": str(far.side.directory / "first"), "generation": "generation:1"}
    far.side.create("second", far.inventory() if have == "inventory" else known[have])
    assert content(far.side.directory / "second").keys() == {both.digest, *(amd64.keys() - arm64.keys())}
    assert states(far.apply("second")) == ["app:1 incomplete"]
    assert far.has(both, *both.children) == [True, True, True]
    assert far.side.create("none", far.inventory()).bundle is None


def test_an_image_that_an_index_has_lost_at_the_far_side_is_brought_back(far: Far) -> None:
    """By whatever has removed it there: the bundle carries the index, so its tag does not vouch for its images."""
    both = multi_platform("app")
    far.side.mirror = {}
    far.side.seed({"app:1": both})
    far.side.create("out")
    far.apply("out")
    lost = far.disk / "blobs/sha256" / both.children[0].digest.partition(":")[2]
    lost.unlink()
    assert states(far.apply("out")) == ["app:1 incomplete"]
    assert lost.read_bytes() == both.children[0].raw
    lost.unlink()
    far.side.create("again", far.inventory())
    amd64, arm64 = map(all_content, both.children)
    assert content(far.side.directory / "again").keys() == {both.digest, *(amd64.keys() - arm64.keys())}
    assert states(far.apply("again")) == ["app:1 incomplete"]


def test_a_sparse_index_waits_for_its_parts_and_is_complete_without_them(far: Far) -> None:
    both = multi_platform("app", "with much in it" * 1000)
    far.side.seed({"app:1": both})
    done = far.side.create("out", part_size=20_000)
    assert done.bundle is not None
    assert len(done.bundle.parts) > 1
    parts = sorted((far.side.directory / "out").glob("*.tar"))
    for part in parts[1:]:
        part.rename(part.with_suffix(".away"))
    assert states(far.apply("out")) == ["app:1 delayed"]
    for part in parts[1:]:
        part.with_suffix(".away").rename(part)
    assert states(far.apply("out")) == ["app:1 new"]
    for part in parts[1:]:
        part.unlink()
    assert states(far.apply("out")) == ["app:1 unchanged"]


def test_that_a_registry_rejects_sparse_indexes_is_said(
    far: Far, mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    far.side.destination = f"{registry.host}/{unique}"
    far.side.seed({"app:1": multi_platform("app")})
    far.side.create("out")
    out, plain = far.side.directory / "out", "--tls-verify=false"
    done = mirrorsync("bundle", "apply", out, "--to", far.side.destination, plain, code=1)
    assert "the registry rejects an index of which images are missing (platforms: index: sparse)" in done.err
