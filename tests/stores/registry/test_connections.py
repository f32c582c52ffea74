"""The number of open connections, and that all are released."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import WritableRepository
from tests.parts.images import image, layer, noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described, pieces, streamed

IMAGE = image([layer({"a": b"1"})])
DATA = noise("for many readers", 200_000)


def crowd(limit: int | None) -> ClientHarness:
    return ClientHarness("", HostSettings(plain_http=True, max_connections=limit), time=None)


@pytest.mark.parametrize(("limit", "questions"), [(3, 1), (4, 2), (8, 4), (16, 8), (None, 32)])
def test_all_requests_together_stay_within_the_connection_limit(
    tiny: TinyRegistry, server: Unruly, limit: int | None, questions: int
) -> None:
    tiny.hold("app", IMAGE, "1")
    tiny.hold_blob("app", DATA)
    # A request is answered once the limit is reached: fewer at a time would end in a broken barrier.
    together = threading.Barrier(questions, timeout=20)
    server.fault("wait", "HEAD", "/manifests/", arrived=together.wait)
    harness = crowd(limit)
    harness.host = server.host

    async def everything(repository: WritableRepository) -> None:
        asked = [repository.resolve(Tag("1")) for _ in range(2 * questions)]
        read = [asyncio.to_thread(streamed, repository, described(DATA)) for _ in range(10)]
        new = [noise(f"new {number}", 50_000) for number in range(10)]
        written = [asyncio.to_thread(repository.put, described(data), pieces(data)) for data in new]
        await asyncio.gather(*asked, *read, *written)

    harness.within(everything)
    assert server.seen.most_open <= (limit or 48)


def test_connections_are_reused(tiny: TinyRegistry, server: Unruly) -> None:
    tiny.hold("app", IMAGE, "1")
    tiny.hold_blob("app", DATA)
    harness = crowd(None)
    harness.host = server.host

    async def one_by_one(repository: WritableRepository) -> None:
        for number in range(20):
            await repository.resolve(Tag("1"))
            await asyncio.to_thread(streamed, repository, described(DATA))
            data = noise(f"new {number}", 50_000)
            await asyncio.to_thread(repository.put, described(data), pieces(data))

    harness.within(one_by_one)
    assert server.seen.connections == 3


def test_a_reader_that_stops_in_the_middle_releases_its_connection(tiny: TinyRegistry, server: Unruly) -> None:
    large = noise("large", 5_000_000)
    tiny.hold_blob("app", large)
    harness = crowd(4)  # one connection for reading
    harness.host = server.host

    async def several(repository: WritableRepository) -> None:
        def begin() -> bytes:
            with repository.open(described(large)) as chunks:
                return next(iter(chunks))[:10]

        for _ in range(3):
            assert await asyncio.to_thread(begin) == large[:10]

    harness.within(several)


@pytest.mark.parametrize("fault", ["answer", "cut", "hang_up"])
def test_a_failed_request_releases_its_connection(tiny: TinyRegistry, server: Unruly, fault: str) -> None:
    tiny.hold_blob("app", DATA)
    details: dict[str, dict[str, Any]] = {
        "answer": {"status": 403, "body": b"x" * 300_000},
        "cut": {"at": 50_000},
        "hang_up": {},
    }
    server.fault(fault, "GET", "/blobs/", hits=[1, 2, 3], **details[fault])
    harness = ClientHarness(server.host, HostSettings(plain_http=True, max_connections=4))

    async def several(repository: WritableRepository) -> None:
        for _ in range(5):
            await asyncio.gather(asyncio.to_thread(streamed, repository, described(DATA)), return_exceptions=True)
        assert await asyncio.to_thread(streamed, repository, described(DATA)) == DATA

    harness.within(several)
