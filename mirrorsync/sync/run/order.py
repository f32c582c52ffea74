"""Run steps in the order of their needs, many at a time. This module does not know what a step does."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from mirrorsync.errors import Interrupted, MirrorsyncError, StillUsed
from mirrorsync.events import Observer, PhaseAdvanced, PhaseStarted, StepFailed
from mirrorsync.plan.steps import Step, stores_of
from mirrorsync.sync.pool import SMALL_BYTES, STEPS_AT_ONCE, STREAMS_AT_ONCE
from mirrorsync.sync.run.window import Window

# The error of a step that failed or was skipped, by its id and the address of the store.
Failed = Mapping[tuple[str, str], MirrorsyncError]


@dataclass(frozen=True, slots=True)
class Barriers:
    """Steps that wait until others have ended, whether or not these succeed. By id, the barrier that they are at."""

    before: Mapping[str, Hashable] = field(default_factory=dict)
    behind: Mapping[str, Hashable] = field(default_factory=dict)


async def in_order(
    steps: Sequence[Step],
    perform: Callable[[Step], Awaitable[Mapping[str, MirrorsyncError]]],
    stop: threading.Event,
    announce: Observer,
    window: Window | None = None,
    barriers: Barriers | None = None,
) -> Failed:
    """Perform every step after the steps that it needs, and return the failures.

    steps: each after the steps that it needs. perform: performs one step, and returns its errors by store address. If
    a step fails at a store, only the steps that need it at the same store are skipped. stop: once it is set, no step
    is started. window: lets images begin; the steps of those that do not are left out. None = all begin at once.
    barriers: between steps that do not need each other, None = there are none.
    """
    order = _Order(steps, perform, stop, announce, window, barriers or Barriers())
    await order.work()
    return order.failed


class _Order:
    """One execution: the steps that wait, are ready, and have failed."""

    def __init__(
        self,
        steps: Sequence[Step],
        perform: Callable[[Step], Awaitable[Mapping[str, MirrorsyncError]]],
        stop: threading.Event,
        announce: Observer,
        window: Window | None,
        barriers: Barriers,
    ) -> None:
        self._steps = steps
        self._perform = perform
        self._stop = stop
        self._announce = announce
        held = window.held if window is not None else set[str]()
        self._before = barriers.before
        self._open = Counter(barriers.before[step.id] for step in steps if step.id in barriers.before)
        self._behind: defaultdict[Hashable, list[Step]] = defaultdict(list)
        for step in steps:
            if step.id in barriers.behind and self._open[barriers.behind[step.id]]:
                self._behind[barriers.behind[step.id]].append(step)
        parked = {step.id for found in self._behind.values() for step in found}
        self._waiting = {step.id: len(step.needs) + (step.id in held) + (step.id in parked) for step in steps}
        self._dependents: defaultdict[str, list[Step]] = defaultdict(list)
        for step in steps:
            for need in step.needs:
                self._dependents[need].append(step)
        self._left = len(steps)
        self._window = window
        self._small = _StepQueue()
        self._streams = _StepQueue()
        self.failed: dict[tuple[str, str], MirrorsyncError] = {}

    async def work(self) -> None:
        """Perform every step."""
        self._announce(PhaseStarted("apply", self._left))
        for step in self._steps:
            if not self._waiting[step.id]:
                self._ready(step)
        self._begin_images(None)
        self._close_when_done()
        async with asyncio.TaskGroup() as group:
            for _ in range(min(STEPS_AT_ONCE, self._left)):
                group.create_task(self._work_off(self._small))
            for _ in range(min(STREAMS_AT_ONCE, self._left)):
                group.create_task(self._work_off(self._streams))

    async def _work_off(self, ready: _StepQueue) -> None:
        while (step := await ready.take()) is not None:
            for store, error in (await self._run(step)).items():
                self.failed[step.id, store] = error
            self._announce(PhaseAdvanced("apply"))
            self._left -= 1
            for dependent in self._dependents.pop(step.id, ()):
                self._count_down(dependent)
            self._pass_barrier(step.id)
            self._begin_images(step)
            self._close_when_done()

    def _count_down(self, step: Step) -> None:
        self._waiting[step.id] -= 1
        if not self._waiting[step.id]:
            self._ready(step)

    def _pass_barrier(self, name: str) -> None:
        """Take note that a step has ended, or is left out; if it was the last one before a barrier, open that."""
        if name not in self._before:
            return
        barrier = self._before[name]
        self._open[barrier] -= 1
        if not self._open[barrier]:
            for step in self._behind.pop(barrier, ()):
                self._count_down(step)

    def _begin_images(self, done: Step | None) -> None:
        """Let the next images begin, or leave out the steps of all that do not. done: a step that has ended."""
        window = self._window
        if window is None:
            return
        for step in window.begin(done, at_once=self._stop.is_set()):
            self._count_down(step)
        if window.over():
            self._window = None
            self._left -= len(window.held)
            for name in window.held:
                self._pass_barrier(name)

    def _ready(self, step: Step) -> None:
        if step.size > SMALL_BYTES:
            self._streams.put(step, -step.size)  # the largest first, so that it is not the last one to run alone
        else:
            # Steps that complete an image run before steps that begin one: a run that is stopped has complete images.
            self._small.put(step, 0 if step.size else -1)

    def _close_when_done(self) -> None:
        if not self._left:
            self._small.close()
            self._streams.close()

    async def _run(self, step: Step) -> Mapping[str, MirrorsyncError]:
        """Perform a step; return its errors by store."""
        if self._stop.is_set():
            return dict.fromkeys(stores_of(step), Interrupted("the run was stopped before this step"))
        if step.fails_with_needs and (blocked := self._blocked(step)):
            return blocked
        failures = {store: error.at(step=step.id) for store, error in (await self._perform(step)).items()}
        for store, error in failures.items():
            if not isinstance(error, Interrupted | StillUsed):  # nothing was to be deleted that is in use
                self._announce(StepFailed(f"{step.id} ({store})", error))
        return failures

    def _blocked(self, step: Step) -> dict[str, MirrorsyncError]:
        """Return the error that blocks a step at each of its stores: the first failure of the steps that it needs."""
        found: dict[str, MirrorsyncError] = {}
        for store in stores_of(step):
            failures = (self.failed.get((need, store)) for need in step.needs)
            if (error := next((error for error in failures if error is not None), None)) is not None:
                found[store] = error
        return found


class _StepQueue:
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
        """End the workers once no step is left."""
        self._closed = True
        self._changed.set()

    async def take(self) -> Step | None:
        """Return the next step, None if the queue is closed and empty."""
        while not self._steps:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return heapq.heappop(self._steps)[2]
