"""`immutable` and `on_change`: what they keep, what they refuse, and how few requests they need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import Server
from tests.parts.wire import Registry, ask

_SERVED = re.compile(rb"event=request client=\S+ method=(\w+) path=(\S+)")


def made(what: str) -> Image:
    return image([layer({"what": what.encode()})])


@dataclass
class Site:
    """A source and a destination of one kind; `tags` of a repository `app`."""

    run: Mirrorsync
    source: Server
    target: Server
    more: dict[str, Any]

    def push(self, tag: str, what: str) -> str:
        return Registry(self.source.host).push("app", made(what), tag)

    def held(self, tag: str) -> str:
        return Registry(self.target.host).manifest("app", tag).headers["Docker-Content-Digest"]

    def spec(self, **keys: Any) -> None:
        entry = {"from": f"{self.source.host}/app", "tags": ["v1", "v2", "edge"], **keys}
        hosts = plain(self.source.host) | plain(self.target.host)
        destinations = {"there": f"{self.target.host}", **self.more}
        self.run.spec({"registries": hosts, "destinations": destinations, "mirrors": [entry]})

    def asked(self, server: Server) -> list[str]:
        """Return the requests for content that a server has answered so far, as `METHOD path`."""
        if isinstance(server, DockerRegistry):
            found = [(one.method, one.path) for one in server.requests()]
        else:
            ask("GET", f"http://{server.host}/v2/")  # answered after the lines of all requests before were written
            found = [(method.decode(), path.decode()) for method, path in _SERVED.findall(server.log.read_bytes())]
        return [f"{method} {path}" for method, path in found if "/app/" in path]


@pytest.fixture(params=["docker-registry", "serve"])
def site(request: pytest.FixtureRequest, mirrorsync: Mirrorsync, tmp_path: Path) -> Iterator[Site]:
    """Return a source with three tags, and a destination that holds them."""
    open_one: Callable[[Path], Server] = DockerRegistry if request.param == "docker-registry" else _serve
    with open_one(tmp_path / "source") as source, open_one(tmp_path / "target") as target:
        site = Site(mirrorsync, source, target, {})
        for tag in ("v1", "v2", "edge"):
            site.push(tag, tag)
        site.spec()
        mirrorsync("apply", code=0)
        yield site


def _serve(directory: Path) -> Server:
    return Serve(directory, "-v")


def test_a_run_with_only_immutable_and_present_tags_makes_no_request_to_the_source(site: Site) -> None:
    site.spec(immutable=["v*", "edge"])
    for tag in ("v1", "edge"):
        site.push(tag, f"another {tag}")
    before = len(site.asked(site.source)), len(site.asked(site.target))
    done = site.run("apply", code=0)
    assert "nothing to do: 3 images" in done.out
    assert site.asked(site.source)[before[0] :] == []
    assert [one.partition("?")[0] for one in site.asked(site.target)[before[1] :]] == ["GET /v2/app/tags/list"]


def test_immutable_tags_are_asked_for_one_by_one_if_the_memory_of_their_mirror_is_lost(site: Site) -> None:
    site.spec(immutable=["v*", "edge"])
    for state in (site.run.home / ".local/state/mirrorsync").glob("*.sqlite*"):
        state.unlink()
    before = len(site.asked(site.source)), len(site.asked(site.target))
    assert "nothing to do: 3 images" in site.run("apply", code=0).out
    assert site.asked(site.source)[before[0] :] == []
    assert sorted(site.asked(site.target)[before[1] :]) == [
        f"HEAD /v2/app/manifests/{tag}" for tag in ("edge", "v1", "v2")
    ]


def test_an_immutable_tag_that_the_destination_has_lost_is_copied_again(site: Site) -> None:
    site.spec(immutable=["v*", "edge"])
    held = site.held("v1")
    site.run("delete", "--yes", "--tls-verify=false", f"docker://{site.target.host}/app:v1", code=0)
    assert "1 done, 2 unchanged" in site.run("apply", code=0).out
    assert site.held("v1") == held


def test_only_tags_that_are_not_immutable_or_not_present_are_asked_for(site: Site) -> None:
    site.spec(immutable=["v*"], tags=["v1", "v2", "v3", "edge"])
    newer = site.push("v3", "v3")
    edge = site.push("edge", "another edge")
    before = len(site.asked(site.source))
    site.run("apply", code=0)
    asked = site.asked(site.source)[before:]
    assert [one for one in asked if "/manifests/v" in one or "/manifests/edge" in one] == [
        "HEAD /v2/app/manifests/edge",
        "HEAD /v2/app/manifests/v3",
    ] or sorted(one.split("/")[-1] for one in asked if "HEAD" in one) == ["edge", "v3"]
    assert not [one for one in asked if one.endswith(("/v1", "/v2"))]
    assert (site.held("v3"), site.held("edge")) == (newer, edge)


@pytest.mark.parametrize("verb", [("verify",), ("plan", "--deep"), ("apply", "--deep")], ids=" ".join)
def test_an_immutable_tag_moved_at_its_source_is_a_failure_and_never_an_update(
    site: Site, verb: tuple[str, ...]
) -> None:
    site.spec(immutable=["v*"])
    held = site.held("v1")
    moved = site.push("v1", "published again")
    done = site.run(*verb, code=3)
    if verb == ("verify",):
        assert done.out.startswith("3 images complete (1 kept by a policy); ")
    assert f"failed: {site.target.host}/app:v1: immutable v*: the source has moved this tag to {moved}" in done.err
    assert "find out why a published tag was changed" in done.err
    assert site.held("v1") == held


def test_plan_and_report_list_refused_and_kept_changes(site: Site) -> None:
    site.spec(immutable=["v*"], on_change="keep")
    held, edge = site.held("v1"), site.held("edge")
    site.push("v1", "published again")
    site.push("edge", "another edge")
    plan = valid(site.run("plan", "--deep", "--json", code=3).json(), "plan")
    found = {one["tag"]: one for one in plan["images"]}
    assert {tag: one["state"] for tag, one in found.items()} == {"v1": "refused", "v2": "unchanged", "edge": "kept"}
    assert found["v1"]["before"]["digest"] == found["v1"]["after"]["digest"] == held
    assert found["edge"]["reason"].startswith("on_change keep: the source has moved this tag to sha256:")
    assert {one["mirror"] for one in plan["images"]} == {"/mirrors/0"}
    assert plan["steps"] == []
    report = valid(site.run("apply", "--deep", "--json", code=3).json(), "report")
    outcomes = {one["tag"]: one["outcome"] for one in report["images"]}
    assert outcomes == {"v1": "refused", "v2": "unchanged", "edge": "kept"}
    assert (site.held("v1"), site.held("edge")) == (held, edge)


@pytest.mark.parametrize(("word", "code"), [("update", 0), ("keep", 0), ("fail", 3)])
def test_a_tag_that_moved_is_updated_kept_or_a_failure(site: Site, word: str, code: int) -> None:
    site.spec(on_change=word)
    held = site.held("edge")
    moved = site.push("edge", "another edge")
    done = site.run("apply", code=code)
    assert site.held("edge") == (moved if word == "update" else held)
    if word == "fail":
        assert f"on_change fail: the source has moved this tag to {moved}" in done.err
    if word == "keep":
        assert "1 kept" in done.out


def test_an_immutable_tag_is_copied_to_a_destination_that_lacks_it_and_fails_at_the_other(site: Site) -> None:
    site.more["disk"] = "oci:disk"
    site.spec(immutable=["v1"], tags=["v1"], to=["there", "disk"])
    moved = site.push("v1", "published again")
    done = site.run("apply", code=3)
    assert f"{site.target.host}/app:v1: immutable v1" in done.err
    assert site.run("inspect", "--json", "oci:disk:app:v1", code=0).json()["root"]["digest"] == moved


def test_a_saved_plan_keeps_what_policies_keep_and_cannot_be_made_to_move_it(site: Site) -> None:
    import json

    site.spec(immutable=["v*"])
    site.push("v1", "published again")
    site.push("edge", "another edge")
    site.run("plan", "--output", "plan.json", code=0)
    before = len(site.asked(site.source))
    plan = json.loads((site.run.directory / "plan.json").read_text())
    assert {one["tag"]: one["state"] for one in plan["images"]} == {
        "v1": "unchanged",
        "v2": "unchanged",
        "edge": "moved",
    }
    tampered = json.loads(json.dumps(plan).replace('"edge"', '"v1"').replace(":edge", ":v1"))
    tampered["images"] = [one for one in tampered["images"] if one["state"] == "moved"]
    (site.run.directory / "tampered.json").write_text(json.dumps(tampered))
    assert "its spec does not ask for" in site.run("apply", "tampered.json", code=2).err
    site.run("apply", "plan.json", code=0)
    assert not [one for one in site.asked(site.source)[before:] if one.endswith(("/v1", "/v2"))]


def test_a_plan_with_a_refusal_fails_when_it_is_applied_from_a_file(site: Site) -> None:
    site.spec(on_change="fail")
    site.push("edge", "another edge")
    site.run("plan", "--output", "plan.json", code=3)
    done = site.run("apply", "plan.json", code=3)
    assert "on_change fail: the source has moved this tag" in done.err


def test_policies_in_defaults_apply_to_mirrors_without_their_own(site: Site) -> None:
    site.push("edge", "another edge")
    entries = [{"from": f"{site.source.host}/app", "tags": [tag]} for tag in ("v1", "edge")]
    entries[0]["on_change"] = "update"
    hosts = plain(site.source.host) | plain(site.target.host)
    spec = {"registries": hosts, "destinations": {"there": site.target.host}, "mirrors": entries}
    site.run.spec({**spec, "defaults": {"on_change": "fail"}})
    site.push("v1", "published again")
    done = site.run("apply", code=3)
    assert f"{site.target.host}/app:edge: on_change fail" in done.err
    assert site.held("v1") == made("published again").digest


def test_a_store_without_manifests_keeps_its_immutable_tag(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:v1": made("one")})
    entry = {"from": "oci:source:app", "tags": ["v1"], "immutable": ["v*"]}
    mirrorsync.spec({"destinations": {"file": "docker-archive:images.tar"}, "mirrors": [entry]})
    mirrorsync("apply", code=0)
    config = mirrorsync("inspect", "--config", "docker-archive:images.tar:app:v1", code=0).out
    mirrorsync("apply", code=0)
    write_layout(mirrorsync.directory / "other", {"app:v1": made("published again")})
    (mirrorsync.directory / "source").rename(mirrorsync.directory / "before")
    (mirrorsync.directory / "other").rename(mirrorsync.directory / "source")
    assert "immutable v*: the source has moved this tag" in mirrorsync("apply").err
    assert mirrorsync("inspect", "--config", "docker-archive:images.tar:app:v1", code=0).out == config


def test_an_unknown_on_change_is_rejected_with_a_suggestion(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [{"from": "nginx:1", "on_change": "updat"}]})
    done = mirrorsync("validate", code=2)
    assert "this must be update, keep or fail" in done.err
    assert "did you mean 'update'?" in done.err
    mirrorsync.spec(
        {
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": "nginx:1", "on_change": {"older": "update"}}],
            "prune": {"max_deletes": "many"},
        }
    )
    done = mirrorsync("validate", code=2)
    assert "/mirrors/0/on_change/older: this must be keep or fail" in done.err
    assert "'many' is not of the right form; write 10 or 20%" in done.err
