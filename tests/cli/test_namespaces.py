"""A namespace as the source: the repositories that a registry lists, and what its refusal or a partial list does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, image, layer
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import Server
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

JSON = {"Content-Type": "application/json"}
ALL = ["other/four", "team/app-one", "team/app-two", "team/sub/three"]


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


class Site:
    """A source with four repositories, behind a proxy, and a destination that deletes."""

    def __init__(self, run: Mirrorsync, proxy: Proxy, target: DockerRegistry) -> None:
        self.run, self.proxy, self.target = run, proxy, target
        self.source = Registry(proxy.upstream)
        for name in ALL:
            for tag in ("1", "2"):
                self.source.push(name, made(f"{name} {tag}"), tag)

    def spec(self, pattern: str | list[str], tags: Any = None, prune: Any = None, **keys: Any) -> None:
        sources = [f"{self.proxy.host}/{one}" for one in ([pattern] if isinstance(pattern, str) else pattern)]
        entry = {"from": sources if isinstance(pattern, list) else sources[0], "tags": tags or {"all": True}, **keys}
        more = {} if prune is None else {"prune": prune}
        self.run.spec(
            {
                "registries": plain(self.proxy.host, self.target.host),
                "destinations": {"there": f"{self.target.host}/m"},
                "mirrors": [entry],
                **more,
            }
        )

    def catalog(self, *names: str) -> None:
        self.proxy.answer(path_has("_catalog"), 200, json.dumps({"repositories": names}).encode(), JSON)

    def wanted(self, *words: str, code: int = 0) -> list[str]:
        images = self.run("images", "--json", *words, code=code).json()["images"]
        return sorted({found["source"]["repository"] for found in images})

    def held(self) -> set[str]:
        there = Registry(self.target.host)
        return {f"{name}:{tag}" for name in ALL for tag in there.tags(f"m/{name}")}


@pytest.fixture(params=["docker-registry", "serve"])
def site(request: pytest.FixtureRequest, mirrorsync: Mirrorsync, tmp_path: Path) -> Iterator[Site]:
    open_one: Callable[[Path], Server] = DockerRegistry if request.param == "docker-registry" else Serve
    with (
        open_one(tmp_path / "source") as source,
        Proxy(source.host) as proxy,
        DockerRegistry(tmp_path / "target") as target,
    ):
        yield Site(mirrorsync, proxy, target)


PATTERNS: list[tuple[str, list[str], list[str]]] = [
    ("team/*", [], ["team/app-one", "team/app-two", "team/sub/three"]),
    ("team/app-*", [], ["team/app-one", "team/app-two"]),
    ("team/app-[a-o]*", [], ["team/app-one"]),
    ("*", [], ALL),
    ("*", ["team/*"], ["other/four"]),
    ("team/*", ["app-*"], ["team/sub/three"]),
]


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_a_pattern_means_the_repositories_that_match_and_are_not_excluded(site: Site) -> None:
    for pattern, excluded, names in PATTERNS:
        site.spec(pattern, **({"exclude_repositories": excluded} if excluded else {}))
        assert site.wanted() == names, (pattern, excluded)


def test_a_namespace_is_mirrored_planned_saved_and_verified(site: Site) -> None:
    site.spec("team/*", {"semver": ">=2"})
    site.run("plan", "--output", "saved.plan", code=0)
    assert "3 done" in site.run("apply", "saved.plan", code=0).out
    assert site.held() == {"team/app-one:2", "team/app-two:2", "team/sub/three:2"}
    assert "nothing to do" in site.run("plan", code=0).out
    assert site.run("verify", code=0).out.startswith("3 images complete; ")
    site.source.push("team/new", made("new"), "2")
    assert "1 done" in site.run("apply", code=0).out, "the next run finds new repositories"


def test_the_catalog_is_read_once_for_several_mirrors_and_in_pages(site: Site) -> None:
    first = json.dumps({"repositories": ["other/four"]}).encode()
    link = {"Link": '</v2/_catalog?n=1000&last=other%2Ffour>; rel="next"', **JSON}
    site.proxy.answer(lambda _, path: path.endswith("_catalog?n=1000"), 200, first, link)
    site.spec(["team/app-*", "other/*"])
    assert site.wanted() == ["other/four", "team/app-one", "team/app-two"]
    asked = [path for _, path in site.proxy.requests if "_catalog" in path]
    assert len(asked) == 2, asked


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_a_registry_that_does_not_list_its_repositories_is_refused_with_what_to_write(site: Site) -> None:
    site.spec("team/*")
    for status in (401, 403, 404, 405):
        site.proxy.answer(path_has("_catalog"), status)
        done = site.run("plan", code=1)
        assert "the registry does not list its repositories" in done.err
        assert f"name them: from: [{site.proxy.host}/team/NAME, ...]" in done.err


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_service_without_tokens_for_the_catalog_is_refused_with_what_to_write(
    mirrorsync: Mirrorsync, status: int
) -> None:
    with Unruly(TinyRegistry()) as server:
        challenge = f'Bearer realm="{server.url}/token",service="tiny",scope="registry:catalog:*"'
        server.fault("answer", "GET", "_catalog", status=401, headers={"WWW-Authenticate": challenge})
        server.fault("answer", "GET", "/token", status=status)
        mirrorsync.spec(
            {
                "registries": plain(server.host),
                "destinations": {"disk": "oci:disk"},
                "mirrors": [{"from": f"{server.host}/org/app-*", "tags": {"all": True}}],
            }
        )
        done = mirrorsync("plan", code=1)
    assert f"log in with `mirrorsync login`; or name them: from: [{server.host}/org/NAME, ...]" in done.err


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_a_namespace_that_matches_no_repositories_is_a_failure_unless_it_may(site: Site) -> None:
    site.spec(["taem/*", "other/*"], name="x/{repository}")
    done = site.run("apply", code=3)
    assert "/taem/*: no repositories match; the source lists 4 repositories" in done.err
    assert "2 done" in done.out
    site.spec("taem/*", allow_empty=True)
    site.run("apply", code=0)
    site.catalog()
    site.spec("team/*")
    done = site.run("apply", code=3)
    assert "the source lists no repositories" in done.err
    assert f"name them: from: [{site.proxy.host}/team/NAME, ...]" in done.err


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_a_listed_repository_without_tags_is_not_a_failure(site: Site) -> None:
    site.catalog("team/app-one", "team/emptied")
    site.spec("team/*")
    assert site.wanted() == ["team/app-one"]
    site.catalog("team/emptied")
    assert "no tags match the filters" in site.run("plan", code=3).err


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_one_repository_that_fails_is_named_and_the_others_are_mirrored(site: Site) -> None:
    site.proxy.answer(path_has("team/app-two/tags/list"), 403)
    site.spec("team/*")
    done = site.run("apply", "--failed", "failed.txt", code=3)
    assert f"{site.proxy.host}/team/app-two" in done.err
    assert site.held() == {f"team/{name}:{tag}" for name in ("app-one", "sub/three") for tag in "12"}
    site.proxy.recover()
    site.run("apply", "--only-from", "failed.txt", code=0)
    assert len(site.held()) == 6


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_only_takes_a_whole_namespace_or_one_repository_of_it_without_the_catalog(site: Site) -> None:
    site.spec(["team/*", "other/*"])
    assert site.wanted("--only", "*/team/[*]") == ["team/app-one", "team/app-two", "team/sub/three"]
    site.proxy.requests.clear()
    two = [f"{site.proxy.host}/team/{name}" for name in ("app-two", "sub/three")]
    assert site.wanted("--only", two[0]) == ["team/app-two"]
    assert site.wanted("--only", two[0], "--only", two[1]) == ["team/app-two", "team/sub/three"]
    assert not [path for _, path in site.proxy.requests if "_catalog" in path]
    site.run("plan", "--only", two[0], "-o", "saved.plan", code=0)
    assert "2 done" in site.run("apply", "saved.plan", code=0).out
    assert "no mirror" in site.run("plan", "--only", f"{site.proxy.host}/elsewhere/x", code=2).err


def whole(site: Site) -> None:
    """Mirror the namespace, and want less of it: tag 1 of each repository is to go."""
    site.spec("team/*")
    site.run("apply", code=0)
    assert len(site.held()) == 6
    site.spec("team/*", {"glob": ["2"]}, prune={"max_deletes": "100%"}, allow_empty=True)


def test_tags_of_a_namespace_that_nothing_wants_are_pruned(site: Site) -> None:
    whole(site)
    site.run("apply", code=0)
    assert site.held() == {"team/app-one:2", "team/app-two:2", "team/sub/three:2"}
    site.spec("team/*", prune={"max_deletes": "100%"}, exclude_repositories=["three"])
    site.run("apply", code=0)
    assert site.held() == {f"team/{name}:{tag}" for name in ("app-one", "app-two") for tag in "12"}


LISTS: dict[str, tuple[int, bytes, dict[str, str], int]] = {
    "refused": (404, b"", {}, 1),
    "broken": (200, b"<html>", {"Content-Type": "text/html"}, 1),
    "empty": (200, b'{"repositories": []}', JSON, 0),
    "null": (200, b'{"repositories": null}', JSON, 0),
    "without this namespace": (200, b'{"repositories": ["other/four"]}', JSON, 0),
}


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
@pytest.mark.parametrize("case", LISTS)
def test_a_catalog_that_fails_or_has_nothing_deletes_nothing(site: Site, case: str) -> None:
    whole(site)
    status, body, headers, code = LISTS[case]
    site.proxy.answer(path_has("_catalog"), status, body, headers)
    before = site.held()
    done = site.run("apply", code=code)
    assert site.held() == before
    assert "its source could not be listed, or had no tags" in done.err


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_a_catalog_without_some_repositories_deletes_nothing_of_these(site: Site) -> None:
    whole(site)
    site.catalog("team/app-one")
    done = site.run("apply", code=0)
    assert site.held() == {"team/app-one:2"} | {
        f"team/{name}:{tag}" for name in ("app-two", "sub/three") for tag in "12"
    }
    assert "4 tags that no mirror wants are kept: its source has dropped it" in done.err


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_a_listed_repository_whose_tags_are_not_found_keeps_its_tags_and_nothing_is_claimed_of_it(site: Site) -> None:
    whole(site)
    site.proxy.answer(path_has("team/app-two/tags/list"), 404)
    site.spec("team/*", {"glob": ["2"]})
    unwanted = site.run("plan", "--json", code=0).json()["unwanted"]
    assert [one["target"]["repository"] for one in unwanted] == ["m/team/app-one", "m/team/sub/three"]
    site.spec("team/*", {"glob": ["2"]}, prune={})
    site.run("apply", code=0)
    assert site.held() == {"team/app-one:2", "team/app-two:1", "team/app-two:2", "team/sub/three:2"}


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_a_catalog_whose_second_page_fails_deletes_nothing(site: Site) -> None:
    whole(site)
    link = {"Link": '</v2/_catalog?n=1000&last=team%2Fapp-one>; rel="next"', **JSON}
    site.proxy.answer(path_has("_catalog"), 404)
    first = json.dumps({"repositories": ["team/app-one"]}).encode()
    site.proxy.answer(lambda _, path: path.endswith("_catalog?n=1000"), 200, first, link)
    site.run("apply", code=1)
    assert len(site.held()) == 6


@pytest.mark.parametrize("site", ["docker-registry"], indirect=True)
def test_two_repositories_with_one_name_at_the_destination_both_fail(site: Site) -> None:
    site.source.push("other/app-one", made("rival"), "1")
    site.spec("*/app-*", name="{basename}")
    done = site.run("apply", code=3)
    assert "are different images for the same tag" in done.err
    assert Registry(site.target.host).tags("m/app-one") == ["2"]


def test_a_part_of_a_layout_can_be_the_source(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    for name in ALL:
        Registry(registry.host).push(f"{unique}/{name}", made(name), "1")
    mirrors = [{"from": f"{registry.host}/{unique}/{name}", "tags": ["1"], "name": name} for name in ALL]
    mirrorsync.spec({"registries": plain(registry.host), "destinations": {"d": "oci:disk"}, "mirrors": mirrors})
    mirrorsync("apply", code=0)
    mirror = {"from": "oci:disk:team/*", "tags": {"all": True}, "exclude_repositories": ["three"]}
    mirrorsync.spec({"destinations": {"d": "oci:copy"}, "mirrors": [mirror]})
    images = mirrorsync("images", "--json", code=0).json()["images"]
    assert sorted(found["target"]["repository"] for found in images) == ["team/app-one", "team/app-two"]
