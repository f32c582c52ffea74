"""Mount blobs from another repository, and fall back to a copy if the registry does not."""

from __future__ import annotations

import pytest

from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import WritableRepository
from tests.parts.images import noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time, described

SMALL = noise("small", 5000)


def mount(harness: ClientHarness, data: bytes, origin: str = "other") -> bool:
    return harness.within(lambda repository: repository.mount(described(data), origin))


def test_a_blob_is_mounted_without_a_transfer(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    key = tiny.hold_blob("other", SMALL)
    assert mount(harness, SMALL) is True
    assert tiny.blobs["app", key] == SMALL
    (asked,) = server.seen.of("POST")
    assert asked.query == {"mount": key, "from": "other"}
    assert asked.headers["Content-Length"] == "0"


def test_an_upload_opened_instead_of_a_mount_is_cancelled(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    assert mount(harness, SMALL) is False
    assert server.seen.of("DELETE", "/uploads/session1")
    assert not tiny.uploads


@pytest.mark.parametrize("fault", ["hang_up", "answer"])
def test_a_failed_cancel_of_an_upload_is_not_retried(
    server: Unruly, harness: ClientHarness, time: Time, fault: str
) -> None:
    if fault == "answer":
        server.fault("answer", "DELETE", status=503)
    else:
        server.fault("hang_up", "DELETE")

    async def both(repository: WritableRepository) -> bool:
        mounted = await repository.mount(described(SMALL), "other")
        assert await repository.resolve(Tag("1")) is None
        return mounted

    assert harness.within(both) is False
    assert time.waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 412, 415, 422, 500, 501, 503])
def test_a_rejected_mount_falls_back_to_a_copy(server: Unruly, harness: ClientHarness, status: int) -> None:
    server.fault("answer", "POST", "mount=", status=status)
    assert mount(harness, SMALL) is False
