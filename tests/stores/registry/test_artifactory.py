"""Artifactory: 403 for a tag that a virtual repository does not have, and scopes by names of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from mirrorsync.errors import Denied, Unauthorized
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import Store
from mirrorsync.stores.registry.store import RegistryStore
from tests.parts.artifactory import Artifactory
from tests.parts.auth_service import PASSWORD, USER, basic_guard
from tests.parts.images import image, layer, noise
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time
from tests.stores.registry.asking_destinations import asking, copied, holds, spec

IMAGE = image([layer({"a": b"1"}), noise("a layer", 1_200_000)])
OTHER = image([layer({"b": b"2"})])
LOGIN = HostSettings(USER, Secret(PASSWORD), plain_http=True)


@pytest.fixture
def artifactory(time: Time) -> Artifactory:
    return Artifactory()


@pytest.fixture
def server(artifactory: Artifactory) -> Iterator[Unruly]:
    with Unruly(artifactory.app) as running:
        artifactory.at(running.url)
        yield running


@pytest.mark.parametrize("lists", [True, False], ids=["with a list", "without a list"])
def test_a_missing_tag_that_is_answered_with_403_is_copied(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, artifactory: Artifactory, lists: bool
) -> None:
    artifactory.lists = lists
    artifactory.registry.hold("team/app", OTHER, "0")
    copied(mirrorsync, source, f"{server.host}/team/app:1")
    assert holds(artifactory.registry, "team/app", IMAGE)


def test_apply_copies_the_image_and_the_next_plan_is_empty(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, artifactory: Artifactory
) -> None:
    file = spec(mirrorsync, source, server)
    mirrorsync("apply", file, code=0)
    assert holds(artifactory.registry, "team/app", IMAGE)
    mirrorsync("plan", "--exit-code", file, code=0)


def test_a_denied_tag_list_does_not_mean_that_there_are_no_tags(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, artifactory: Artifactory
) -> None:
    """A moved tag next to a new one is still found at its destination."""
    assert isinstance(source.app, TinyRegistry)
    source.app.hold("app", IMAGE, "0", "1")
    artifactory.lists = False
    artifactory.registry.hold("team/app", OTHER, "1")
    document = json.loads(spec(mirrorsync, source, server).read_text())
    document["mirrors"] = [{"from": f"{source.host}/app", "tags": ["0", "1"]}]
    mirrorsync("apply", mirrorsync.spec(document), code=0)
    assert holds(artifactory.registry, "team/app", IMAGE, "0")
    assert holds(artifactory.registry, "team/app", IMAGE, "1")


def test_a_denied_tag_that_is_in_the_tag_list_is_reported_as_denied(
    server: Unruly, artifactory: Artifactory, time: Time
) -> None:
    """The tag list contradicts: the tag exists, and a policy of the registry denies it."""
    artifactory.registry.hold("team/app", OTHER, "1", "2")
    artifactory.denied = {"1"}

    async def ask(store: Store) -> None:
        assert isinstance(store, RegistryStore)
        repository = store.destination("team/app")
        for _ in range(3):
            with pytest.raises(Denied):
                await repository.resolve(Tag("1"))
        assert await repository.resolve(Tag("2")) is not None
        assert await repository.resolve(Tag("3")) is None

    ClientHarness(server.host, LOGIN, time=time).run(ask)
    assert len(server.seen.of("GET", "/tags/list")) == 1, "the list is read once"


def test_a_denied_source_is_reported_as_denied(server: Unruly, time: Time) -> None:
    with pytest.raises(Denied):
        ClientHarness(server.host, LOGIN, time=time).resolve("1", "team/app")


def test_a_denied_push_is_reported_by_the_write(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, artifactory: Artifactory
) -> None:
    artifactory.pushes = False
    mirrorsync("plan", file := spec(mirrorsync, source, server), code=0)
    done = mirrorsync("apply", file, code=1)
    assert "not enough permissions to deploy" in done.err
    assert "give this account the right to push to this repository" in done.err


@pytest.mark.parametrize("password", [PASSWORD, "canary-wrong"], ids=["right", "wrong"])
def test_with_basic_authentication_the_login_is_checked_once_at_the_api(time: Time, password: str) -> None:
    """A wrong password can be answered with 403 too, if accounts are locked."""
    tiny = TinyRegistry(guard=basic_guard('Basic realm="Artifactory Realm"'))
    login = HostSettings(USER, Secret(password), plain_http=True)
    with Unruly(tiny) as basic:
        basic.fault("answer", "*", "/v2/.+", status=403)
        harness = ClientHarness(basic.host, login, time=time)

        async def many(store: Store) -> list[object]:
            assert isinstance(store, RegistryStore)
            return [await store.destination(f"team/{name}").resolve(Tag("1")) for name in ("a", "b", "c")]

        if password == PASSWORD:
            assert harness.run(many) == [None, None, None]
        else:
            with pytest.raises(Unauthorized):
                harness.run(many)
        assert len([asked for asked in basic.seen.of("GET", "^/v2/$") if asked.authorization]) == 1


def test_403_without_a_login_does_not_count_as_absent(server: Unruly, time: Time) -> None:
    """Without a login that is known to be valid, 403 means denied."""
    with Unruly(TinyRegistry()) as closed:
        closed.fault("answer", "*", "/v2/.+", status=403)
        closed.fault("answer", "*", "/v2/$", status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        with pytest.raises(Denied):
            asking(ClientHarness(closed.host, HostSettings(plain_http=True), time=time), "team/app")


def test_the_scope_of_the_challenge_is_requested_once_and_then_reused(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, artifactory: Artifactory
) -> None:
    artifactory.own_scopes = True
    file = spec(mirrorsync, source, server)
    mirrorsync("apply", file, code=0)
    assert holds(artifactory.registry, "team/app", IMAGE)
    asked = [question.scopes for question in artifactory.auth_service.token_requests]
    assert asked[:2] == [("repository:team/app:pull,push",), ("repository:virtual/team/app:pull",)]
    assert len(asked) <= 4


def test_a_scope_that_does_not_name_a_repository_is_requested(server: Unruly, time: Time) -> None:
    """ECR public: the scope of every token is `aws`."""
    tiny = TinyRegistry()
    tiny.hold("team/app", IMAGE, "1")
    artifactory = Artifactory()
    artifactory.auth_service.challenges = ('Bearer realm="{realm}",service="tests",scope="aws"',)
    artifactory.auth_service.grants = lambda scopes: ["repository:team/app:pull"] if "aws" in scopes else []
    tiny.guard = artifactory.auth_service.guard
    auth_service = artifactory.auth_service
    server.app = lambda asked: auth_service(asked) if asked.path == "/artifactory/token" else tiny(asked)
    auth_service.realm = f"{server.url}/artifactory/token"
    assert ClientHarness(server.host, LOGIN, time=time).resolve("1", "team/app") is not None
    assert [question.scopes for question in auth_service.token_requests] == [("repository:team/app:pull",), ("aws",)]
