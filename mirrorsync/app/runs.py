"""Plan, apply and copy: the verbs that work on a spec, as coroutines.

environment: None = the process's. stop: stops the run, None = it is not stopped. All raise Interrupted if they are
stopped before anything is changed, and MirrorsyncError for errors of the whole run; failures of single images are in
the result.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from mirrorsync.app.copying import Copy, read_copy, spec_of
from mirrorsync.app.memory import RunMemory, looking_back, read_absences, remembering
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import read_platform, read_reference
from mirrorsync.app.session import Run, apply_until_stopped, open_session, query
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.files.locks import FileLock
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Reference
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import Plan, SpecStamp
from mirrorsync.spec.model import STANDARD_INPUT, Spec
from mirrorsync.sync import explaining, road, saved
from mirrorsync.sync.explained import ExplainedTags
from mirrorsync.sync.gather.accepted import accepted
from mirrorsync.sync.gather.explained import Explanation
from mirrorsync.sync.gather.pulls import PullGate
from mirrorsync.sync.gather.resolve import resolve
from mirrorsync.sync.proven import check_signatures
from mirrorsync.sync.required import check_referrers
from mirrorsync.sync.resume import remaining, within
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.run.window import Until
from mirrorsync.sync.session import Session


async def make_plan(
    spec: Spec,
    *,
    only: Sequence[str] = (),
    only_from: Sequence[str | Reference] | None = None,
    deep: bool = False,
    explain: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Plan:
    """Return the changes that make the destinations match `spec` now. Nothing is changed.

    only: globs on the source repository; other mirrors are skipped. only_from: the images at their sources to which the
    plan is restricted; a repository stands for all of its images; None = all images. deep: check every blob and
    manifest, instead of assuming that a tag with the right digest is complete; those on this machine are read. explain:
    also say which filters include the tag of each change (`Change.filters`). Failures of single images are in
    `plan.failures`, tags that no mirror wants any more in `plan.unwanted` (not with `only_from`).
    Raises: UsageError if `only` matches nothing, or if no mirror can want one of `only_from`; GrammarError.
    """
    listed, explanation = _references(only_from), Explanation()
    with looking_back(spec, environment) as memory:
        plan = await query(
            lambda session: road.make_plan(
                spec,
                session,
                only=only,
                only_from=listed,
                deep=deep,
                unwanted=True,
                sightings=memory,
                chose=explanation.note,
            ),
            environment,
            stop,
            spec.registries,
            signers=spec.signers,
        )
    return explanation.add_to(plan) if explain else plan


def _references(images: Sequence[str | Reference] | None) -> tuple[Reference, ...] | None:
    return None if images is None else tuple(map(read_reference, images))


async def list_images(
    spec: Spec, *, only: Sequence[str] = (), environment: Environment | None = None, stop: Stop | None = None
) -> Desired:
    """Return the images that `spec` resolves to now. Only sources are contacted. only: as for `make_plan`.

    An image that its source has dropped, which is acknowledged, is a notice, and not a failure.
    """
    chosen, absences = road.select(spec, only), read_absences(spec, environment)

    async def work(session: Session) -> Desired:
        found = await resolve(chosen, session)
        known = accepted(found.failures, chosen, absences, session.announce)
        return replace(found, failures=tuple(one for one in found.failures if one not in known))

    return await query(work, environment, stop, spec.registries, signers=spec.signers)


async def explain_tags(
    spec: Spec, *, only: Sequence[str] = (), environment: Environment | None = None, stop: Stop | None = None
) -> ExplainedTags:
    """Return every tag of the sources of `spec`, and the filter or policy that decided on it. Nothing is changed.

    The destinations are only asked if a mirror has policies, or the spec a budget. only: as for `make_plan`. Raises: as
    `make_plan`.
    """
    with looking_back(spec, environment) as memory:
        return await query(
            lambda session: explaining.explain_tags(spec, session, only=only, sightings=memory),
            environment,
            stop,
            spec.registries,
            signers=spec.signers,
        )


def stamp_of(spec: Spec, only: Sequence[str] = ()) -> SpecStamp:
    """Return the stamp of a spec, as plans and reports have it. Raises: UsageError if `only` matches nothing."""
    return road.stamp(spec, only)


async def apply_plan(
    plan: Plan, spec: Spec, *, environment: Environment | None = None, stop: Stop | None = None
) -> Report:
    """Apply a plan, and return the outcome of every image.

    plan: new, or loaded; it is checked again that it matches `spec` and that no tag has moved. Failures of single
    images are in `report.failures`. Raises: StalePlan; PolicyRefused if the signature of an image does not verify any
    more, or a required referrer is gone; Locked if another run uses the same spec or destination.
    """

    async def prepare(session: Session, memory: RunMemory) -> Plan:
        saved.check_against(plan, spec)
        left = await remaining(plan, session)
        sources = [change.origin.location for change in left.changes if change.origin is not None]
        if gate := PullGate.of(spec, sources, session):
            left = within(left, gate)
        await check_signatures(left, spec, session, memory.now)
        await check_referrers(left, spec, session)
        memory.note(change.after.digest for change in left.changes if change.after is not None)
        return left

    return await _applied(spec, prepare, environment, stop or Stop())


async def apply_spec(
    spec: Spec,
    *,
    only: Sequence[str] = (),
    only_from: Sequence[str | Reference] | None = None,
    deep: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Report:
    """Make the destinations match `spec`: plan and apply in one run, without asking the sources twice.

    only, only_from, deep: as for `make_plan`. Raises: as `make_plan`; Locked as `apply_plan`.
    """
    listed = _references(only_from)

    def prepare(session: Session, memory: RunMemory) -> Coroutine[Any, Any, Plan]:
        return road.make_plan(spec, session, only=only, only_from=listed, deep=deep, sightings=memory)

    return await _applied(spec, prepare, environment, stop or Stop())


async def _applied(
    spec: Spec,
    prepare: Callable[[Session, RunMemory], Coroutine[Any, Any, Plan]],
    environment: Environment | None,
    stop: Stop,
) -> Report:
    done = await carry_out(spec, prepare, environment, stop, _until(spec, environment))
    assert done.report is not None  # noqa: S101 - it was not only planned
    return done.report


async def carry_out(
    spec: Spec,
    prepare: Callable[[Session, RunMemory], Coroutine[Any, Any, Plan]],
    environment: Environment | None,
    stop: Stop,
    until: Until | None = None,
) -> Run:
    """Plan by `prepare` and apply, under the lock of the spec, and remember it. Raises: as `prepare`; Locked.

    until: when no image begins any more, None = never.
    """
    with _lock(spec), remembering(spec, environment) as memory:
        async with open_session(environment, stop, spec.registries, signers=spec.signers) as session:
            plan = await stop.interruptible(prepare(session, memory))
            memory.intend(plan)
            report = await apply_until_stopped(plan, session, stop, until)
        memory.record(report)
    return Run(plan, report)


def _until(spec: Spec, environment: Environment | None) -> Until | None:
    """Return the end of the time that a run may take, from now on; None without a limit."""
    if spec.budget is None or spec.budget.time is None:
        return None
    clock = (environment or process_environment()).clock
    limit, end = spec.budget.time, clock.monotonic() + spec.budget.time.number
    return Until(limit.text, lambda: clock.monotonic() >= end)


def _lock(spec: Spec) -> AbstractContextManager[object]:
    """Return the lock of a spec's file. Standard input has none; the locks of the destinations are taken as ever."""
    return nullcontext() if spec.source == STANDARD_INPUT else FileLock(Path(spec.source), spec.source)


async def copy_image(
    source: str | Reference,
    destination: str | Reference,
    *,
    additional_tags: Sequence[str] = (),
    platforms: Sequence[str | Platform] = (),
    referrers: bool = False,
    dry_run: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Run:
    """Copy one image: only what is missing at the destination, byte for byte.

    source, destination: such as `docker://host/repository:tag`, `oci:DIR:NAME`. additional_tags: TAG, or NAME:TAG in
    the same store. platforms: those of an index to copy (`linux/arm64`, `host`), empty = all. referrers: also copy
    signatures, SBOMs and attestations. dry_run: only plan. Raises: GrammarError, UsageError, Locked.
    """
    wanted = read_copy(
        source, destination, additional_tags, platforms=tuple(map(read_platform, platforms)), referrers=referrers
    )
    return await run_copy(wanted, dry_run=dry_run, environment=environment, stop=stop)


async def run_copy(
    wanted: Copy, *, dry_run: bool = False, environment: Environment | None = None, stop: Stop | None = None
) -> Run:
    """Copy what `read_copy` returned. Raises: as `copy_image`."""
    spec = spec_of(wanted)
    stop = stop or Stop()
    async with open_session(environment, stop) as session:
        plan = await stop.interruptible(road.make_plan(spec, session))
        return Run(plan, None if dry_run else await apply_until_stopped(plan, session, stop))
