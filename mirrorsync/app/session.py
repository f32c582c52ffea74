"""The one way into a session: its stores, caches and clock come from an environment and from who may stop it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from mirrorsync.app.loops import raise_one
from mirrorsync.app.process import process_environment
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.events import Noticed
from mirrorsync.hosts import HostSettings
from mirrorsync.plan.model import Plan
from mirrorsync.stores.open import opener
from mirrorsync.sync.manifest_cache import DiskCache
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session

T = TypeVar("T")

_CACHE_FILE: Final = "manifests.sqlite"
_NO_HOSTS: Final[Mapping[str, HostSettings]] = {}


@asynccontextmanager
async def opened(
    environment: Environment | None, stop: Stop, hosts: Mapping[str, HostSettings] = _NO_HOSTS
) -> AsyncIterator[Session]:
    """Open a session while the block runs. environment: None = the process's. hosts: the settings that a spec has.

    An error that several tasks of the block raised together comes out as one.
    """
    given = environment or process_environment()
    clock = replace(given.clock, sleep=stop.sleep, asleep=stop.asleep)
    around = replace(given, hosts={**given.hosts, **hosts}, clock=clock)

    def warn(message: str) -> None:
        around.observer(Noticed("cache", message))

    directory = around.cache_directory
    try:
        async with stop.watched():
            cache = DiskCache(directory / _CACHE_FILE if directory else None, warn)
            async with Session(opener(around), cache=cache, observer=around.observer) as session:
                yield session
    except BaseExceptionGroup as group:
        raise_one(group)


@dataclass(frozen=True, slots=True)
class Run:
    """A plan, and what became of it. report: None if it was only planned."""

    plan: Plan
    report: Report | None


async def carried_out(plan: Plan, session: Session, stop: Stop) -> Report:
    """Carry out a plan; return what became of every change, also if it is told to stop. Raises: as `apply`."""
    return stop.reported(await apply(plan, session, stop=stop.event, sleep=stop.asleep))


async def asked(
    work: Callable[[Session], Coroutine[Any, Any, T]],
    environment: Environment | None,
    stop: Stop | None,
    hosts: Mapping[str, HostSettings] = _NO_HOSTS,
) -> T:
    """Return what `work` finds out in a session; it only asks, and is given up as it is. Raises: Interrupted."""
    stop = stop or Stop()
    async with opened(environment, stop, hosts) as session:
        return await stop.unless(work(session))
