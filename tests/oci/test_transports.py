"""The table of transports: how an address is read and what its store can do is one entry."""

from __future__ import annotations

import pytest

from mirrorsync.oci.ref import THE_ONLY_ONE, Tag
from mirrorsync.oci.reference import Location, Reference, parse_image
from mirrorsync.oci.transports import REGISTRY, TRANSPORTS, Transport, transport_of

ALL = [REGISTRY, *TRANSPORTS.values()]


def address(transport: Transport) -> str:
    return "h.example:5000" if transport.is_registry else f"{transport.scheme}{'/srv/x' if transport.has_path else ''}"


@pytest.mark.parametrize("transport", ALL, ids=lambda transport: transport.scheme)
def test_an_address_leads_to_its_transport(transport: Transport) -> None:
    assert transport_of(address(transport)) is transport
    assert Location(address(transport), "a").transport is transport


@pytest.mark.parametrize("transport", ALL, ids=lambda transport: transport.scheme)
def test_an_image_is_read_as_it_is_written(transport: Transport) -> None:
    location = Location(address(transport), "a/b" if transport.many else "")
    image = Reference.of(location, Tag("1") if transport.many else THE_ONLY_ONE)
    assert parse_image(str(image)) == image
    assert str(image).startswith(address(transport))


@pytest.mark.parametrize("text", ["localhost:5000", "docker.io", "[::1]:5000", "docker:5000", "h"])
def test_an_address_without_a_known_scheme_is_a_registrys(text: str) -> None:
    assert transport_of(text) is REGISTRY
