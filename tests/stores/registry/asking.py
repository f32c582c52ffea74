"""Helpers to talk to a server of the tests as the engine does: a client, a clock without waiting, recorded events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from mirrorsync.environment import Clock, Environment
from mirrorsync.events import Event, Noticed, Retrying
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import parse_ref
from mirrorsync.stores.base import Store, WritableRepository
from mirrorsync.stores.open import opener
from mirrorsync.stores.registry.http.retry import ATTEMPTS

T = TypeVar("T")
PLAIN = HostSettings(plain_http=True)
BYTES = "application/octet-stream"


class Time:
    """A clock that moves only by waits, which take no time and are recorded."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the seconds since the start."""
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        """Move the clock."""
        with self._lock:
            self.seconds += seconds

    def sleep(self, seconds: float) -> None:
        """Record a wait, and move the clock."""
        with self._lock:
            self.waits.append(seconds)
        self.pass_by(seconds)

    async def asleep(self, seconds: float) -> None:
        """Record a wait, move the clock, and let other tasks run."""
        self.sleep(seconds)
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        """The clock for the client; it starts on a day in 2026."""
        return Clock(self, lambda: 1_790_000_000.0 + self.seconds, self.sleep, self.asleep)


@dataclass
class RecordedEvents:
    """An observer that records all events."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Record an event."""
        self.events.append(event)

    @property
    def notices(self) -> list[str]:
        """The notices, with the stores that they are about."""
        return [f"{event.where}: {event.message}" for event in self.events if isinstance(event, Noticed)]

    @property
    def retries(self) -> list[Retrying]:
        """The retries."""
        return [event for event in self.events if isinstance(event, Retrying)]


@dataclass
class ClientHarness:
    """A store of one registry, opened for each call. time: if it is set, waits take no time."""

    host: str
    settings: HostSettings = PLAIN
    variables: Mapping[str, str] = field(default_factory=dict)
    time: Time | None = field(default_factory=Time)
    recorded: RecordedEvents = field(default_factory=RecordedEvents)
    attempts: int = ATTEMPTS

    def store(self) -> Store:
        """Open the store; on the event loop."""
        clock = self.time.clock if self.time is not None else Clock()
        settings = {self.host: self.settings}
        around = Environment(settings, self.variables, observer=self.recorded, clock=clock, retries=self.attempts - 1)
        return opener(around)(self.host)

    def run(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Run some work with the store, and close it."""

        async def run() -> T:
            store = self.store()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def within(self, work: Callable[[WritableRepository], Awaitable[T]], name: str = "app") -> T:
        """Run some work with a repository."""
        return self.run(lambda store: work(store.repository(name)))

    def resolve(self, reference: str, name: str = "app") -> Descriptor | None:
        """Resolve a tag or digest."""
        return self.within(lambda repository: repository.resolve(parse_ref(reference)), name)

    def tags(self, name: str = "app") -> list[str]:
        """List the tags."""

        async def listed(repository: WritableRepository) -> list[str]:
            return [tag async for tag in repository.tags()]

        return self.within(listed, name)

    def small(self, blob: Descriptor, name: str = "app") -> bytes:
        """Read a blob in one request: the engine for small requests."""
        return self.within(lambda repository: repository.read(blob), name)

    def large(self, blob: Descriptor, offset: int = 0, name: str = "app") -> bytes:
        """Read a blob as a stream: the engine for bytes."""
        return self.within(lambda repository: asyncio.to_thread(streamed, repository, blob, offset), name)

    def put(self, blob: Descriptor, chunks: Iterable[bytes], name: str = "app") -> None:
        """Write a blob as a stream."""
        self.within(lambda repository: asyncio.to_thread(repository.put, blob, chunks), name)

    def write(self, data: bytes, name: str = "app") -> None:
        """Write a blob in one request."""
        self.within(lambda repository: repository.write(described(data), data), name)


def streamed(repository: WritableRepository, blob: Descriptor, offset: int = 0) -> bytes:
    """Read a blob as a stream; in a thread."""
    with repository.open(blob, offset) as chunks:
        return b"".join(chunks)


def described(data: bytes, algorithm: str = "sha256") -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(BYTES, Digest.of(data, algorithm), len(data))


def pieces(data: bytes, size: int = 100_000) -> Iterable[bytes]:
    """Return data in pieces that can be taken once."""
    return (data[start : start + size] for start in range(0, len(data), size))
