"""Run the years of one seed, and compare every run with what the oracle says and with what may never happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from mirrorsync.app.locking import new_lock
from mirrorsync.app.memory import RunMemory
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Plan
from mirrorsync.spec.lock import Lock
from mirrorsync.spec.locked import locked
from mirrorsync.state import Memory, open_memory
from mirrorsync.sync.locking import resolve_for_lock
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.rollback import plan_rollback
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session
from tests.simulation import locks, spending
from tests.simulation.layout import LayoutTarget
from tests.simulation.oracle import Expected, Present, Run, way_back
from tests.simulation.past import Key
from tests.simulation.rules import DAY, HOUR
from tests.simulation.stores import NO_TROUBLE, SOURCE, Killed, Trouble, UpstreamStore
from tests.simulation.world import EVENTS, REPOSITORIES, Target, World, end_compromises, some_trouble

T = TypeVar("T")
DAYS = 3 * 365
# Runs a coroutine to its end.
Finish = Callable[[Coroutine[Any, Any, T]], T]
_EVENTS, _WEIGHTS = list(EVENTS), list(EVENTS.values())


class Difference(AssertionError):
    """A run did something else than the rules say."""


@dataclass
class Figures:
    """What was simulated."""

    runs: int = 0
    set_: int = 0
    deleted: int = 0
    dropped: int = 0
    killed: int = 0
    failed: int = 0
    rollbacks: int = 0
    locked: int = 0
    postponed: int = 0

    def count(self, world: World, report: Report | None) -> None:
        """Count a run."""
        tags = sum(":" not in ref for _, ref, _ in world.target.deleted)
        self.runs += 1
        self.set_ += len(world.target.tagged)
        self.deleted += tags
        self.dropped += len(world.target.deleted) - tags
        self.killed += report is None
        self.failed += report is not None and bool(report.failures)


def simulate(seed: int, directory: Path, days: int = DAYS, target: Target | None = None) -> Figures:
    """Simulate one seed. directory: for its state file. target: the destination, None = a store in memory.

    Raises: Difference, with the seed and the day.
    """
    with closing(asyncio.new_event_loop()) as loop:  # one for all runs: opening one takes longer than a run
        return _simulate(seed, World.begin(seed, directory, target), loop.run_until_complete, days)


def _simulate(seed: int, world: World, finish: Finish[Any], days: int) -> Figures:
    figures, start = Figures(), world.now
    while world.now < start + days * DAY:
        world.now += DAY * (1 + int(world.random.expovariate(1 / 6))) + world.random.randint(-2, 2) * HOUR
        for event in world.random.choices(_EVENTS, _WEIGHTS, k=world.random.randint(0, 4)):
            event(world)
        try:
            _one_run(world, some_trouble(world), finish, figures)
            end_compromises(world)
            if world.random.random() < 0.03:
                _one_rollback(world, finish, figures)
            if world.random.random() < 0.05:
                _make_lock(world, finish)
            if world.lock is not None and world.random.random() < 0.1:
                _one_run(world, some_trouble(world), finish, figures, world.lock)
            if world.random.random() < 0.3:
                world.now += world.random.randint(1, 30) * HOUR
                _one_run(world, NO_TROUBLE, finish, figures)
        except Exception as error:
            day = (world.now - start) // DAY
            raise Difference(f"seed {seed}, day {day}, run {figures.runs}: {error}") from error
    return figures


def _one_run(
    world: World, trouble: Trouble, finish: Finish[Any], figures: Figures, lock: dict[Key, str] | None = None
) -> None:
    """Perform a run. lock: that of a locked run."""
    present = _begin(world, trouble)
    owned, was_new = dict(world.past.owned), not (world.past.owned or world.past.untagged or world.past.backups)
    owned |= {key: (digest, False) for key, (_, digest, _) in world.past.backups.items()}
    planning = _Plan(world, lock=lock)
    report, remembered = finish(_mirror(world, planning.of_spec))
    world.target.end(_left(world, present))
    run = Run(world.rules, world.upstream, present, world.past, world.now, trouble)
    run.postponed = spending.postponed(world, planning.plan, present)
    if lock is not None:
        run = locks.locked_run(run, lock)
    expected = run.think()
    figures.count(world, report)
    figures.locked += lock is not None
    figures.postponed += len(run.postponed)
    _check_never(world, owned, was_new=was_new)
    _check_trusted(world, expected, was_locked=lock is not None)
    world.past.intended.update(expected.intended)
    if report is None:
        _check_killed(world, present, expected)
    else:
        _check_done(world, report, remembered, expected)
        if isinstance(world.target, LayoutTarget):
            world.target.check()


def _one_rollback(world: World, finish: Finish[Any], figures: Figures) -> None:
    """Go back to an earlier generation."""
    if not world.past.generations:
        return
    present = _begin(world, NO_TROUBLE)
    number = world.random.randint(1, len(world.past.generations))
    expected = way_back(world.past.generations[number - 1], world.rules, present, world.upstream)
    report, remembered = finish(_mirror(world, _Plan(world, number).of_rollback))
    world.target.end(_left(world, present))
    figures.count(world, report)
    figures.rollbacks += 1
    assert report is not None
    world.past.intended.update(expected.intended)
    _check_done(world, report, remembered, expected)


def _make_lock(world: World, finish: Finish[Any]) -> None:
    """Make a lock of what the sources have now, or bring it up to date for one repository."""
    present = _begin(world, NO_TROUBLE)
    entry = world.random.choice(world.rules.entries)
    only = entry.repository if world.lock is not None and world.random.random() < 0.5 else ""
    run = Run(world.rules, world.upstream, present, world.past, world.now, NO_TROUBLE)
    old = world.lock or {}
    world.lock = locks.made(run, old, only)
    _check_same("lock", finish(_lock(world, old, only)), world.lock)


async def _lock(world: World, old: dict[Key, str], only: str) -> dict[Key, str]:
    """Return a lock, as `app.locking.make_lock` makes it."""
    source = UpstreamStore(world.upstream)
    mirrors = [one for one in world.spec.mirrors if only in ("", one.source.repository)]
    with closing(open_memory(world.state, lambda _: None)) as memory:
        seen = RunMemory(memory, _unexpected, now=world.now)
        async with Session(lambda _: source) as session:
            found = await resolve_for_lock(mirrors, session, _as_lock(old), seen)
    lock = new_lock(_as_lock(old), found, mirrors, whole=not only)
    return {(at.repository, str(ref)): str(digest) for (at, ref), digest in lock.images.items()}


def _as_lock(lock: dict[Key, str]) -> Lock:
    return Lock({(Location(SOURCE, name), Tag(tag)): Digest(digest) for (name, tag), digest in lock.items()})


def _begin(world: World, trouble: Trouble) -> Present:
    """Begin a run; return the destination as it is before."""
    world.upstream.trouble = trouble
    world.target.begin(trouble, REPOSITORIES)
    return _present(world)


@dataclass
class _Plan:
    """The plan of a run. number: of the generation to go back to. lock: of a locked run. plan: after it was made."""

    world: World
    number: int = 0
    lock: dict[Key, str] | None = None
    plan: Plan | None = None

    async def of_spec(self, session: Session, memory: Memory, run: RunMemory) -> Plan:
        spec = self.world.spec if self.lock is None else locked(self.world.spec, _as_lock(self.lock))
        self.plan = await make_plan(spec, session, sightings=run, clock=self.world.clock)
        return self.plan

    async def of_rollback(self, session: Session, memory: Memory, run: RunMemory) -> Plan:
        generation = memory.generation(self.number)
        assert generation is not None
        return await plan_rollback(generation, self.world.spec, session, clock=self.world.clock)


async def _mirror(
    world: World, prepare: Callable[[Session, Memory, RunMemory], Awaitable[Plan]]
) -> tuple[Report | None, tuple[object, ...]]:
    """Perform one run, as `app.runs.carry_out` does; None if it was killed. Also return what the memory has then."""
    source = UpstreamStore(world.upstream)
    memory = open_memory(world.state, lambda _: None)
    try:
        run = RunMemory(memory, _unexpected, now=world.now)
        try:
            async with Session(lambda address: source if address == SOURCE else world.target.open()) as session:
                plan = await prepare(session, memory, run)
                run.intend(plan)
                report = await apply(plan, session, sleep=_no_wait, clock=world.clock)
        except BaseExceptionGroup as group:
            killed, others = group.split(Killed)
            if killed is None or others is not None:
                raise
            return None, ()
        except Killed:
            return None, ()
        run.record(report)
        return report, _contents(memory)
    finally:
        memory.close()


def _contents(memory: Memory) -> tuple[object, ...]:
    generations = memory.generations()
    last = memory.generation(generations[0].number) if generations else None
    return (
        {(at.repository, str(tag)): (str(one.digest), one.adopted) for (at, tag), one in memory.owned().items()},
        {(at.repository, str(digest)) for at, digest in memory.untagged()},
        {str(digest): _seconds(text) for digest, text in memory.first_seen().items()},
        {
            (name, str(tag)): _seconds(text)
            for name in REPOSITORIES
            for tag, text in memory.first_listed(Location(SOURCE, name)).items()
        },
        {
            (at.repository, str(tag)): (str(one.backup_of), str(one.digest), _seconds(one.made))
            for (at, tag), one in memory.backups().items()
        },
        len(generations),
        {(at.repository, str(tag)): str(one.digest) for (at, tag), one in last.tags.items()} if last else {},
    )


def _remembered(world: World) -> tuple[object, ...]:
    past = world.past
    last = past.generations[-1] if past.generations else {}
    return past.owned, past.untagged, past.seen, past.listed, past.backups, len(past.generations), last


def _present(world: World) -> Present:
    past = world.past
    needed = {*past.untagged, *((name, one) for tags in past.generations for (name, _), one in tags.items())}
    tags = {name: dict(world.target.named(name)) for name in REPOSITORIES}
    contents = {}
    for name in REPOSITORIES:
        among = {digest for at, digest in needed if at == name} | set(tags[name].values())
        contents[name] = world.target.digests(name, among)
    return Present(tags, contents, world.target.tags_alone)


def _left(world: World, present: Present) -> set[Key]:
    """Return the manifests without a tag that were there before a run."""
    return {
        (name, digest)
        for name, digest in world.past.untagged
        if digest in present.contents[name] and digest not in present.tags[name].values()
    }


def _set(world: World) -> dict[Key, str]:
    return {(name, tag): digest for name, tag, digest in world.target.tagged}


def _check_done(world: World, report: Report, remembered: object, expected: Expected) -> None:
    """Check that a run has done what it had to do, and let the model remember that."""
    deleted = {(name, ref) for name, ref, _ in world.target.deleted}
    for key in expected.uncertain & deleted:
        expected.deleted.add(key)
        del expected.stay[key]
    _check_same("tags set", _set(world), expected.set_)
    _check_same("tags deleted", {key for key in deleted if ":" not in key[1]}, expected.deleted)
    _check_same("manifests deleted", {key for key in deleted if ":" in key[1]}, expected.dropped)
    if report.exit_code != expected.code:
        raise Difference(f"exit code {report.exit_code}, and not {expected.code}: {list(map(str, report.failures))}")
    for name, _, digest in world.target.tagged:
        _check_whole(world, name, [digest])
    after = {key: (digest, True) for key, digest in expected.set_.items() if key not in expected.backups}
    for key, of in expected.backups.items():
        world.past.backups[key] = (of, world.target.named(key[0])[key[1]], world.now)
    after |= {key: (digest, False) for key, digest in expected.stay.items()}
    world.past.record(after, expected.deleted, expected.dropped)
    _check_same("memory", remembered, _remembered(world))


def _check_same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Difference(f"{what}: {_only(found, expected)}, but the rules say {_only(expected, found)}")


def _only(these: object, others: object) -> object:
    """Return what is in one value and not in the other."""
    if isinstance(these, tuple) and isinstance(others, tuple):
        return [_only(one, other) for one, other in zip(these, others, strict=True)]
    if isinstance(these, dict) and isinstance(others, dict):
        return dict(these.items() - others.items())
    if isinstance(these, set) and isinstance(others, set):
        return these - others
    return these


def _check_never(world: World, owned: dict[Key, tuple[str, bool]], *, was_new: bool) -> None:
    """Check what must not happen, whatever the rules say."""
    target, prune = world.target, world.rules.prune
    deletes = prune is not None or any(entry.drops or entry.backups for entry in world.rules.entries)
    if target.deleted and (not deletes or was_new):
        raise Difference(f"{target.deleted} was deleted without a key that allows it, or without a memory")
    for name, ref, digest in target.deleted:
        known = owned.get((name, ref))
        is_tag = ":" not in ref
        if is_tag and (known is None or known[0] != digest or (known[1] and not (prune and prune.adopt))):
            raise Difference(f"{name}:{ref} ({digest}) was deleted, and is not owned: {known}")
        if not is_tag and digest in target.named(name).values():
            raise Difference(f"{name}@{ref} was deleted, and has a tag")


def _check_trusted(world: World, expected: Expected, *, was_locked: bool) -> None:
    """Check that no image was set inside its cool-down, counted from when it was published, or without a signature.

    was_locked: the images of a lock have had theirs when it was made, by the spec of then.
    """
    for name, tag, digest in world.target.tagged:
        if (name, tag) in expected.backups:
            continue  # it was at the destination already
        entry = next(entry for entry in world.rules.entries if entry.repository == name)
        age = world.now - world.published[digest]
        if age < entry.min_age and not was_locked:
            raise Difference(f"{name}:{tag} was set to an image that is {age} s old; min_age is {entry.min_age} s")
        if entry.verify and not world.upstream.images[name][digest].signed:
            raise Difference(f"{name}:{tag} was set to an image that is not signed")


def _check_whole(world: World, name: str, digests: Iterable[str]) -> None:
    """Check that images are whole, byte for byte."""
    for digest in digests:
        if not world.target.is_whole(name, digest):
            raise Difference(f"{name}@{digest} is not whole")


def _check_killed(world: World, before: Present, expected: Expected) -> None:
    """Check that a killed run has done a part of what it had to do, and nothing else."""
    done = _set(world)
    if not done.items() <= expected.set_.items():
        raise Difference(f"a killed run has set {done}, but the rules say {expected.set_}")
    for name in REPOSITORIES:
        _check_whole(world, name, set(world.target.named(name).values()))
        for tag, digest in world.target.named(name).items():
            if digest not in (before.named((name, tag)), expected.set_.get((name, tag))):
                raise Difference(f"{name}:{tag} is {digest} after a killed run")


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _unexpected(message: str) -> None:
    if "this is the first run that is remembered" not in message:
        raise Difference(f"the memory warns: {message}")


async def _no_wait(seconds: float) -> None:
    """Return at once, in place of a sleep."""
