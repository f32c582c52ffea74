"""Apply a plan: lock the destinations, perform the steps in order, make the result durable, and report."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from mirrorsync.errors import IntegrityError, Malformed, MirrorsyncError, NotFound
from mirrorsync.events import Noticed, TransferPlanned
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.budget import delayed
from mirrorsync.plan.model import Change, Plan
from mirrorsync.plan.steps import CopyBlob, DeleteManifest, DeleteTag, PutManifest, SetTag, Step, stores_of
from mirrorsync.stores.base import Sweeping
from mirrorsync.sync.bundle.rebuilding import unreadable
from mirrorsync.sync.clock import now
from mirrorsync.sync.run.order import Barriers, in_order
from mirrorsync.sync.run.perform import Performer
from mirrorsync.sync.run.report import Report, report_of
from mirrorsync.sync.run.transfer import Transfer
from mirrorsync.sync.run.window import Until, Window
from mirrorsync.sync.session import Session, located


async def apply(
    plan: Plan,
    session: Session,
    *,
    stop: threading.Event | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], str] = now,
    until: Until | None = None,
) -> Report:
    """Perform the steps of a plan, and return the outcome of every change.

    If a step fails, only the steps that need it are skipped. stop: once it is set, no step is started, streams in
    flight are aborted, and the report says interrupted. sleep: waits a number of seconds before a retry. until: when no
    image begins any more, None = never; those that have not begun are delayed. Raises: Locked if another run writes to
    one of the destinations, StorageError if one cannot be written at all.
    """
    started = clock()
    stores = sorted({store for step in plan.steps for store in stores_of(step)})
    for store in stores:
        with located("destination", Location(store, "")):
            session.store(store).lock()
    await unreadable(plan, session)  # a saved plan, or one of a rollback, has not offered the bases of deltas yet
    session.announce(TransferPlanned(plan.read_bytes, sum(isinstance(step, SetTag) for step in plan.steps)))
    stop = stop or threading.Event()
    async with Performer(session, Transfer(session, stop, sleep, _images(plan))) as performer:
        window = None if until is None else Window(plan, until)
        barriers = _deletions_last(plan.steps)
        failed = dict(await in_order(plan.steps, performer.perform, stop, session.announce, window, barriers))
    shrunk = {step.target.store for step in plan.steps if isinstance(step, DeleteTag | DeleteManifest)}
    notices = []
    for store in stores:
        try:
            with located("destination", Location(store, "")):
                notices += await _flush(performer, store, sweep=store in shrunk)
                performer.published.flushed(store)
        except MirrorsyncError as error:
            # If a store cannot make its content durable, all its images have failed.
            for step in plan.steps:
                if store in stores_of(step):
                    failed.setdefault((step.id, store), error)
    if window is not None and until is not None:
        plan = delayed(plan, window.waiting, f"the budget of {until.text} is used")
    report = report_of(plan, failed, performer.transfer.tally.counts, tuple(notices), started, clock())
    sources = {change.origin.location.store for change in plan.changes if change.origin is not None}
    return replace(report, pulls=session.pulls(sources))


def _deletions_last(steps: Iterable[Step]) -> Barriers:
    """Return the barriers that let deletions in a repository wait for all that is written there.

    A registry that deletes only by digest deletes all tags of an image. Whether others need it is looked up just
    before: a tag that is set meanwhile would be lost, or docker-registry would list it without its manifest.
    """
    gone = {step.id: step.target for step in steps if isinstance(step, DeleteTag | DeleteManifest)}
    targets = frozenset(gone.values())
    written = [step for step in steps if isinstance(step, PutManifest | SetTag) and step.target in targets]
    return Barriers({step.id: step.target for step in written}, gone)


def _images(plan: Plan) -> Mapping[Digest, Change]:
    """Return one of the images that need it for every blob that is copied, so that progress can name it."""
    steps = {step.id: step for step in plan.steps}
    found: dict[Digest, Change] = {}
    for change in plan.changed():
        pending = [change.step]
        while pending:
            step = steps.pop(pending.pop(), None)  # each step once, whatever number of images share it
            if step is None:
                continue
            if isinstance(step, CopyBlob):
                found[step.blob.digest] = change
            pending += step.needs
    return found


async def _flush(performer: Performer, address: str, *, sweep: bool) -> list[Noticed]:
    """Make a store's content durable, and after a deletion let it drop blobs that are not used any more."""
    store = performer.session.store(address)
    if not sweep or not isinstance(store, Sweeping):
        await store.flush()
        return []
    try:
        performer.transfer.tally.freed(*await store.drop_unreferenced())
    except (IntegrityError, Malformed, NotFound) as error:
        # Another image is damaged, so that the blobs it needs are unknown. The deletion itself is done.
        performer.transfer.tally.freed(0, 0)
        return [Noticed(address, f"no blobs were removed, since it is unknown which are needed: {error}")]
    return []
