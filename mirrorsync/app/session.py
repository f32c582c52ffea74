"""Open sessions: stores, caches and clock come from an environment and a stop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from mirrorsync.app.bundle.signers import voucher
from mirrorsync.app.loops import raise_one
from mirrorsync.app.process import process_environment
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.events import Noticed
from mirrorsync.hosts import HostSettings
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import Signers
from mirrorsync.stores.base import Store
from mirrorsync.stores.open import opener
from mirrorsync.sync.manifest_cache import DiskCache
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.run.window import Until
from mirrorsync.sync.session import Session

T = TypeVar("T")

_CACHE_FILE: Final = "manifests.sqlite"
_NO_HOSTS: Final[Mapping[str, HostSettings]] = {}
_NO_STORES: Final[Mapping[str, Store]] = {}


@asynccontextmanager
async def open_session(
    environment: Environment | None,
    stop: Stop,
    hosts: Mapping[str, HostSettings] = _NO_HOSTS,
    stores: Mapping[str, Store] = _NO_STORES,
    *,
    signers: Signers | None = None,
) -> AsyncIterator[Session]:
    """Open a session while the block runs. environment: None = the process's. hosts: host settings of the spec.

    stores: those that are open already, by address. signers: those of the spec, for bundles that are sources. Of errors
    that several tasks of the block raise together, one is raised.
    """
    given = environment or process_environment()
    clock = replace(given.clock, sleep=stop.sleep, asleep=stop.asleep)
    settings = replace(given, hosts={**given.hosts, **hosts}, clock=clock, vouch=voucher(given, signers))

    def warn(message: str) -> None:
        settings.observer(Noticed("cache", message))

    directory = settings.cache_directory
    try:
        async with stop.listening():
            cache = DiskCache(directory / _CACHE_FILE if directory else None, warn)
            opening = opener(settings)

            def open_store(address: str) -> Store:
                return stores.get(address) or opening(address)

            async with Session(open_store, cache=cache, observer=settings.observer) as session:
                yield session
    except BaseExceptionGroup as group:
        raise_one(group)


@dataclass(frozen=True, slots=True)
class Run:
    """A plan and its report. report: None if it was only planned."""

    plan: Plan
    report: Report | None


async def apply_until_stopped(plan: Plan, session: Session, stop: Stop, until: Until | None = None) -> Report:
    """Apply a plan; return the outcome of every change, also if it is stopped. until, raises: as `apply`."""
    return stop.mark_deadline(await apply(plan, session, stop=stop.event, sleep=stop.asleep, until=until))


async def query(
    work: Callable[[Session], Coroutine[Any, Any, T]],
    environment: Environment | None,
    stop: Stop | None,
    hosts: Mapping[str, HostSettings] = _NO_HOSTS,
    *,
    signers: Signers | None = None,
) -> T:
    """Return the result of `work` in a session. It changes nothing, so a stop just cancels it. Raises: Interrupted.

    hosts, signers: as for `open_session`.
    """
    stop = stop or Stop()
    async with open_session(environment, stop, hosts, signers=signers) as session:
        return await stop.interruptible(work(session))
