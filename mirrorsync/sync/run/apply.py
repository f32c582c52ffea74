"""Carrying out a plan: steps in the order of their needs, as many at a time as is useful, and a report of the rest."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

from mirrorsync.errors import Interrupted, MirrorsyncError, StalePlan
from mirrorsync.events import PhaseAdvanced, PhaseStarted, StepFailed, TagSet, TransferPlanned
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import (
    Change,
    CopyBlob,
    Failure,
    MountBlob,
    Plan,
    PutManifest,
    SetTag,
    Step,
    final_step,
    stores_of,
)
from mirrorsync.sync.gather.held import held_at
from mirrorsync.sync.planning import now
from mirrorsync.sync.pool import STEPS_AT_ONCE, Room
from mirrorsync.sync.run.report import Counts, Outcome, Report, Result
from mirrorsync.sync.run.storing import Storing
from mirrorsync.sync.run.transfer import SMALL_BYTES, STREAMS_AT_ONCE, Failures, Transfer
from mirrorsync.sync.session import Session, located

# Of manifests that are being written at a time, in bytes as they are sent.
_MANIFEST_BYTES: Final = 16 * 1024 * 1024


async def apply(
    plan: Plan,
    session: Session,
    *,
    stop: threading.Event | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], str] = now,
) -> Report:
    """Do what the plan says, and return what became of every image.

    A failure stops what depends on it and nothing else. stop: when it is set, no more work is started, streams in
    flight are given up, and the report says interrupted. sleep: waits so many seconds before something is tried again.
    Raises: Locked when another run writes to one of the destinations, StorageError when one cannot be written at all.
    """
    started = clock()
    for store in sorted({store for step in plan.steps for store in stores_of(step)}):
        with located("destination", Location(store, "")):
            session.store(store).lock()
    stop = stop or threading.Event()
    transfer = Transfer(session, stop, sleep)
    run = _Run(plan, session, transfer, stop)
    try:
        await run.work()
    finally:
        await asyncio.to_thread(transfer.close)
    await run.flush()
    return run.report(started, clock())


class _Run:
    """One execution: which steps wait, are ready, and have failed (by step and destination store)."""

    def __init__(self, plan: Plan, session: Session, transfer: Transfer, stop: threading.Event) -> None:
        self._plan = plan
        self._session = session
        self._transfer = transfer
        self._storing = Storing(session, transfer)
        self._stop = stop
        self._waiting = {step.id: len(step.needs) for step in plan.steps}
        self._dependents: defaultdict[str, list[Step]] = defaultdict(list)
        for step in plan.steps:
            for need in step.needs:
                self._dependents[need].append(step)
        self._failed: dict[tuple[str, str], MirrorsyncError] = {}
        self._left = len(plan.steps)
        self._questions = _Lane()
        self._streams = _Lane()
        self._room = Room(_MANIFEST_BYTES)

    async def work(self) -> None:
        """Do every step."""
        self._session.announce(PhaseStarted("apply", self._left))
        self._session.announce(TransferPlanned(self._plan.read_bytes))
        for step in self._plan.steps:
            if not step.needs:
                self._ready(step)
        self._close_when_done()
        async with asyncio.TaskGroup() as group:
            for _ in range(min(STEPS_AT_ONCE, self._left)):
                group.create_task(self._serve(self._questions))
            for _ in range(min(STREAMS_AT_ONCE, self._left)):
                group.create_task(self._serve(self._streams))

    async def _serve(self, lane: _Lane) -> None:
        while (step := await lane.take()) is not None:
            for store, error in (await self._do(step)).items():
                self._failed[step.id, store] = error
            self._session.announce(PhaseAdvanced("apply"))
            self._left -= 1
            for dependent in self._dependents.pop(step.id, ()):
                self._waiting[dependent.id] -= 1
                if not self._waiting[dependent.id]:
                    self._ready(dependent)
            self._close_when_done()

    def _ready(self, step: Step) -> None:
        if isinstance(step, CopyBlob) and step.blob.size > SMALL_BYTES:
            self._streams.put(step, -step.blob.size)  # the largest first, so that none is left alone at the end
        else:
            # What completes an image goes before what begins one: a run that is cut off has whole images to show.
            self._questions.put(step, 0 if isinstance(step, CopyBlob) else -1)

    def _close_when_done(self) -> None:
        if not self._left:
            self._questions.close()
            self._streams.close()

    async def _do(self, step: Step) -> dict[str, MirrorsyncError]:
        """Do a step; return what failed, by store."""
        if self._stop.is_set():
            return dict.fromkeys(stores_of(step), Interrupted("the run was told to stop before this"))
        blocked = self._blocked(step)
        if blocked is not None:
            return dict.fromkeys(stores_of(step), blocked)
        if isinstance(step, CopyBlob):
            failures = await self._transfer.copy(step.blob, step.source, step.targets)
            errors = {target.store: error for target, error in failures.items()}
        else:
            error = await self._attempt(step)
            errors = {step.target.store: error} if error else {}
        for store, error in errors.items():
            error.at(step=step.id)
            if not isinstance(error, Interrupted):
                self._session.announce(StepFailed(f"{step.id} ({store})", error))
        return errors

    def _blocked(self, step: Step) -> MirrorsyncError | None:
        """Return why a step cannot be done because of what it needs. A mount can: it copies instead."""
        if isinstance(step, CopyBlob | MountBlob):
            return None
        failures = (self._failed.get((need, step.target.store)) for need in step.needs)
        return next((error for error in failures if error is not None), None)

    async def _attempt(self, step: MountBlob | PutManifest | SetTag) -> MirrorsyncError | None:
        try:
            if isinstance(step, MountBlob):
                await self._mount(step)
                return None
            async with self._room.of(step.manifest.size):
                if isinstance(step, PutManifest):
                    await self._put_manifest(step)
                else:
                    await self._set_tag(step)
        except MirrorsyncError as error:
            return error
        return None

    async def _mount(self, step: MountBlob) -> None:
        origin_failed = any((need, step.target.store) in self._failed for need in step.needs)
        if not origin_failed:
            with located("destination", step.target):
                if await self._transfer.mount(step.blob, step.origin, step.target):
                    return
        origin = Location(step.target.store, step.origin)
        # The destination's own copy is nearer than the source, and was verified when it was written.
        for source in (step.source,) if origin_failed else (origin, step.source):
            failures: Failures = await self._transfer.copy(step.blob, source, [step.target])
            if not failures:
                return
        raise failures[step.target]

    async def _put_manifest(self, step: PutManifest) -> None:
        with located("source", step.source):
            manifest = await self._session.manifest(step.source, step.manifest)
        with located("destination", step.target, str(manifest.digest)):
            await self._storing.put(manifest, step.source, step.target)

    async def _set_tag(self, step: SetTag) -> None:
        with located("source", step.source):
            manifest = await self._session.manifest(step.source, step.manifest)
        with located("destination", step.target, step.tag):
            await self._storing.prepare(manifest, step.source, step.target)
            held = await held_at(self._session, step.target, step.tag, step.manifest, step.source)
            expected = {known.digest for known in (step.manifest, step.was) if known is not None}
            if held is not None and held.digest not in expected:
                raise StalePlan(f"the tag names {held.digest.short} by now; somebody else has set it")
            await self._storing.tag(manifest, step.source, step.target, step.tag)
        self._session.announce(TagSet(f"{step.target}:{step.tag}", str(manifest.digest)))

    async def flush(self) -> None:
        """Let every store make durable what it defers. A store that cannot has none of its images done."""
        stores = sorted({store for step in self._plan.steps for store in stores_of(step)})
        for address in stores:
            try:
                await self._session.store(address).flush()
            except MirrorsyncError as error:
                error.at(side="destination", store=address)
                for step in self._plan.steps:
                    if address in stores_of(step):
                        self._failed.setdefault((step.id, address), error)

    def report(self, started: str, finished: str) -> Report:
        """Return what became of every image."""
        results, failures = [], list(self._plan.failures)
        for change in self._plan.changes:
            outcome, error = self._outcome(change)
            results.append(Result(change, outcome))
            if outcome == "failed" and error is not None:
                failures.append(Failure(str(change.image), error))
        tally = self._transfer.tally
        counts = Counts(**{name: getattr(tally, name) for name in Counts.__dataclass_fields__})
        return Report(started, finished, self._plan.spec, tuple(results), tuple(failures), counts)

    def _outcome(self, change: Change) -> tuple[Outcome, MirrorsyncError | None]:
        if change.state == "unchanged":
            return "unchanged", None
        error = self._failed.get((final_step(change.image), change.image.target.store))
        if error is None:
            return "done", None
        return ("skipped" if isinstance(error, Interrupted) else "failed"), error


class _Lane:
    """Steps that are ready, for workers of one kind; the smallest rank comes first."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, int, Step]] = []
        self._count = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, step: Step, rank: int) -> None:
        """Add a step."""
        heapq.heappush(self._steps, (rank, self._count, step))
        self._count += 1
        self._changed.set()

    def close(self) -> None:
        """Send the workers home when no step is left."""
        self._closed = True
        self._changed.set()

    async def take(self) -> Step | None:
        """Return the next step, None when there will be none."""
        while not self._steps:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return heapq.heappop(self._steps)[2]
