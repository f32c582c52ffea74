"""A gateway that redirects to another registry, which requires a login (go-containerregistry#2333)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrorsync.environment import Environment
from mirrorsync.errors import RegistryFailure, Unauthorized
from mirrorsync.hosts import Credentials, HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.registry.login_check import accepts
from tests.parts.auth_service import PASSWORD, USER, AuthService, basic, basic_guard, with_tokens
from tests.parts.forward_proxy import ForwardProxy
from tests.parts.gateway import gateway, recording_gateway
from tests.parts.images import image, layer, noise
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time, described

LARGE = noise("behind a gateway", 1_500_000)
IMAGE = image([layer({"a": b"1"}), LARGE])
OURS = HostSettings("robot-of-the-gateway", Secret("canary-of-the-gateway"), plain_http=True)


@pytest.fixture
def auth_service(time: Time) -> AuthService:
    return AuthService(clock=time, anonymous=True)


@pytest.fixture
def behind(auth_service: AuthService) -> Iterator[Unruly]:
    """The registry that has the images."""
    registry = TinyRegistry(guard=auth_service.guard)
    registry.hold("app", IMAGE, "1", "2")
    with Unruly(with_tokens(registry, auth_service)) as running:
        auth_service.realm = f"{running.url}/token"
        yield running


@pytest.fixture
def harness(server: Unruly, behind: Unruly, time: Time) -> ClientHarness:
    server.app = gateway(behind.url)
    return ClientHarness(server.host, OURS, time=time)


def read_all(harness: ClientHarness) -> None:
    assert harness.resolve("1") is not None
    assert harness.tags() == ["1", "2"]
    assert harness.small(described(LARGE)) == LARGE
    assert harness.large(described(LARGE)) == LARGE


@pytest.mark.parametrize("ping", [True, False])
def test_a_registry_behind_a_gateway_is_read_with_its_own_tokens(
    server: Unruly, behind: Unruly, harness: ClientHarness, auth_service: AuthService, ping: bool
) -> None:
    server.app = recording_gateway(behind.url, ping=ping)
    read_all(harness)
    assert {question.grant for question in auth_service.token_requests} == {"anonymous"}
    assert {question.scopes for question in auth_service.token_requests} == {("repository:app:pull",)}


def test_the_gateways_credentials_are_sent_only_to_the_gateway(
    server: Unruly, behind: Unruly, harness: ClientHarness
) -> None:
    guard = basic_guard('Basic realm="x"', username=OURS.username or "", password="canary-of-the-gateway")
    server.app = lambda asked: guard(asked) or gateway(behind.url)(asked)
    read_all(harness)
    assert any(asked.authorization.startswith("Basic ") for asked in server.seen.requests)
    for asked in behind.seen.requests:
        assert not asked.authorization.startswith("Basic ")
        assert "canary-of-the-gateway" not in f"{asked.target}{asked.headers}"


def test_a_token_of_the_registry_behind_is_reused_and_not_sent_to_the_gateway(
    server: Unruly, behind: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    async def many(repository: WritableRepository) -> None:
        for _ in range(10):
            assert await repository.resolve(Tag("1")) is not None

    harness.within(many)
    assert len(auth_service.token_requests) == 1
    assert len(behind.seen.of("HEAD")) == 11, "one 401, and then the token is known"
    assert {asked.authorization for asked in server.seen.requests} == {""}


def test_credentials_for_the_registry_behind_are_sent_only_to_it(
    server: Unruly, behind: Unruly, time: Time, auth_service: AuthService, tmp_path: Path
) -> None:
    server.app = gateway(behind.url)
    auth_service.anonymous = False
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {behind.host: {"auth": basic().removeprefix("Basic ")}}}))
    read_all(ClientHarness(server.host, PLAIN, {"REGISTRY_AUTH_FILE": str(path)}, time))
    assert {question.grant for question in auth_service.token_requests} == {"password"}
    assert {asked.authorization for asked in server.seen.requests} == {""}


def test_the_spec_can_have_credentials_for_gateway_and_registry(
    mirrorsync: Mirrorsync, server: Unruly, behind: Unruly, auth_service: AuthService
) -> None:
    guard = basic_guard('Basic realm="x"', username="at-the-gateway", password="canary-of-the-gateway")
    server.app = lambda asked: guard(asked) or gateway(behind.url)(asked)
    auth_service.anonymous = False
    hosts = {
        **plain(server.host, username="at-the-gateway", password="canary-of-the-gateway"),
        **plain(behind.host, username=USER, password=PASSWORD),
    }
    mirrors = [{"from": f"{server.host}/app", "tags": {"all": True}}]
    document = {"registries": hosts, "destinations": {"disk": "oci:mirror"}, "mirrors": mirrors}
    mirrorsync("apply", mirrorsync.spec(document), code=0)
    assert {question.grant for question in auth_service.token_requests} == {"password"}
    assert {asked.authorization.partition(" ")[0] for asked in server.seen.of("HEAD")} == {"Basic"}


def test_credentials_are_not_sent_over_plain_http_to_a_redirect_target(time: Time, tmp_path: Path) -> None:
    """An attacker who can change the answers of a registry without TLS could collect every host's password."""
    guarded = TinyRegistry(guard=basic_guard('Basic realm="x"'))
    guarded.hold("app", IMAGE, "1")
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {"behind.example": {"auth": basic().removeprefix("Basic ")}}}))
    with Unruly(gateway("http://behind.example")) as server, Unruly(guarded) as behind:
        routes = {"gateway.example": server.host, "behind.example": behind.host}
        with ForwardProxy(routes) as proxy:
            variables = {"REGISTRY_AUTH_FILE": str(path), "http_proxy": proxy.url}
            with pytest.raises(Unauthorized):
                ClientHarness("gateway.example", PLAIN, variables, time).resolve("1")
        assert behind.seen.of("HEAD")
        assert {asked.authorization for asked in behind.seen.requests} == {""}


def test_a_storage_that_answers_401_gets_no_credentials(server: Unruly, time: Time, tmp_path: Path) -> None:
    """CVE-2020-15157: a storage of blobs that requests a login does not get one."""
    registry = TinyRegistry()
    registry.hold("app", IMAGE, "1")
    with Unruly(basic_guard('Basic realm="x"')) as storage:  # type: ignore[arg-type]  # it rejects everything
        server.app = registry
        server.fault("answer", "GET", "/blobs/", status=307, headers={"Location": f"{storage.url}/bucket/blob"})
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": {storage.host: {"auth": basic().removeprefix("Basic ")}}}))
        with pytest.raises(Unauthorized):
            ClientHarness(server.host, PLAIN, {"REGISTRY_AUTH_FILE": str(path)}, time).small(described(LARGE))
        assert {asked.authorization for asked in storage.seen.requests} == {""}


def test_no_write_is_sent_with_credentials_behind_a_gateway(
    server: Unruly, behind: Unruly, harness: ClientHarness
) -> None:
    with pytest.raises(Unauthorized):
        harness.write(b"new")
    assert not behind.seen.of("GET", "/token")


def test_requests_end_if_the_registry_behind_rejects_every_token(
    behind: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.grants = lambda scopes: []
    with pytest.raises(Unauthorized):
        harness.resolve("1")
    assert len(behind.seen.of("HEAD")) == 2


def test_the_registry_behind_may_use_another_name_for_the_repository(
    behind: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.challenges = ('Bearer realm="{realm}",service="tests",scope="repository:virtual/app:pull"',)
    auth_service.grants = lambda scopes: ["repository:app:pull"] if "repository:virtual/app:pull" in scopes else []
    assert harness.resolve("1") is not None


def test_a_login_to_a_gateway_fails_with_the_host_to_log_in_to(server: Unruly, behind: Unruly) -> None:
    server.app = gateway(behind.url)
    around = Environment({server.host: PLAIN}, clock=Time().clock)
    with pytest.raises(RegistryFailure, match=f"redirects to {behind.host}") as caught:
        asyncio.run(accepts(server.host, Credentials(USER, Secret(PASSWORD)), around))
    assert caught.value.remedy == f"log in to {behind.host}"
    assert {asked.authorization for asked in (*server.seen.requests, *behind.seen.requests)} == {""}


def test_a_gateway_that_redirects_to_an_internal_address_is_not_followed(time: Time) -> None:
    with Unruly(lambda asked: Reply()) as inside, Unruly(gateway(inside.url)) as server:
        proxy = ForwardProxy({"gateway.example": server.host})
        with proxy, pytest.raises(RegistryFailure, match="inside this machine"):
            ClientHarness("gateway.example", PLAIN, {"http_proxy": proxy.url}, time).resolve("1")
        assert inside.seen.requests == []
