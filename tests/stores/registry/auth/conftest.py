"""A registry that asks for logins, behind a server that can misbehave, and a client with the right login."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.auth_service import AuthService, with_tokens
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time
from tests.stores.registry.auth.logins import IMAGE, LOGIN


@pytest.fixture
def auth_service(time: Time) -> AuthService:
    """The token service of the registry."""
    return AuthService(clock=time)


@pytest.fixture
def tiny(auth_service: AuthService) -> TinyRegistry:
    """The registry behind the server: it has an image in three repositories."""
    registry = TinyRegistry(guard=auth_service.guard)
    for name in ("app", "other", "third"):
        registry.hold(name, IMAGE, "1")
    return registry


@pytest.fixture
def server(tiny: TinyRegistry, auth_service: AuthService, time: Time) -> Iterator[Unruly]:
    """The server, with the token service at its `/token`."""
    with Unruly(with_tokens(tiny, auth_service), clock=time) as running:
        auth_service.realm = f"{running.url}/token"
        yield running


@pytest.fixture
def harness(server: Unruly, time: Time) -> ClientHarness:
    """The client's side, with the right login."""
    return ClientHarness(server.host, LOGIN, time=time)
