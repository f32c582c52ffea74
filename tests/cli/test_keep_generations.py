"""`prune: {keep_generations: N}`: tags go, and what the last generations need stays without a tag, for the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, index, layer
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry


def made(what: str) -> Image:
    """Return an index with one image of its own, so that what an index leads to counts too."""
    return index([image([layer({"what": what.encode()})])])


class Site:
    """A source with a repository `app`, and one destination: a layout, or a server that deletes single tags."""

    def __init__(self, run: Mirrorsync, source: str, target: str) -> None:
        self.run, self.target = run, target
        self.source = Registry(source)
        on_disk = target.startswith("oci:")
        self.hosts = [source] if on_disk else [source, target]
        self.words = [] if on_disk else ["--tls-verify=false"]
        self.scope = target if on_disk else f"{target}/m/app"

    def push(self, tag: str, what: str) -> str:
        return self.source.push("app", made(what), tag)

    def apply(self, tags: Any, keep: int | None = None, **prune: Any) -> dict[str, Any]:
        given = {**({"keep_generations": keep} if keep else {}), **prune}
        prefix = "" if self.target.startswith("oci:") else "/m"
        self.run.spec(
            {
                "registries": plain(*self.hosts),
                "destinations": {"there": f"{self.target}{prefix}"},
                "mirrors": [{"from": f"{self.source.host}/app", "tags": tags, "name": "app"}],
                "prune": given,
            }
        )
        report: dict[str, Any] = self.run("apply", "--json", code=0).json()
        return report

    def held(self) -> dict[str, str]:
        """Return the tags of the destination with their digests."""
        text = self.run("snapshot", *self.words, self.scope, "--output", "-", code=0).out
        lines = [line.strip().strip('"').rsplit(": ", 1) for line in text.splitlines() if "app:" in line]
        return {name.strip('"').rpartition(":")[2]: digest for name, digest in lines}

    def has(self, digest: str) -> bool:
        """Return whether the destination has a whole image by its digest."""
        name = f"{self.target}:app@" if self.target.startswith("oci:") else f"docker://{self.target}/m/app@"
        return self.run("inspect", *self.words, f"{name}{digest}").code == 0


@pytest.fixture
def site(mirrorsync: Mirrorsync, tmp_path: Path) -> Iterator[Site]:
    with DockerRegistry(tmp_path / "source") as source:
        yield Site(mirrorsync, source.host, f"oci:{tmp_path}/layout")


@pytest.fixture(params=["layout", "serve"])
def any_site(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Site]:
    if request.param == "layout":
        yield site
    else:
        with Serve(tmp_path / "target") as target:
            yield Site(site.run, site.source.host, target.host)


def test_the_way_back_to_a_kept_generation_sends_nothing_and_asks_no_source(any_site: Site) -> None:
    first, second = any_site.push("1", "one"), any_site.push("2", "two")
    any_site.apply(["1", "2"], 2)
    any_site.apply(["2"], 2)
    assert any_site.held() == {"2": second}
    assert any_site.has(first)
    any_site.source.delete("app", first)
    report = any_site.run("rollback", "1", "--json", code=0).json()
    assert report["counts"]["read"] == report["counts"]["written"] == {"blobs": 0, "bytes": 0}
    assert any_site.held() == {"1": first, "2": second}
    any_site.run("verify", code=0)


def test_what_only_generations_beyond_the_kept_ones_need_goes_with_the_next_run(any_site: Site) -> None:
    first, second = any_site.push("1", "one"), any_site.push("2", "two")
    any_site.apply(["1", "2"], 2)
    moved = any_site.push("2", "another two")
    any_site.apply(["2"], 2)
    assert any_site.has(first)
    assert any_site.has(second), "a tag that was moved leaves its image too"
    again = any_site.push("2", "yet another")
    any_site.apply(["2"], 2)
    assert any_site.has(first), "generation 1 was one of the last two when the run was planned"
    report = any_site.apply(["2"], 2)
    deleted = {one["before"]["digest"]: one["tag"] for one in report["images"] if one["state"] == "deleted"}
    assert deleted == {first: None, second: None}
    assert not any_site.has(first)
    assert not any_site.has(second)
    assert any_site.has(moved)
    assert any_site.has(again)
    assert "nothing to do" in any_site.run("apply", code=0).out
    assert any_site.run("rollback", "2", "--json", code=0).json()["counts"]["read"]["blobs"] == 0


def test_an_image_that_a_kept_or_tagged_index_needs_is_not_dropped(site: Site) -> None:
    inner = image([layer({"what": b"inner"})])
    whole = index([inner, image([layer({"what": b"other"})])])
    site.source.push("app", inner, "inner")
    site.source.push("app", whole, "whole")
    site.push("x", "x")
    site.apply(["inner", "whole", "x"], 2)
    for _ in range(2):
        site.apply(["whole", "x"], 2)
    assert site.has(inner.digest)
    for _ in range(2):
        site.apply(["x"], 2)
    assert site.has(inner.digest)
    assert site.has(whole.digest), "generation 2 has it, without a tag now"
    assert site.run("rollback", "2", "--json", code=0).json()["counts"]["read"]["blobs"] == 0
    site.run("verify", code=0)


def test_a_tag_that_moves_back_to_an_image_that_is_to_go_keeps_it(site: Site) -> None:
    first = site.push("1", "one")
    site.apply(["1"], 1)
    site.push("1", "two")
    site.apply(["1"], 1)
    site.push("1", "one")
    site.apply(["1"], 1)
    assert site.held() == {"1": first}
    site.run("verify", code=0)


def test_without_the_key_a_layout_drops_the_image_with_its_tag(site: Site) -> None:
    first = site.push("1", "one")
    site.push("2", "two")
    site.apply(["1", "2"])
    site.apply(["2"])
    assert not site.has(first)


def test_a_tag_that_a_registry_deletes_only_with_its_image_is_kept_and_said(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    # Debian's docker-registry is distribution 2.8, which does not delete single tags.
    with DockerRegistry(tmp_path / "source") as source, DockerRegistry(tmp_path / "target") as target:
        site = Site(mirrorsync, source.host, target.host)
        first, second = site.push("1", "one"), site.push("2", "two")
        site.apply(["1", "2"], 2)
        site.apply(["2"], 2)
        assert site.held() == {"1": first, "2": second}
        done = site.run("apply", code=0)
        assert "the registry deletes it only with its image, which a wanted tag or generation needs" in done.err
        site.apply(["2"])
        assert site.held() == {"2": second}


def test_a_tag_that_its_source_has_dropped_is_kept_after_a_rollback_too(site: Site) -> None:
    first = site.push("1", "one")
    second = site.push("2", "two")
    site.apply({"all": True})
    moved = site.push("1", "another one")
    site.apply({"all": True})
    site.run("rollback", "1", code=0)
    for digest in (first, moved):
        site.source.delete("app", digest)
    site.apply({"glob": ["2"]})
    assert site.held() == {"1": first, "2": second}


def test_the_age_of_a_tag_does_not_count_from_a_list_that_lacks_it(site: Site) -> None:
    first = site.push("1", "one")
    site.push("2", "two")
    site.apply({"all": True})
    site.source.delete("app", first)
    site.apply({"all": True, "max_age": "30d"})
    site.run("state", "export", "state.json", code=0)
    listed = json.loads((site.run.directory / "state.json").read_text())["listed"]
    assert [one["tag"] for one in listed] == ["2"]


def test_a_saved_plan_drops_what_it_shows(site: Site) -> None:
    first = site.push("1", "one")
    site.push("2", "two")
    site.apply(["1", "2"], 1)
    site.apply(["2"], 1)
    shown = site.run("plan", "--output", "plan.json", "--exit-code", code=10).out
    assert site.has(first)
    assert "deleted" in shown
    site.run("apply", "plan.json", code=0)
    assert not site.has(first)
    text = (site.run.directory / "mirror.yaml").read_text()
    site.run("apply", "plan.json", code=0)
    (site.run.directory / "mirror.yaml").write_text(text.replace('"keep_generations": 1', '"max_deletes": 1'))
    assert site.run("apply", "plan.json", code=5).out == ""
