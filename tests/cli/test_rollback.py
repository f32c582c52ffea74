"""`mirrorsync rollback`: every tag names again what it named in an earlier generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.test_min_age import Site
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, layer
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import Server
from tests.parts.wire import Registry


class TwoSites(Site):
    """A source, and a destination at another registry, with two generations: tag 1 has moved, and 2 is new."""

    def __init__(self, run: Mirrorsync, source: Server, target: Server) -> None:
        super().__init__(run, source.host, "x")
        self.there = Registry(target.host)
        self.target = "m/app"
        self.run.spec(
            {
                "registries": plain(source.host, target.host),
                "destinations": {"corp": f"{target.host}/m"},
                "mirrors": [{"from": f"{source.host}/x/app", "tags": {"all": True}, "name": "app"}],
            }
        )
        self.first = self.push("1", "one")
        self.run("apply", code=0)
        self.second = self.push("1", "another one")
        self.push("2", "two")
        self.run("apply", code=0)

    def digest(self, tag: str) -> str:
        return self.there.manifest(self.target, tag).headers["Docker-Content-Digest"]

    def held(self) -> set[str]:
        return set(self.there.tags(self.target))


@pytest.fixture(params=["docker-registry", "serve"])
def site(request: pytest.FixtureRequest, mirrorsync: Mirrorsync, tmp_path: Path) -> Iterator[TwoSites]:
    open_one: Callable[[Path], Server] = DockerRegistry if request.param == "docker-registry" else Serve
    with DockerRegistry(tmp_path / "source") as source, open_one(tmp_path / "target") as target:
        yield TwoSites(mirrorsync, source, target)


def test_tags_name_again_what_they_named_then_without_a_blob_sent(site: TwoSites) -> None:
    assert site.digest("1") == site.second
    shown = site.run("rollback", "--dry-run", "1", code=0).out
    assert "moved" in shown
    assert site.digest("1") == site.second, "a dry run changes nothing"
    report = site.run("rollback", "1", "--json", code=0).json()
    assert site.digest("1") == site.first
    assert report["counts"]["read"] == report["counts"]["written"] == {"blobs": 0, "bytes": 0}
    assert site.held() == {"1", "2"}, "a newer tag stays"
    assert "nothing to do" in site.run("rollback", "1", code=0).out


def test_a_rollback_is_a_run_with_a_generation_of_its_own(site: TwoSites) -> None:
    site.run("rollback", "1", code=0)
    assert "generation 3" in site.run("history", code=0).out.splitlines()[-1]
    site.run("rollback", "2", code=0)
    assert site.digest("1") == site.second
    site.run("apply", code=0)
    assert site.digest("1") == site.second


def test_content_that_the_destination_has_lost_comes_from_the_source_again(site: TwoSites) -> None:
    site.there.delete(site.target, site.first)
    site.run("rollback", "1", code=0)
    assert site.digest("1") == site.first


def test_an_image_that_is_nowhere_any_more_is_named_and_the_rest_goes_back(site: TwoSites) -> None:
    kept = site.push("3", "three")
    site.run("apply", code=0)
    site.push("3", "newer")
    site.run("apply", code=0)
    for registry, repository in ((site.there, site.target), (site.registry, site.source)):
        registry.delete(repository, kept)
    done = site.run("rollback", "3", code=3)
    assert "m/app:3: destination" not in done.err
    assert f"the destination and the source do not have {kept} any more" in done.err


def test_a_generation_that_does_not_exist_is_refused_with_those_that_do(site: TwoSites) -> None:
    assert "there is no generation 7: there are 1 to 2" in site.run("rollback", "7", code=2).err


def test_a_tag_that_another_client_has_set_since_goes_back_too_and_is_shown(site: TwoSites) -> None:
    site.there.push(site.target, image([layer({"what": b"own"})]), "1")
    assert "moved" in site.run("rollback", "1", "--dry-run", code=0).out
    site.run("rollback", "1", code=0)
    assert site.digest("1") == site.first
