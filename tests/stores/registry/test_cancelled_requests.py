"""Requests that are cancelled or fail: they leave nothing open."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store, WritableRepository
from tests.parts.images import image, layer, noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described, streamed

IMAGE = image([layer({"a": b"1"})])
DATA = noise("given up", 3_000_000)


@pytest.fixture
def tiny() -> TinyRegistry:
    registry = TinyRegistry()
    registry.hold("app", IMAGE, "1")
    registry.hold_blob("app", DATA)
    return registry


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def abandoned(repository: WritableRepository, arrived: threading.Semaphore) -> None:
    """Send twenty requests, and cancel them once some have arrived at the server."""
    tasks = [asyncio.create_task(repository.resolve(Tag("1"))) for _ in range(20)]
    await asyncio.to_thread(arrived.acquire)
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, BaseException) for end in await asyncio.gather(*tasks, return_exceptions=True))


def test_cancelled_requests_do_not_affect_later_ones(server: Unruly, harness: ClientHarness) -> None:
    arrived, leave = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        arrived.release()
        leave.wait(20)

    async def work(repository: WritableRepository) -> None:
        for _ in range(3):
            server.fault("wait", "HEAD", arrived=hold)
            await abandoned(repository, arrived)
            server.heal()
            found = await repository.resolve(Tag("1"))
            assert found is not None
            assert found.digest == IMAGE.digest

    try:
        harness.within(work)
    finally:
        leave.set()


def test_a_run_ends_at_once_with_requests_in_flight(server: Unruly, harness: ClientHarness) -> None:
    arrived, leave = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        arrived.release()
        leave.wait(20)

    async def work(store: Store) -> asyncio.Task[object]:
        asking: asyncio.Task[object] = asyncio.create_task(store.repository("app").resolve(Tag("1")))
        await asyncio.to_thread(arrived.acquire)
        return asking

    server.fault("wait", "HEAD", arrived=hold)
    try:
        assert harness.run(work).cancelled()
    finally:
        leave.set()


@pytest.mark.parametrize("fault", ["hang_up", "cut", "answer"])
def test_failed_requests_leave_no_descriptor_open(server: Unruly, fault: str) -> None:
    details: dict[str, dict[str, Any]] = {"cut": {"at": 10}, "answer": {"status": 500}}
    server.fault(fault, "*", "/(blobs|manifests)/", **details.get(fault, {}))
    before = descriptors()

    async def work(repository: WritableRepository) -> None:
        for _ in range(5):
            questions = [repository.manifest(described(IMAGE.raw)) for _ in range(20)]
            reading = [asyncio.to_thread(streamed, repository, described(DATA)) for _ in range(4)]
            for end in await asyncio.gather(*questions, *reading, return_exceptions=True):
                assert isinstance(end, MirrorsyncError)

    for _ in range(3):
        ClientHarness(server.host, attempts=2).within(work)
    assert descriptors() <= before
