"""Carrying out a plan: lock the destinations, perform the steps in order, make it durable, and report."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from mirrorsync.errors import IntegrityError, MirrorsyncError, NotFound
from mirrorsync.events import Noticed
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Plan
from mirrorsync.plan.steps import DeleteManifest, DeleteTag, stores_of
from mirrorsync.stores.base import Sweeping
from mirrorsync.sync.clock import now
from mirrorsync.sync.run.order import in_order
from mirrorsync.sync.run.perform import Performer
from mirrorsync.sync.run.report import Report, report_of
from mirrorsync.sync.session import Session, located


async def apply(
    plan: Plan,
    session: Session,
    *,
    stop: threading.Event | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], str] = now,
) -> Report:
    """Do what the plan says, and return what became of every change.

    A failure stops what depends on it and nothing else. stop: when it is set, no more work is started, streams in
    flight are given up, and the report says interrupted. sleep: waits so many seconds before something is tried again.
    Raises: Locked when another run writes to one of the destinations, StorageError when one cannot be written at all.
    """
    started = clock()
    stores = sorted({store for step in plan.steps for store in stores_of(step)})
    for store in stores:
        with located("destination", Location(store, "")):
            session.store(store).lock()
    async with Performer(session, stop or threading.Event(), sleep) as performer:
        failed = dict(await in_order(plan.steps, performer.perform, performer.stop, session.announce))
    shrunk = {step.target.store for step in plan.steps if isinstance(step, DeleteTag | DeleteManifest)}
    notices = []
    for store in stores:
        try:
            with located("destination", Location(store, "")):
                notices += await _settle(performer, store, sweep=store in shrunk)
        except MirrorsyncError as error:
            # A store that cannot make it durable has none of its images done.
            for step in plan.steps:
                if store in stores_of(step):
                    failed.setdefault((step.id, store), error)
    return report_of(plan, failed, performer.transfer.tally.counts, tuple(notices), started, clock())


async def _settle(performer: Performer, address: str, *, sweep: bool) -> list[Noticed]:
    """Make durable what a store defers, and let it drop what nothing names any more if something was deleted."""
    store = performer.session.store(address)
    if not sweep or not isinstance(store, Sweeping):
        await store.flush()
        return []
    try:
        performer.transfer.tally.freed(*await store.drop_unreferenced())
    except (IntegrityError, NotFound) as error:
        # Another image is damaged, so that nothing tells what it needs. What was deleted is deleted all the same.
        performer.transfer.tally.freed(0, 0)
        return [Noticed(address, f"stays: all blobs, since it cannot be told which are needed: {error}")]
    return []
