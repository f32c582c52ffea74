"""`prune:` deletes what this mirror has put and nothing wants any more, and nothing else, at real registries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, layer
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import Server
from tests.parts.wire import Registry


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


class Site:
    """A source with three tags of a repository `app`, behind a proxy, and a destination that deletes."""

    def __init__(self, run: Mirrorsync, proxy: Proxy, target: Server) -> None:
        self.run, self.proxy, self.target = run, proxy, target
        self.source = Registry(proxy.upstream)

    def push(self, *tags: str) -> None:
        for tag in tags:
            self.source.push("app", made(tag), tag)

    def spec(self, tags: Any, prune: Any = None, **keys: Any) -> None:
        entry = {"from": f"{self.proxy.host}/app", "tags": tags, **keys}
        more = {} if prune is None else {"prune": prune}
        self.run.spec(
            {
                "registries": plain(self.proxy.host, self.target.host),
                "destinations": {"there": f"{self.target.host}/m"},
                "mirrors": [entry],
                **more,
            }
        )

    def held(self) -> set[str]:
        return set(Registry(self.target.host).tags("m/app"))

    def put(self, tag: str, what: str) -> None:
        """Push to the destination, as another client."""
        Registry(self.target.host).push("m/app", made(what), tag)


@pytest.fixture(params=["docker-registry", "serve"])
def site(
    request: pytest.FixtureRequest, mirrorsync: Mirrorsync, registry: DockerRegistry, tmp_path: Path, unique: str
) -> Iterator[Site]:
    open_one: Callable[[Path], Server] = DockerRegistry if request.param == "docker-registry" else Serve
    with (
        DockerRegistry(tmp_path / "source") as source,
        Proxy(source.host) as proxy,
        open_one(tmp_path / "target") as target,
    ):
        site = Site(mirrorsync, proxy, target)
        site.push("1", "2", "3")
        site.spec({"all": True})
        mirrorsync("apply", code=0)
        yield site


def test_tags_that_no_mirror_wants_are_deleted(site: Site) -> None:
    site.spec({"glob": ["3"]}, prune={})
    shown = site.run("plan", code=0).out
    assert len(re.findall(r"^deleted ", shown, re.MULTILINE)) == 2
    assert site.held() == {"1", "2", "3"}, "a plan deletes nothing"
    report = site.run("apply", "--json", code=0).json()
    assert sorted((one["tag"], one["state"], one["outcome"]) for one in report["images"]) == [
        ("1", "deleted", "done"),
        ("2", "deleted", "done"),
        ("3", "unchanged", "unchanged"),
    ]
    assert site.held() == {"3"}
    assert "nothing to do" in site.run("apply", code=0).out


def test_without_the_key_nothing_is_deleted(site: Site) -> None:
    site.spec({"glob": ["3"]})
    site.run("apply", code=0)
    assert site.held() == {"1", "2", "3"}


def test_a_tag_that_another_client_has_set_is_kept_and_said(site: Site) -> None:
    site.put("1", "something else")
    site.put("own", "of another client")
    site.spec({"glob": ["3"]}, prune={})
    done = site.run("apply", code=0)
    assert "1 tag that no mirror wants is kept: another client has set it" in done.err
    assert site.held() == {"1", "3", "own"}


def test_more_than_max_deletes_deletes_nothing_and_ends_with_1(site: Site) -> None:
    site.push("4")
    site.spec({"glob": ["3", "4"]}, prune={"max_deletes": 1})
    done = site.run("apply", code=1)
    assert "2 tags are not wanted any more, and max_deletes allows 1" in done.err
    assert site.held() == {"1", "2", "3", "4"}, "what is new is copied all the same"
    site.spec({"glob": ["3", "4"]}, prune={"max_deletes": "60%"})
    site.run("apply", code=0)
    assert site.held() == {"3", "4"}


def test_a_source_that_cannot_be_listed_deletes_nothing(site: Site) -> None:
    site.proxy.answer(path_has("app/tags/list"), 403)
    site.spec({"glob": ["3"]}, prune={})
    done = site.run("apply", code=1)
    assert "its source could not be listed" in done.err
    assert site.held() == {"1", "2", "3"}


@pytest.mark.parametrize("listed", [[], ["3"], None])
def test_a_source_that_lists_nothing_or_only_some_of_its_tags_deletes_nothing(
    site: Site, listed: list[str] | None
) -> None:
    body = json.dumps({"name": "app", "tags": listed}).encode()
    site.proxy.answer(path_has("app/tags/list"), 200, body, {"Content-Type": "application/json"})
    site.spec({"glob": ["[0-9]"]}, prune={"max_deletes": "100%"}, allow_empty=True)
    site.run("apply", code=0)
    assert site.held() == {"1", "2", "3"}


def test_a_lost_state_file_deletes_nothing(site: Site) -> None:
    for path in (site.run.home / ".local/state/mirrorsync").iterdir():
        path.unlink()
    site.run("apply", code=0)
    site.spec({"glob": ["3"]}, prune={})
    site.run("apply", code=0)
    assert site.held() == {"1", "2", "3"}
    site.spec({"glob": ["3"]}, prune={"adopt": True})
    site.run("apply", code=0)
    assert site.held() == {"3"}, "adopted tags go if the spec says so"


def test_a_run_of_only_some_mirrors_deletes_nothing(site: Site) -> None:
    site.spec({"glob": ["3"]}, prune={})
    site.run("apply", "--only", f"{site.proxy.host}/app", code=0)
    assert site.held() == {"1", "2", "3"}


def test_a_tag_whose_manifest_another_tag_needs_never_takes_that_tag_with_it(site: Site) -> None:
    site.source.push("app", made("3"), "3-again")
    site.spec({"all": True})
    site.run("apply", code=0)
    site.spec({"glob": ["3"]}, prune={})
    site.run("apply", code=0)
    assert "3" in site.held()
    assert not {"1", "2"} & site.held()
    site.run("apply", code=0)


def test_a_manifest_that_a_wanted_tag_gets_in_the_same_run_stays(site: Site) -> None:
    site.source.push("app", made("1"), "3")
    site.spec({"glob": ["3"]}, prune={})
    plan = site.run("plan", "--json", code=0).json()
    steps = {step["tag"]: step["stays"] for step in plan["steps"] if step["do"] == "delete-tag"}
    assert steps == {"1": True, "2": False}
    site.run("apply", code=0)
    assert "3" in site.held()
    assert Registry(site.target.host).holds("m/app", made("1"), "3")
    assert "nothing to do" in site.run("apply", code=0).out or site.held() == {"1", "3"}


def test_tags_of_one_manifest_go_together(site: Site) -> None:
    site.source.push("app", made("1"), "1-again")
    site.spec({"all": True})
    site.run("apply", code=0)
    site.spec({"glob": ["3"]}, prune={})
    site.run("apply", code=0)
    assert site.held() == {"3"}


def test_a_saved_plan_deletes_what_it_shows_and_goes_on(site: Site) -> None:
    site.spec({"glob": ["3"]}, prune={})
    site.run("plan", "--output", "plan.json", code=0)
    site.run("apply", "plan.json", code=0)
    assert site.held() == {"3"}
    site.run("apply", "plan.json", code=0)


def test_a_saved_plan_whose_tag_was_set_since_is_stale(site: Site) -> None:
    site.spec({"glob": ["3"]}, prune={})
    site.run("plan", "--output", "plan.json", code=0)
    site.put("1", "set since")
    site.run("apply", "plan.json", code=5)
    assert site.held() == {"1", "2", "3"}


def test_a_layout_loses_the_blobs_that_nothing_needs(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    for tag in ("1", "2"):
        Registry(registry.host).push(f"{unique}/app", made(tag), tag)

    def spec(tags: list[str]) -> None:
        mirrorsync.spec(
            {
                "registries": plain(registry.host),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": tags}],
                "prune": {},
            }
        )

    blobs = mirrorsync.directory / "disk/blobs/sha256"
    spec(["1", "2"])
    mirrorsync("apply", code=0)
    before = len(list(blobs.iterdir()))
    spec(["2"])
    mirrorsync("apply", code=0)
    assert len(list(blobs.iterdir())) < before
    mirrorsync("verify", code=0)


@pytest.mark.parametrize(
    "value",
    [
        {"max_deletes": 0},
        {"max_deletes": "0%"},
        {"max_deletes": "101%"},
        {"max_deletes": "many"},
        {"keep": []},
        {"keep_generations": 0},
    ],
)
def test_a_mistake_in_the_key_is_an_error_of_the_spec(site: Site, value: dict[str, Any]) -> None:
    site.spec({"all": True}, prune=value)
    assert "prune" in site.run("validate", code=2).err
