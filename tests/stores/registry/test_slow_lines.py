"""Slow, silent and endless lines: progress is waited for, and stalls are aborted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from mirrorsync.errors import MirrorsyncError, Unreachable
from mirrorsync.hosts import HostSettings
from tests.parts.images import noise
from tests.parts.slow_line import SlowLine
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described, pieces

SMALL = noise("slow", 60_000)
LARGE = noise("slow and large", 600_000)
# A second stands for the minute of the defaults: everything else is scaled with it.
HASTY = HostSettings(plain_http=True, stall_seconds=1, answer_seconds=1, min_bytes_per_second=1024)
PATIENT = replace(HASTY, answer_seconds=30)

Work = Callable[[ClientHarness], object]
READERS: Mapping[str, Work] = {
    "requests": lambda harness: harness.small(described(SMALL)),
    "streams": lambda harness: harness.large(described(SMALL)),
}
read_both = pytest.mark.parametrize("read", READERS.values(), ids=READERS)
WRITERS: Mapping[str, Work] = {
    "requests": lambda harness: harness.write(SMALL),
    "streams": lambda harness: harness.put(described(LARGE), pieces(LARGE)),
}
write_both = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@pytest.fixture
def tiny() -> TinyRegistry:
    registry = TinyRegistry()
    registry.hold_blob("app", SMALL)
    return registry


def harness_of(host: str, settings: HostSettings = HASTY) -> ClientHarness:
    return ClientHarness(host, settings, attempts=1)


def held(seconds: float) -> Callable[[], None]:
    """Return a function that delays a request at the server."""

    def wait() -> None:
        threading.Event().wait(seconds)

    return wait


@write_both
def test_an_upload_over_a_slow_but_steady_line_completes(tiny: TinyRegistry, server: Unruly, write: Work) -> None:
    """Bytes that the server has accepted count, not those in the socket's buffer: the rest takes 6 s here."""
    with SlowLine(server.host, up=100_000) as line:
        harness = harness_of(line.host)
        write(harness)
        assert harness.recorded.retries == []
    assert len(server.seen.of("PUT")) == 1


def test_a_stalled_upload_is_aborted(server: Unruly) -> None:
    with SlowLine(server.host, up=1000) as line, pytest.raises(Unreachable) as caught:
        ClientHarness(line.host, HASTY, attempts=1).put(described(LARGE), pieces(LARGE))
    assert "the server accepted only" in caught.value.message


@write_both
def test_the_answer_to_a_write_is_waited_for_as_long_as_answer_seconds(server: Unruly, write: Work) -> None:
    """Storages that assemble an upload after its last byte (moby#53700, harbor#15729)."""
    server.fault("wait", "PUT", arrived=held(2.5))
    harness = harness_of(server.host, PATIENT)
    write(harness)
    assert harness.recorded.retries == []
    assert len(server.seen.of("PUT")) == 1


@write_both
def test_a_write_without_an_answer_times_out(server: Unruly, write: Work) -> None:
    server.fault("wait", "PUT", arrived=held(3.0))
    with pytest.raises(MirrorsyncError) as caught:
        write(harness_of(server.host))
    assert "no answer for 1 seconds" in caught.value.message


@read_both
def test_the_slow_first_byte_of_a_pull_through_cache_is_waited_for(server: Unruly, read: Work) -> None:
    server.fault("wait", "GET", "/blobs/", arrived=held(2.5))
    harness = harness_of(server.host, PATIENT)
    assert read(harness) == SMALL
    assert harness.recorded.retries == []


@dataclass(frozen=True)
class Endless:
    """An endless answer."""

    pieces: Callable[[Reply], Iterable[bytes]]
    message: str


def every(seconds: float, piece: bytes) -> Iterator[bytes]:
    """Yield the same piece for ever, with the server's own pauses, which no test waits for."""
    for _ in range(int(30 / seconds)):
        yield piece
        threading.Event().wait(seconds)


def dripped(reply: Reply) -> Iterable[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply.body)
    yield from every(0.05, b"x")


ENDLESS = {
    "a byte now and then": Endless(dripped, "the server sent only"),
    "100 Continue now and then": Endless(lambda _: every(0.05, b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer for"),
    "100 Continue at full speed": Endless(lambda _: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), ""),
    "headers now and then": Endless(lambda _: itertools.chain([b"HTTP/1.1 200 OK\r\n"], every(0.05, b"a: b\r\n")), ""),
    "headers at full speed": Endless(
        lambda _: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"a: b\r\n" * 1000)), "headers"
    ),
}


@read_both
@pytest.mark.parametrize("endless", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_answer_is_aborted(server: Unruly, read: Work, endless: Endless) -> None:
    server.fault("raw", "GET", "/blobs/", pieces=endless.pieces)
    with pytest.raises(Unreachable) as caught:
        read(harness_of(server.host))
    assert endless.message in caught.value.message
