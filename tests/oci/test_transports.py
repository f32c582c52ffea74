"""The table of transports: what an address says of its place is in one entry, and read nowhere else."""

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
def test_an_image_is_read_from_what_is_written_of_it(transport: Transport) -> None:
    location = Location(address(transport), "a/b" if transport.many else "")
    image = Reference.of(location, Tag("1") if transport.many else THE_ONLY_ONE)
    assert parse_image(str(image)) == image
    assert str(image).startswith(address(transport))


@pytest.mark.parametrize("text", ["localhost:5000", "docker.io", "[::1]:5000", "docker:5000", "h"])
def test_an_address_without_a_scheme_of_the_table_is_a_registrys(text: str) -> None:
    assert transport_of(text) is REGISTRY
