"""Check a login at real registries, with Basic authentication and with tokens."""

from __future__ import annotations

import asyncio

import pytest

from mirrorsync.environment import Environment
from mirrorsync.errors import Denied, MirrorsyncError, RegistryFailure, Unauthorized, Unreachable
from mirrorsync.hosts import Credentials, HostSettings
from mirrorsync.secret import Secret
from mirrorsync.stores.registry.login_check import accepts
from tests.conftest import Locked
from tests.parts.docker_registry import DockerRegistry
from tests.parts.processes import free_port
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, RecordedEvents, Time


def asked(
    host: str, user: str, password: str, settings: HostSettings = PLAIN, recorded: RecordedEvents | None = None
) -> bool:
    around = Environment({host: settings}, observer=recorded or RecordedEvents(), clock=Time().clock)
    return asyncio.run(accepts(host, Credentials(user, Secret(password)), around))


def refused(host: str, user: str, password: str, settings: HostSettings = PLAIN) -> MirrorsyncError:
    with pytest.raises(MirrorsyncError) as caught:
        asked(host, user, password, settings)
    assert password not in f"{caught.value} {caught.value!r} {caught.value.remedy}"
    assert caught.value.where == host
    return caught.value


def test_a_login_with_basic_authentication_is_checked(tls_registry: Locked) -> None:
    settings = HostSettings(ca_file=str(tls_registry.ca_file))
    assert asked(tls_registry.host, tls_registry.username, tls_registry.password, settings)
    for user, password in ((tls_registry.username, "canary-wrong"), ("nobody", tls_registry.password)):
        error = refused(tls_registry.host, user, password, settings)
        assert isinstance(error, Unauthorized)
        assert "check username and password" in error.remedy


def test_a_login_with_tokens_is_checked(token_registry: Locked) -> None:
    """An anonymous token would be granted too: it must not count as a login."""
    assert token_registry.tokens is not None
    before = len(token_registry.tokens.asked)
    assert asked(token_registry.host, token_registry.username, token_registry.password)
    assert token_registry.tokens.asked[before:] == [("password", ())], "for a token that allows nothing"
    error = refused(token_registry.host, token_registry.username, "canary-wrong")
    assert isinstance(error, Unauthorized)
    assert {how for how, _ in token_registry.tokens.asked[before:]} == {"password"}


def test_a_registry_that_requires_no_login_cannot_check_one(registry: DockerRegistry) -> None:
    assert not asked(registry.host, "me", "canary")


def test_a_wrong_password_is_sent_once() -> None:
    """Accounts are locked for repeated failures."""
    with Unruly(TinyRegistry()) as server:
        server.fault("answer", "*", "/v2/", status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        refused(server.host, "me", "canary")
        sent = [one for one in server.seen.requests if one.authorization]
    assert len(sent) == 1


def test_a_token_service_on_another_host_gets_the_password_only_if_it_is_named() -> None:
    token = b'{"token": "t"}'
    with Unruly(TinyRegistry(), name="localhost") as service, Unruly(TinyRegistry()) as server:
        service.fault("answer", "GET", "/token", status=200, body=token)
        challenge = {"WWW-Authenticate": f'Bearer realm="{service.url}/token",service="s"'}
        server.fault("answer", "*", "/v2/", hits=[1, 2, 4, 5], status=401, headers=challenge)
        error = refused(server.host, "me", "canary")
        assert isinstance(error, Denied)
        assert "localhost" in error.message
        assert error.remedy.endswith("--realm-host localhost")
        assert service.seen.requests == []


def test_a_token_service_at_another_port_must_be_named_with_its_port() -> None:
    with Unruly(TinyRegistry()) as service, Unruly(TinyRegistry()) as server:
        challenge = {"WWW-Authenticate": f'Bearer realm="{service.url}/token",service="s"'}
        server.fault("answer", "*", "/v2/", status=401, headers=challenge)
        error = refused(server.host, "me", "canary")
        assert isinstance(error, Denied)
        assert error.remedy.endswith(f"--realm-host {service.host}")
        assert service.seen.requests == []


def test_a_token_without_scope_is_requested() -> None:
    """As docker does: some token services reject an empty scope."""
    with Unruly(TinyRegistry()) as server:
        server.fault("answer", "GET", "/token", status=200, body=b'{"token": "t"}')
        challenge = {"WWW-Authenticate": f'Bearer realm="{server.url}/token",service="s"'}
        server.fault("answer", "*", "/v2/", hits=[1, 2], status=401, headers=challenge)
        assert asked(server.host, "me", "canary")
        assert [one.target for one in server.seen.requests if "/token" in one.path] == ["/token?service=s"]


@pytest.mark.parametrize("challenge", [{}, {"WWW-Authenticate": "Negotiate"}, {"WWW-Authenticate": "Bearer"}])
def test_an_unsupported_authentication_scheme_is_reported(challenge: dict[str, str]) -> None:
    with Unruly(TinyRegistry()) as server:
        server.fault("answer", "*", "/v2/", status=401, headers=challenge)
        error = refused(server.host, "me", "canary")
    assert isinstance(error, RegistryFailure)
    assert "neither Basic authentication nor tokens" in error.message


@pytest.mark.parametrize("status", [403, 404])
def test_a_login_fails_if_the_host_has_no_registry_api(status: int) -> None:
    with Unruly(TinyRegistry()) as server:
        server.fault("answer", "*", "/v2/", status=status)
        assert str(status) in refused(server.host, "me", "canary").message


def test_an_unreachable_host_is_named() -> None:
    assert isinstance(refused(f"127.0.0.1:{free_port()}", "me", "canary"), Unreachable)
