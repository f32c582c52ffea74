"""What a spec allows in a second: requests and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mirrorsync.errors import Interrupted, MirrorsyncError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.registry.http.rate import Rate
from tests.parts.auth_service import AuthService
from tests.parts.images import image, layer, noise
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time, described, pieces, streamed

IMAGE = image([layer({"a": b"1"})])
SMALL = noise("small", 100_000)
LARGE = noise("large", 2 * CHUNK_BYTES)
BANDWIDTH = CHUNK_BYTES // 2


@pytest.fixture(autouse=True)
def held(tiny: TinyRegistry) -> None:
    tiny.hold("app", IMAGE, "1")
    tiny.hold_blob("app", SMALL)
    tiny.hold_blob("app", LARGE)


def limited(
    server: Unruly, time: Time | None, *, requests_per_second: int | None = None, bandwidth: int | None = None
) -> ClientHarness:
    settings = replace(PLAIN, requests_per_second=requests_per_second, bandwidth=bandwidth)
    return ClientHarness(server.host, settings, time=time)


# Calls, each with the time and the amount, and the waits that they get, at ten in a second.
@pytest.mark.parametrize(
    ("taken", "waits"),
    [
        ([(0, 1), (0, 1), (0, 1)], [0, 0.1, 0.2]),
        ([(0, 1), (0.05, 1), (0.25, 1)], [0, 0.05, 0]),
        ([(0, 1), (100, 1), (100, 1), (100, 1)], [0, 0, 0.1, 0.2]),  # nothing is saved up in a silence
        ([(0, 50), (1, 1), (1, 1)], [0, 4, 4.1]),
        ([(0, 5), (0, 0), (0, 0), (0, 5)], [0, 0.5, 0.5, 0.5]),
    ],
)
def test_a_rate_is_spread_evenly(taken: list[tuple[float, float]], waits: list[float]) -> None:
    rate = Rate(10)
    assert [rate.take(now, amount) for now, amount in taken] == pytest.approx(waits)


def test_all_requests_to_a_host_share_its_rate(server: Unruly, time: Time) -> None:
    async def both_engines(repository: WritableRepository) -> None:
        asked = [repository.resolve(Tag("1")) for _ in range(40)]
        read = [asyncio.to_thread(streamed, repository, described(SMALL)) for _ in range(10)]
        await asyncio.gather(*asked, *read)

    limited(server, time, requests_per_second=10).within(both_engines)
    assert len(server.seen.requests) == 51  # and one for the API
    assert time.seconds >= 4.99


def test_requests_to_the_token_service_count_and_those_to_a_storage_do_not(tiny: TinyRegistry, time: Time) -> None:
    auth_service = AuthService(clock=time, anonymous=True)
    guarded = TinyRegistry(guard=auth_service.guard)
    with (
        Unruly(lambda asked: Reply(200, {}, SMALL)) as storage,
        Unruly(auth_service) as tokens,
        Unruly(guarded) as server,
    ):
        auth_service.realm = f"{tokens.url}/token"
        server.fault("answer", "GET", "/blobs/", status=307, headers={"Location": f"{storage.url}/signed"})

        async def read(repository: WritableRepository) -> None:
            for _ in range(4):
                await repository.read(described(SMALL))
                await asyncio.to_thread(streamed, repository, described(SMALL))

        limited(server, time, requests_per_second=10).within(read)
        # The API, a token, and eight blobs; eight more requests went to the storage.
        assert (len(server.seen.requests), len(tokens.seen.requests), len(storage.seen.requests)) == (9, 1, 8)
    assert time.seconds == pytest.approx(0.9)


def test_a_pause_that_begins_while_requests_wait_for_their_time_is_respected(server: Unruly, time: Time) -> None:
    server.fault("answer", "HEAD", "/manifests/", hits=[1], status=429, headers={"Retry-After": "60"})

    async def ask(repository: WritableRepository) -> None:
        await asyncio.gather(*(repository.resolve(Tag("1")) for _ in range(5)))

    limited(server, time, requests_per_second=1000).within(ask)
    assert all(asked.at >= 60 for asked in server.seen.of("HEAD")[5:])


async def read_small(repository: WritableRepository) -> None:
    assert await asyncio.gather(*(repository.read(described(SMALL)) for _ in range(20))) == [SMALL] * 20


async def read_large(repository: WritableRepository) -> None:
    assert await asyncio.to_thread(streamed, repository, described(LARGE)) == LARGE


async def write_small(repository: WritableRepository) -> None:
    for number in range(20):
        new = noise(f"new {number}", len(SMALL))
        await repository.write(described(new), new)


async def write_large(repository: WritableRepository) -> None:
    new = noise("new", len(LARGE))
    await asyncio.to_thread(repository.put, described(new), pieces(new, 900_000))


async def write_in_parts(repository: WritableRepository) -> None:
    with pytest.raises(MirrorsyncError, match="too large"):
        await write_large(repository)
    await write_large(repository)


@pytest.mark.parametrize(
    "move", [read_small, read_large, write_small, write_large, write_in_parts], ids=lambda move: str(move.__name__)
)
def test_the_bytes_of_all_transfers_share_the_bandwidth(
    server: Unruly, time: Time, move: Callable[[WritableRepository], Awaitable[None]]
) -> None:
    if move is write_in_parts:
        server.fault("answer", "PUT", "/uploads/", hits=[1], status=413)
    limited(server, time, bandwidth=BANDWIDTH).within(move)
    # Two MB in four seconds; the first piece of them is free.
    assert 3 <= time.seconds < (9 if move is write_in_parts else 5)


def test_reading_and_writing_in_threads_share_the_bandwidth(server: Unruly, time: Time) -> None:
    async def both(repository: WritableRepository) -> None:
        await asyncio.gather(read_large(repository), write_large(repository), read_large(repository))

    limited(server, time, bandwidth=BANDWIDTH).within(both)
    assert time.seconds >= 11


def test_questions_without_a_body_do_not_wait_for_bytes(server: Unruly, time: Time) -> None:
    async def ask(repository: WritableRepository) -> None:
        await repository.read(described(SMALL))
        for _ in range(20):
            await repository.resolve(Tag("1"))

    limited(server, time, bandwidth=64 * 1024).within(ask)
    assert time.waits == []


def test_a_transfer_that_has_to_wait_has_not_stalled(server: Unruly) -> None:
    # Real time: a second and a half for one chunk. At this speed it would count as stalled after one second.
    new = noise("slow on purpose", 700_000)
    settings = replace(PLAIN, bandwidth=400_000, stall_seconds=1, min_bytes_per_second=10_000_000)
    ClientHarness(server.host, settings, time=None).put(described(new), [new])


@pytest.mark.parametrize("move", [read_large, write_large], ids=["reading", "writing"])
def test_a_transfer_that_waits_for_its_bytes_ends_with_the_run(
    server: Unruly, move: Callable[[WritableRepository], Awaitable[None]]
) -> None:
    class Stopping(Time):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if seconds:
                raise Interrupted("the run was stopped")

    with pytest.raises(Interrupted):
        limited(server, Stopping(), bandwidth=BANDWIDTH).within(move)


def test_waiting_for_the_rate_does_not_count_as_failing(server: Unruly, time: Time) -> None:
    """15 minutes of failing requests end the retries to a host; these fail at once, after waiting for half an hour."""
    server.fault("answer", "HEAD", "/manifests/", hits=range(1, 4000, 2), status=503)

    async def ask(repository: WritableRepository) -> None:
        for _ in range(15):
            await asyncio.gather(*(repository.resolve(Tag("1")) for _ in range(60)))

    ClientHarness(server.host, replace(PLAIN, requests_per_second=1), time=time, attempts=100).within(ask)
    assert time.seconds > 1800
