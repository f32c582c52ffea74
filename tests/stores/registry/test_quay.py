"""A repository of Quay that does not exist yet: plan, create and copy, with no login sent more often than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mirrorsync.errors import Denied, Unauthorized
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import Store
from mirrorsync.stores.registry.store import RegistryStore
from tests.parts.auth_service import PASSWORD, USER, basic_guard
from tests.parts.images import image, index, layer, noise
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.quay import Quay
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time, described
from tests.stores.registry.asking_destinations import asking, copied, holds, spec

LAYERS = [layer({"a": b"1"}), noise("a layer", 1_200_000)]
IMAGE = index([image(LAYERS, architecture=name) for name in ("amd64", "arm64")])
OTHER = image([layer({"b": b"2"})])
LOGIN = HostSettings(USER, Secret(PASSWORD), plain_http=True)


@pytest.fixture(params=[True, False], ids=["created with the token", "created with the first upload"])
def quay(request: pytest.FixtureRequest) -> Quay:
    return Quay(makes_with_token=request.param)


@pytest.fixture
def server(quay: Quay) -> Iterator[Unruly]:
    with Unruly(quay.app) as running:
        quay.at(running.url)
        yield running


def test_copy_creates_the_repository(mirrorsync: Mirrorsync, source: Unruly, server: Unruly, quay: Quay) -> None:
    copied(mirrorsync, source, f"{server.host}/team/new:1")
    assert holds(quay.registry, "team/new", IMAGE)
    assert "team/new" in quay.repositories


def test_apply_creates_the_repository_and_the_second_run_finds_it(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, quay: Quay
) -> None:
    file = spec(mirrorsync, source, server)
    mirrorsync("plan", "--output", "plan.json", file, code=0)
    assert ("team/app" in quay.repositories) is quay.makes_with_token
    mirrorsync("apply", "plan.json", code=0)
    assert holds(quay.registry, "team/app", IMAGE)
    before = len(server.seen.requests)
    assert mirrorsync("apply", file, code=0).out.startswith("nothing to do")
    assert [asked.method for asked in server.seen.requests[before:]] == ["GET", "GET", "HEAD"], "ping, token, tag"


def test_a_destination_is_read_with_the_scope_of_the_later_writes(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, quay: Quay
) -> None:
    mirrorsync("apply", spec(mirrorsync, source, server), code=0)
    assert {question.scopes for question in quay.auth_service.token_requests} == {("repository:team/app:pull,push",)}
    assert {question.grant for question in quay.auth_service.token_requests} == {"password"}
    assert len(quay.auth_service.token_requests) <= 3


def test_a_wrong_password_is_reported_as_such_and_sent_once(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, quay: Quay
) -> None:
    output = copied(mirrorsync, source, f"{server.host}/team/new:1", password="canary-wrong", code=1)
    assert output.count("incorrect username or password") == 1
    assert "check username and password" in output
    assert [question.grant for question in quay.auth_service.token_requests] == ["password"]
    assert quay.repositories == set()


def test_a_namespace_without_push_rights_is_reported_by_the_write(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly
) -> None:
    """Until then both look the same: the login is valid, and the repository is hidden."""
    output = copied(mirrorsync, source, f"{server.host}/others/new:1", code=1)
    assert "give this account the right to push to this repository" in output
    assert "check username and password" not in output


def test_a_missing_login_is_reported_with_a_remedy(server: Unruly, time: Time) -> None:
    with pytest.raises(Unauthorized) as caught:
        asking(ClientHarness(server.host, HostSettings(plain_http=True), time=time), "team/new")
    assert "log in" in caught.value.remedy


def test_a_missing_repository_counts_as_absent_for_every_request(server: Unruly, quay: Quay, time: Time) -> None:
    listed: list[str] | None = [] if quay.makes_with_token else None
    assert asking(ClientHarness(server.host, LOGIN, time=time), "team/new") == [None, False, None, listed]
    assert asking(ClientHarness(server.host, LOGIN, time=time), "others/new") == [None, False, None, None]


def test_a_missing_source_repository_is_an_error(server: Unruly, time: Time) -> None:
    with pytest.raises(Unauthorized):
        ClientHarness(server.host, LOGIN, time=time).resolve("1", "team/missing")


def test_a_hidden_repository_is_not_requested_repeatedly(server: Unruly, quay: Quay, time: Time) -> None:
    async def ask(store: Store) -> None:
        assert isinstance(store, RegistryStore)
        repository = store.destination("others/new")
        await asyncio.gather(*(repository.resolve(Tag(str(number))) for number in range(50)))

    ClientHarness(server.host, LOGIN, time=time).run(ask)
    assert len(quay.auth_service.token_requests) == 2
    assert len(server.seen.of("HEAD")) <= 100


def test_a_repository_can_be_source_and_destination_of_one_run(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, quay: Quay
) -> None:
    quay.repositories.add("team/app")
    quay.registry.hold("team/app", OTHER, "old")
    mirrors = [
        {"from": f"{source.host}/app", "tags": ["1"]},
        {"from": f"{server.host}/team/app", "tags": ["old"], "name": "copy"},
    ]
    settings = {**plain(source.host), **plain(server.host, username=USER, password=PASSWORD)}
    document = {"registries": settings, "destinations": {"quay": f"{server.host}/team"}, "mirrors": mirrors}
    mirrorsync("apply", mirrorsync.spec(document), code=0)
    assert holds(quay.registry, "team/app", IMAGE)
    assert holds(quay.registry, "team/copy", OTHER, "old")
    scopes = {scope for question in quay.auth_service.token_requests for scope in question.scopes}
    assert scopes >= {"repository:team/app:pull", "repository:team/app:pull,push", "repository:team/copy:pull,push"}


@pytest.mark.parametrize("password", [PASSWORD, "canary-wrong"], ids=["right", "wrong"])
def test_with_basic_authentication_the_api_distinguishes_a_hidden_repository_from_a_wrong_password(
    time: Time, password: str
) -> None:
    guard = basic_guard('Basic realm="x"')
    hidden = basic_guard('Basic realm="x"', password="another")
    tiny = TinyRegistry(guard=lambda asked: guard(asked) or (hidden(asked) if "/new/" in asked.path else None))
    login = HostSettings(USER, Secret(password), plain_http=True)
    with Unruly(tiny) as server:
        harness = ClientHarness(server.host, login, time=time)
        if password == PASSWORD:
            assert asking(harness, "new") == [None, False, None, None]
        else:
            with pytest.raises(Unauthorized):
                asking(harness, "new")
        assert len([asked for asked in server.seen.of("GET", "^/v2/$") if asked.authorization]) == 1


def test_a_basic_password_is_not_sent_again_after_the_api_rejected_it(time: Time) -> None:
    tiny = TinyRegistry(guard=basic_guard('Basic realm="x"'))
    with Unruly(tiny) as server:

        async def many(store: Store) -> None:
            for number in range(20):
                with pytest.raises(Unauthorized):
                    await store.repository("app").resolve(Tag(str(number)))

        ClientHarness(server.host, HostSettings(USER, Secret("canary-wrong"), plain_http=True), time=time).run(many)
        sent = [asked for asked in server.seen.requests if asked.authorization]
    assert len(sent) == 1, "for the API, which shows that the login and not the repository was rejected"


@pytest.mark.parametrize("status", [401, 403])
def test_an_account_with_read_rights_can_compare(server: Unruly, quay: Quay, time: Time, status: int) -> None:
    """Some token services deny a request for more rights than an account has, instead of granting fewer."""
    server.fault("answer", "GET", "auth.*push", status=status, body=b'{"errors": [{"code": "DENIED"}]}')
    quay.repositories.add("team/app")
    quay.registry.hold("team/app", IMAGE, "1")

    async def compare(store: Store) -> None:
        assert isinstance(store, RegistryStore)
        if status == 401:
            assert await store.repository("team/app").resolve(Tag("1")) is not None, "the password is known to be right"
        repository = store.destination("team/app")
        assert await repository.resolve(Tag("1")) is not None
        with pytest.raises(Denied, match="getting a token"):
            await repository.write(described(b"new"), b"new")

    ClientHarness(server.host, LOGIN, time=time).run(compare)


def test_a_denied_token_is_not_requested_again(server: Unruly, time: Time) -> None:
    server.fault("answer", "GET", "auth.*scope", status=403, body=b'{"errors": [{"code": "DENIED"}]}')

    async def many(store: Store) -> None:
        assert isinstance(store, RegistryStore)
        for number in range(20):
            with pytest.raises(Denied):
                await store.destination("team/app").resolve(Tag(str(number)))

    ClientHarness(server.host, LOGIN, time=time).run(many)
    asked = len(server.seen.of("GET", "/v2/auth"))
    assert asked == 3, "for pushing, for no repository (is the login right?), and for pulling alone"


def test_an_unchanged_mirror_costs_one_request_for_each_tag_and_side(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, quay: Quay
) -> None:
    count = 2000
    tags = [f"v{number}" for number in range(count)]
    assert isinstance(source.app, TinyRegistry)
    source.app.hold("many", IMAGE, *tags)
    quay.repositories.add("team/many")
    quay.registry.hold("team/many", IMAGE, *tags)
    file = mirrorsync.spec(
        {
            "registries": {**plain(source.host), **plain(server.host, username=USER, password=PASSWORD)},
            "destinations": {"quay": f"{server.host}/team"},
            "mirrors": [{"from": f"{source.host}/many", "tags": tags}],
        }
    )
    mirrorsync("plan", "--exit-code", file, code=0)
    for side in (source, server):
        heads = [asked.target.rpartition("/")[2] for asked in side.seen.of("HEAD", "/manifests/")]
        assert sorted(heads) == sorted(tags)
        assert len(side.seen.requests) - count <= 5
