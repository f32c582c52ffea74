"""A repository that was deleted or made private: Docker Hub answers 401 to it, GHCR refuses a token, GitLab 403."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.parts.auth_service import PASSWORD, USER, AuthService, with_tokens
from tests.parts.documents import valid
from tests.parts.images import image, layer
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry, refusal
from tests.parts.unruly import Unruly

TAGS = ("1", "2")
WHY = "refuses access, which it gave before"


class Hub:
    """A source with tokens for everyone, and two tags of `team/app`, that a layout is a mirror of.

    hidden: it gives no rights for the repository any more. status: what its token service answers then; 200 = a token
    without rights, so that the registry answers 401.
    """

    def __init__(self, run: Mirrorsync) -> None:
        self.run = run
        self.hidden, self.status = False, 200
        self.service = AuthService(anonymous=True, grants=self._granted)
        self.registry = TinyRegistry(guard=self.service.guard)
        for tag in TAGS:
            self.registry.hold("team/app", image([layer({"what": tag.encode()})]), tag)
        self.host, self.source = "", ""
        self.server: Unruly

    def token(self, asked: Asked) -> Reply:
        if self.hidden and self.status != 200 and "app" in asked.target:
            return refusal(self.status, "DENIED", "requested access to the resource is denied")
        return self.service(asked)

    def _granted(self, scopes: Iterable[str]) -> Iterable[str]:
        return [scope for scope in scopes if not (self.hidden and ":team/app:" in scope)]

    def spec(self, tags: Any, settings: Any = None, prune: Any = None, **keys: Any) -> None:
        registries = plain(self.host, **(settings or {}))
        mirror = {"from": self.source, "tags": tags, "to": ["disk"], **keys}
        more = {} if prune is None else {"prune": prune}
        self.run.spec({"registries": registries, "destinations": {"disk": "oci:disk"}, "mirrors": [mirror], **more})

    def held(self) -> str:
        return self.run("list-tags", f"oci:disk:{self.source.partition('/')[2]}", code=0).out

    def known(self) -> list[Any]:
        (found,) = valid(self.run("impact", self.source, "--json", code=0).json(), "impact")["sources"]
        return [(one["tag"], one["vanished"] and one["vanished"]["refused"]) for one in found["tags"]]


@pytest.fixture
def hub(mirrorsync: Mirrorsync) -> Iterator[Hub]:
    hub = Hub(mirrorsync)
    with Unruly(with_tokens(hub.registry, hub.token)) as server:
        hub.service.realm = f"{server.url}/token"
        hub.server = server
        hub.host, hub.source = server.host, f"{server.host}/team/app"
        yield hub


def test_a_repository_that_refuses_access_is_an_alarm_and_a_failure_until_it_is_acknowledged(hub: Hub) -> None:
    hub.spec({"all": True}, on_vanish="delete")
    hub.run("apply", code=0)
    hub.hidden = True
    shown = hub.run("plan", code=1)
    assert f"source {hub.source}: {WHY}; it may have been deleted or made private (" in shown.err
    assert f"`mirrorsync acknowledge {hub.source}` accepts it" in shown.err
    done = hub.run("apply", "--json", code=1)
    assert f"alarm: {hub.source} {WHY}, and may have been deleted or made private: 2 tags are kept: 1, 2" in done.err
    (told,) = valid(done.json(), "report")["vanished"]
    assert (told["tags"], told["refused"], told["whole"], told["since"]) == (["1", "2"], True, True, None)
    assert "alarm" not in (later := hub.run("apply", code=1)).err
    assert f"refused by sources and kept: 2 tags of {hub.source}, since 20" in later.out
    assert "access refused since 20" in " ".join(hub.run("impact", hub.source, code=0).out.split())
    hub.run("acknowledge", hub.source, "--why", "gone", code=0)
    assert (hub.run("apply", code=0).err, hub.known()) == ("", [("1", True), ("2", True)])
    hub.hidden = False
    hub.registry.tags.pop(("team/app", "1"))
    done = hub.run("plan", code=0)
    assert "on_vanish delete" in done.out, "the source gives access again, and says that it has dropped a tag"
    hub.run("apply", code=0)
    assert hub.known() == [("2", None)]


@pytest.mark.parametrize("status", [200, 401, 403])
def test_exact_tags_that_a_source_refuses_are_accepted_by_every_verb_after_the_acknowledgement(
    hub: Hub, status: int
) -> None:
    hub.spec(["1", "2"])
    hub.run("apply", code=0)
    hub.hidden, hub.status = True, status
    assert WHY in hub.run("apply", code=1).err
    hub.run("acknowledge", hub.host, code=0)
    assert hub.run("apply", code=0).err == ""
    if status == 200:  # the same for the others
        for verb in (["images"], ["lock", "--output", "new.lock"], ["verify"]):
            done = hub.run(*verb, code=0)
            assert "is acknowledged" in done.err
        assert done.out.startswith("2 images complete")


def test_a_login_that_was_rejected_or_changed_is_the_cause_and_not_the_repository(hub: Hub) -> None:
    hub.spec(["1"], {"username": USER, "password": PASSWORD})
    hub.run("apply", code=0)
    hub.hidden = True
    assert WHY in hub.run("plan", code=1).err
    hub.spec(["1"])
    assert WHY not in hub.run("plan", code=1).err, "it was read with a login"
    hub.spec(["1"], {"username": USER, "password": "wrong"})
    assert WHY not in hub.run("plan", code=1).err
    hub.spec(["2"], {"username": USER, "password": PASSWORD})
    assert WHY not in hub.run("plan", code=1).err, "it was never mirrored"


@pytest.mark.parametrize("status", [200, 403])
def test_a_refused_repository_of_a_namespace_is_a_failure_and_deletes_nothing_and_the_others_go_on(
    hub: Hub, status: int
) -> None:
    hub.registry.hold("team/lib", image([layer({"what": b"lib"})]), *TAGS)
    json, catalog = {"Content-Type": "application/json"}, b'{"repositories": ["team/app", "team/lib"]}'
    hub.server.fault("answer", "GET", "_catalog", status=200, headers=json, body=catalog)
    app, hub.source = hub.source, f"{hub.host}/team/*"

    def held() -> dict[str, str]:
        return {name: hub.run("list-tags", f"oci:disk:team/{name}", code=0).out for name in ("app", "lib")}

    hub.spec({"all": True}, on_vanish="delete")
    hub.run("apply", code=0)
    hub.hidden, hub.status = True, status
    hub.registry.hold("team/lib", image([layer({"what": b"new"})]), "3")
    del hub.registry.tags["team/lib", "1"]
    hub.spec({"all": True}, None, {"max_deletes": "100%"}, on_vanish="delete")
    done = hub.run("apply", "--json", code=3)
    assert f"source {app}: {WHY}; it may have been deleted or made private (" in done.err
    assert f"`mirrorsync acknowledge {app}` accepts it" in done.err
    assert f"alarm: {app} {WHY}, and may have been deleted or made private: 2 tags are kept: 1, 2" in done.err
    report = valid(done.json(), "report")
    assert [(one["subject"], one["mirror"]) for one in report["failures"]] == [(app, "/mirrors/0")]
    assert {(one["source"]["repository"], one["tag"], one["outcome"]) for one in report["images"]} == {
        ("team/lib", "2", "unchanged"),
        ("team/lib", "3", "done"),
    }
    told = {(one["source"]["repository"], one["refused"], *one["tags"]) for one in report["vanished"]}
    assert told == {("team/app", True, "1", "2"), ("team/lib", False, "1")}
    assert held() == {"app": "1\n2\n", "lib": "1\n2\n3\n"}
    hub.spec({"glob": ["[23]"]}, None, {"max_deletes": "100%"})
    assert "1 failed" in hub.run("apply", code=3).out
    hub.run("acknowledge", app, code=0)
    done = hub.run("apply", code=0)
    assert "2 tags that no mirror wants are kept: its source could not be listed" in done.err
    assert held() == {"app": "1\n2\n", "lib": "1\n2\n3\n"}
