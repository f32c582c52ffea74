"""A name can resolve to any address: no connection to an internal one that an external registry leads to."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from mirrorsync.errors import RegistryFailure
from mirrorsync.hosts import HostSettings
from mirrorsync.stores.registry.http.network import Network
from tests.parts.images import noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described

OUTSIDE = "registry.example"
INSIDE = ("127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "::ffff:127.0.0.1")
ELSEWHERE = ("203.0.113.5", "10.1.2.3", "2001:db8::1")


def opened(home: str, url: str, address: str) -> bool:
    """Return whether a socket to an address is opened for a URL that the registry at `home` leads to."""
    open_socket = Network(home, HostSettings(), {}).route(url).open_socket
    assert open_socket is not None
    family = 10 if ":" in address else 2
    descriptor = open_socket(0, SimpleNamespace(family=family, socktype=1, protocol=6, addr=(address, 443)))
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0


@pytest.mark.parametrize("address", INSIDE)
def test_no_connection_to_an_internal_address_that_a_name_resolves_to(address: str) -> None:
    assert not opened(OUTSIDE, "https://storage.example/blob", address)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_external_addresses_are_connected_to(address: str) -> None:
    assert opened(OUTSIDE, "https://storage.example/blob", address)


@pytest.mark.parametrize("address", INSIDE)
def test_an_internal_registry_may_redirect_to_internal_addresses(address: str) -> None:
    assert opened("127.0.0.1:5000", "https://storage.example/blob", address)


def test_the_registrys_own_host_may_have_an_internal_address() -> None:
    assert Network(OUTSIDE, HostSettings(), {}).route(f"https://{OUTSIDE}/v2/").open_socket is None


def test_a_registry_on_this_machine_may_redirect_to_a_storage_on_it() -> None:
    data = noise("inside", 1000)
    registry = TinyRegistry()
    registry.hold_blob("app", data)
    with Unruly(registry) as server, Unruly(lambda _: registry.blob_reply(data, _), name="localhost") as storage:
        server.fault("answer", "GET", "/blobs/", status=307, headers={"Location": f"{storage.url}/blob"})
        assert ClientHarness(server.host).small(described(data)) == data


def test_the_error_names_the_host_with_the_internal_address() -> None:
    network = Network(OUTSIDE, HostSettings(), {})
    error = network.inward("https://storage.example/blob?secret")
    assert isinstance(error, RegistryFailure)
    assert "storage.example" in error.message
    assert "secret" not in error.message
