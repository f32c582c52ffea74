"""A tiny registry behind a server that can misbehave, and a client of it, for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time


@pytest.fixture
def time() -> Time:
    """The clock that client and server share."""
    return Time()


@pytest.fixture
def tiny() -> TinyRegistry:
    """The registry behind the server."""
    return TinyRegistry()


@pytest.fixture
def server(tiny: TinyRegistry, time: Time) -> Iterator[Unruly]:
    """The server."""
    with Unruly(tiny, clock=time) as running:
        yield running


@pytest.fixture
def harness(server: Unruly, time: Time) -> ClientHarness:
    """The client's side."""
    return ClientHarness(server.host, time=time)


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Iterator[Unruly]:
    """Another registry, which has the IMAGE of the test's module as app:1."""
    registry = TinyRegistry()
    registry.hold("app", request.module.IMAGE, "1")
    with Unruly(registry) as running:
        yield running
