"""What is left to do of a plan that was made before, and that an earlier run may have applied in part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from mirrorsync.errors import StalePlan
from mirrorsync.events import Noticed
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.budget import delayed, steps_of
from mirrorsync.plan.diff import totals_of
from mirrorsync.plan.model import Change, Plan, State
from mirrorsync.plan.steps import CopyBlob, MountBlob, PutManifest, SetTag, Step
from mirrorsync.sync.gather.named import present_at
from mirrorsync.sync.gather.pulls import PullGate
from mirrorsync.sync.gather.roots import root_of
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located

_SHOWN: Final = 5  # how many moved tags a refusal names


async def remaining(plan: Plan, session: Session) -> Plan:
    """Resolve every tag of a plan again, on both sides, and return what is left to do.

    A change that the destination has made already is unchanged in the result, and the steps that only it needed are
    gone; so a run that was interrupted or killed goes on with the same plan. Raises: StalePlan if a tag is neither what
    it was nor what the plan wants, before anything is changed.
    """
    moved: list[str] = []
    done: set[int] = set()

    async def check(numbered: tuple[int, Change]) -> None:
        number, change = numbered
        if not await _source_is_same(change, session):
            moved.append(_source_of(change))
        now = await _now(change, session)
        if _is_done(change, now):
            if _digest(change.before) != _digest(change.after):
                done.add(number)
        elif _digest(now) != _digest(change.before):
            moved.append(str(change))

    await for_each(enumerate(plan.changes), check)
    if moved:
        named = ", ".join(sorted(moved)[:_SHOWN])
        more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        raise StalePlan(f"{named}{more} changed after the plan was made; nothing was done")
    return await _without(plan, done, session) if done else plan


def _is_done(change: Change, now: Descriptor | None) -> bool:
    """Return whether the destination is as a change wants it. now: what its name stands for."""
    return change.state.changes and _digest(now) == _digest(change.after)


async def _without(plan: Plan, done: set[int], session: Session) -> Plan:
    """Return a plan without what is done already."""
    changes = tuple(
        replace(change, before=change.after, state=State.UNCHANGED, step="") if number in done else change
        for number, change in enumerate(plan.changes)
        if number not in done or change.after is not None  # a tag that is deleted already is not there any more
    )
    left = [change for change in changes if change.state.changes]
    total = len(left) + len(done)
    session.announce(Noticed(plan.spec.path, f"{len(done)} of {total} changes are already done; {len(left)} to do"))
    steps = await _unfinished(_needed(plan.steps, {change.step for change in left}), session)
    return replace(plan, changes=changes, steps=steps, totals=totals_of(changes, {}))


def within(plan: Plan, gate: PullGate) -> Plan:
    """Return what is left of a plan without the images whose manifests would need more pulls than may be used.

    Manifests are known from when the plan was made, unless that was on another machine or the cache is gone.
    """
    known = {step.id: step for step in plan.steps}
    waiting: defaultdict[str, list[Change]] = defaultdict(list)
    for change in plan.changed():
        if change.origin is not None:
            parts = [one.manifest for one in steps_of(change, known) if isinstance(one, PutManifest | SetTag)]
            if why := gate.take_parts(change.origin.location, parts):
                waiting[why].append(change)
    if not waiting:
        return plan
    for why, changes in waiting.items():
        plan = delayed(plan, changes, why)
    steps = _needed(plan.steps, {change.step for change in plan.changed()})
    return replace(plan, steps=tuple(steps), totals=totals_of(plan.changes, {}))


def _needed(steps: Sequence[Step], last: set[str]) -> list[Step]:
    """Return the steps that some steps need, and these themselves, in order. last: their ids."""
    needed = set(last)
    for step in reversed(steps):  # what a step needs comes before it
        if step.id in needed:
            needed.update(step.needs)
    return [step for step in steps if step.id in needed]


async def _unfinished(steps: Sequence[Step], session: Session) -> tuple[Step, ...]:
    """Return steps without the blobs that the destinations have already. Manifests are put again: that is cheap."""
    left: dict[str, Any] = {step.id: step for step in steps}

    async def check(step: Step) -> None:
        if isinstance(step, CopyBlob):
            targets = [target for target in step.targets if not await _has(session, target, step.blob)]
            left[step.id] = replace(step, targets=tuple(targets)) if targets else None
        elif isinstance(step, MountBlob) and await _has(session, step.target, step.blob):
            left[step.id] = None

    await for_each(steps, check)
    kept = {name: step for name, step in left.items() if step is not None}
    return tuple(replace(step, needs=tuple(need for need in step.needs if need in kept)) for step in kept.values())


async def _has(session: Session, target: Location, blob: Descriptor) -> bool:
    with located("destination", target, blob.digest):
        return await session.destination(target).has(blob)


async def _source_is_same(change: Change, session: Session) -> bool:
    origin, after = change.origin, change.after
    # What a policy keeps is not what its source has, or its source was not asked.
    if origin is None or after is None or origin.followed is None or (change.reason and not change.state.changes):
        return True
    with located("source", origin.location, origin.followed):
        found = await root_of(session, origin.location, origin.followed, origin.platforms, origin.index)
    return _digest(found) == after.digest


def _source_of(change: Change) -> str:
    return str(change.origin.reference(change.digest)) if change.origin is not None else str(change)


async def _now(change: Change, session: Session) -> Descriptor | None:
    """Return what a change's name stands for at its destination now."""
    ref = change.tag or change.digest
    with located("destination", change.target, ref):
        if change.origin is None or change.after is None:
            return await session.repository(change.target).resolve(ref)
        return await present_at(session, change.target, ref, change.after, change.origin.location)


def _digest(content: Descriptor | None) -> Digest | None:
    return content.digest if content else None
