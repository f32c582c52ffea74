"""How many requests at a time a host gets: fewer if it says that they are too many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.registry.http.width import Width
from tests.parts.images import noise
from tests.parts.throttling import REFUSALS, Throttling
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import HangUp, Unruly
from tests.stores.registry.asking import ClientHarness, Time, described

DATA = noise("throttled", 3000)
BLOB = described(DATA)

# What happens to a width of 8, and its limit then. `+` is a success and `-` a request that was throttled, both sent in
# the present round with 8 in flight; `o` is one throttled that was sent before the last halving, and `s` a success of
# that kind; `1` is one throttled that was alone; `^` allows 100.
STORIES = {
    "": 8,
    "+++++++++": 8,
    "-": 4,
    "-ooooooo": 4,
    "--": 2,
    "---": 1,
    "-----": 1,
    "-+++": 4,
    "-++++": 5,
    "-+++++++++": 6,
    "-ssssssss": 4,
    "-+++-": 2,
    "---+": 2,
    "---+++": 3,
    "-" + "+" * (4 + 5 + 6 + 7): 8,
    "-" + "+" * 100: 8,
    "1": 1,
    "^": 100,
    "-^": 4,
    "-^" + "+" * (4 + 5 + 6 + 7 + 8): 9,
}


@pytest.mark.parametrize(("story", "limit"), STORIES.items(), ids=[story or "nothing" for story in STORIES])
def test_the_width_is_halved_once_for_what_was_in_flight_and_grows_by_one_for_each_width_of_successes(
    story: str, limit: int
) -> None:
    width = Width(8)
    for event in story:
        if event == "^":
            width.raise_ceiling(100)
        elif event in "+s":
            width.succeeded(width.round - (event == "s"))
        else:
            width.throttled(width.round - (event == "o"), 1 if event == "1" else 8)
    assert width.limit == limit


@pytest.mark.parametrize(("throttled", "connections"), [(0, 8), (1, 4), (2, 2), (3, 1), (5, 1)])
def test_other_connections_get_the_same_part_and_at_least_one(throttled: int, connections: int) -> None:
    width = Width(32)
    for _ in range(throttled):
        width.throttled(width.round, 32)
    assert width.part(8) == connections


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
def test_a_host_with_a_rate_limit_has_to_refuse_few_requests(
    tiny: TinyRegistry, time: Time, refuse: Callable[[], Reply]
) -> None:
    tiny.hold_blob("app", DATA)
    limited = Throttling(tiny, time, 8, refuse)

    async def read(repository: WritableRepository) -> None:
        assert await asyncio.gather(*(repository.read(BLOB) for _ in range(120))) == [DATA] * 120

    with Unruly(limited, clock=time) as server:
        replace(ClientHarness(server.host, time=time), attempts=1000).within(read)
    # 60 to 100; with 32 at a time throughout 260 to 310.
    assert limited.refused < 160


def test_after_a_refusal_half_as_many_blobs_are_read_at_a_time(tiny: TinyRegistry, server: Unruly, time: Time) -> None:
    tiny.hold_blob("app", DATA)
    arrived, begun = threading.Barrier(8, timeout=20), threading.Barrier(4, timeout=20)
    now, counts, lock = 0, set[int](), threading.Lock()

    def break_off() -> None:
        arrived.wait()
        raise HangUp

    def count(change: int) -> None:
        nonlocal now
        with lock:
            now += change
            counts.add(now)

    def read(repository: WritableRepository) -> None:
        with repository.open(BLOB) as chunks:
            count(1)
            begun.wait()
            assert b"".join(chunks) == DATA
            count(-1)

    server.fault("wait", "GET", "/blobs/", hits=range(1, 9), arrived=break_off)

    async def read_all(repository: WritableRepository) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(24) as threads:
            await asyncio.gather(*(loop.run_in_executor(threads, read, repository) for _ in range(60)))

    ClientHarness(server.host, time=time).within(read_all)
    assert max(counts) == 4
