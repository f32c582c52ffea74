"""`min_age`: what a mirror has not known for long enough waits, and what it holds stays meanwhile."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, layer, multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


class Site:
    """A source `app` at a registry, and a destination at the same one."""

    def __init__(self, run: Mirrorsync, host: str, unique: str) -> None:
        self.run = run
        self.registry = Registry(host)
        self.host, self.source, self.target = host, f"{unique}/app", f"{unique}/m/app"

    def push(self, tag: str, what: str) -> str:
        return self.registry.push(self.source, image([layer({"what": what.encode()})]), tag)

    def spec(self, tags: Any, **keys: Any) -> None:
        entry = {"from": f"{self.host}/{self.source}", "name": "app", "tags": tags, **keys}
        target = self.target.removesuffix("/app")
        self.run.spec(
            {"registries": plain(self.host), "destinations": {"corp": f"{self.host}/{target}"}, "mirrors": [entry]}
        )

    def held(self) -> set[str]:
        return set(self.registry.tags(self.target))

    def digest(self, tag: str) -> str:
        return self.registry.manifest(self.target, tag).headers["Docker-Content-Digest"]

    def days_pass(self, days: int) -> None:
        """Let all that was seen so far have been seen some days earlier."""
        (path,) = (self.run.home / ".local/state/mirrorsync").glob("*.sqlite")
        with sqlite3.connect(path) as connection:
            for table in ("seen", "listed"):
                connection.execute(f"UPDATE {table} SET first = strftime('%Y-%m-%dT%H:%M:%SZ', first, '-{days} days')")
        connection.close()


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Site:
    return Site(mirrorsync, registry.host, unique)


def test_a_new_image_waits_and_is_mirrored_when_it_is_old_enough(site: Site) -> None:
    site.push("1", "one")
    site.spec(["1"], min_age="3d")
    report = site.run("apply", "--json", code=0).json()
    assert [(one["state"], one["outcome"]) for one in report["images"]] == [("delayed", "delayed")]
    assert "min_age 3d: first seen" in report["images"][0]["reason"]
    assert site.held() == set()
    site.days_pass(2)
    shown = site.run("plan", code=0).out
    assert "delayed" in shown
    assert "nothing to do" not in shown
    site.run("apply", code=0)
    assert site.held() == set()
    site.days_pass(2)
    site.run("apply", code=0)
    assert site.held() == {"1"}


def test_a_moved_tag_waits_and_the_present_image_stays(site: Site) -> None:
    first = site.push("1", "one")
    site.spec(["1"])
    site.run("apply", code=0)
    moved = site.push("1", "compromised?")
    site.spec(["1"], min_age="3d")
    site.run("apply", code=0)
    assert site.digest("1") == first
    site.days_pass(1)
    withdrawn = site.push("1", "the fixed one")
    site.run("apply", code=0)
    site.days_pass(2)
    site.run("apply", code=0)
    assert site.digest("1") == first, "the fixed one is two days old"
    site.days_pass(1)
    site.run("apply", code=0)
    assert site.digest("1") == withdrawn != moved


def test_other_platforms_of_a_known_index_do_not_start_the_time_again(site: Site) -> None:
    made = multi_platform("app")
    site.registry.push(site.source, made, "1")
    site.spec(["1"], min_age="3d", platforms=["linux/amd64"])
    site.run("apply", code=0)
    site.days_pass(4)
    site.spec(["1"], min_age="3d", platforms={"only": ["linux/arm64"], "index": "rewrite"})
    site.run("apply", code=0)
    assert site.digest("1") not in (made.digest, *(child.digest for child in made.children))


def test_a_plan_does_not_start_the_time(site: Site) -> None:
    site.push("0", "zero")
    site.spec(["0"])
    site.run("apply", code=0)
    site.push("1", "one")
    site.spec(["0", "1"], min_age="3d")
    site.run("plan", code=0)
    site.days_pass(4)
    assert "delayed" in site.run("plan", code=0).out


def test_while_the_newest_waits_the_one_before_it_is_mirrored(site: Site) -> None:
    for tag in ("1.0", "1.1"):
        site.push(tag, tag)
    site.spec({"semver": ">=1", "newest": 1}, min_age="3d")
    site.run("apply", code=0)
    site.days_pass(4)
    site.push("1.2", "1.2")
    site.run("apply", code=0)
    assert site.held() == {"1.1"}
    site.days_pass(4)
    site.run("apply", code=0)
    assert site.held() == {"1.1", "1.2"}


def test_an_image_named_by_its_digest_does_not_wait(site: Site) -> None:
    pinned = site.push("1", "one")
    site.spec([f"1@{pinned}"], min_age="3d")
    site.run("apply", code=0)
    assert site.held() == {"1"}


def test_a_lost_state_file_lets_images_wait_again_and_takes_none_away(site: Site) -> None:
    held = site.push("1", "one")
    site.spec(["1", "2"])
    site.push("2", "two")
    site.run("apply", code=0)
    (path,) = (site.run.home / ".local/state/mirrorsync").glob("*.sqlite")
    path.unlink()
    site.push("2", "newer")
    site.spec(["1", "2"], min_age="3d")
    report = site.run("apply", "--json", code=0).json()
    assert {one["tag"]: one["outcome"] for one in report["images"]} == {"1": "unchanged", "2": "delayed"}
    assert (site.digest("1"), site.held()) == (held, {"1", "2"})


def test_a_spec_without_a_memory_says_what_that_means(site: Site) -> None:
    site.push("1", "one")
    site.spec(["1"], min_age="3d")
    assert "min_age lets new images wait for ever" in site.run("apply", env={"HOME": ""}, code=0).err


@pytest.mark.parametrize("value", ["soon", "3", "-1d", ""])
def test_what_is_not_a_duration_is_an_error_of_the_spec(site: Site, value: str) -> None:
    site.spec(["1"], min_age=value)
    assert "min_age" in site.run("validate", code=2).err


def test_tags_that_are_known_for_too_long_are_not_wanted(site: Site) -> None:
    site.push("nightly-1", "one")
    site.spec({"all": True, "max_age": "14d"}, allow_empty=True)
    site.run("apply", code=0)
    site.days_pass(15)
    site.push("nightly-2", "two")
    report = site.run("apply", "--json", code=0).json()
    assert [one["tag"] for one in report["images"]] == ["nightly-2"]
