"""Plan, apply, verify and copy: the verbs that work on a spec, as coroutines.

environment: None = the process's. stop: tells the run to stop, None = it is not told. All raise Interrupted when they
are told before anything is changed, and MirrorsyncError for what is wrong as a whole; what fails for single images is
in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from mirrorsync.app.copying import Copy, read_copy, spec_of
from mirrorsync.app.reading import read_platform
from mirrorsync.app.session import Run, asked, carried_out, opened
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.files.locks import FileLock
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Reference
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import Spec
from mirrorsync.sync import road, saved
from mirrorsync.sync.gather.resolve import resolve
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session


async def make_plan(
    spec: Spec,
    *,
    only: Sequence[str] = (),
    deep: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Plan:
    """Return what would have to change for the destinations to hold what `spec` wants today. Nothing is changed.

    only: globs on the source repository; the other mirrors are left out. deep: ask for every blob and manifest, instead
    of believing that a tag with the right digest is complete. What failed for single images is in `plan.failures`.
    Raises: UsageError when `only` matches nothing.
    """
    return await asked(
        lambda session: road.make_plan(spec, session, only=only, deep=deep), environment, stop, spec.registries
    )


async def verify_spec(
    spec: Spec, *, only: Sequence[str] = (), environment: Environment | None = None, stop: Stop | None = None
) -> Plan:
    """Ask the destinations for every blob and manifest of every image that `spec` wants; return what is missing, as
    the plan that would repair it. only: as for `make_plan`."""
    return await make_plan(spec, only=only, deep=True, environment=environment, stop=stop)


async def list_images(
    spec: Spec, *, only: Sequence[str] = (), environment: Environment | None = None, stop: Stop | None = None
) -> Desired:
    """Return the images that `spec` comes to now. Only sources are asked. only: as for `make_plan`."""
    chosen = road.select(spec, only)
    return await asked(lambda session: resolve(chosen, session), environment, stop, spec.registries)


async def apply_plan(
    plan: Plan, spec: Spec, *, environment: Environment | None = None, stop: Stop | None = None
) -> Report:
    """Do what the plan says, and return what became of every image.

    plan: just made, or loaded; it is checked again that it does what `spec` asks for and that no tag has moved. What
    failed for single images is in `report.failures`. Raises: StalePlan; Locked when another run works on the same spec
    or destination.
    """

    async def ready(session: Session) -> Plan:
        saved.check_against(plan, spec)
        await saved.check_fresh(plan, session)
        return plan

    return await _applied(spec, ready, environment, stop or Stop())


async def apply_spec(
    spec: Spec,
    *,
    only: Sequence[str] = (),
    deep: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Report:
    """Make the destinations hold what `spec` wants: plan and apply in one run, without asking twice.

    only, deep: as for `make_plan`. Raises: UsageError when `only` matches nothing; Locked as `apply_plan`.
    """

    def ready(session: Session) -> Coroutine[Any, Any, Plan]:
        return road.make_plan(spec, session, only=only, deep=deep)

    return await _applied(spec, ready, environment, stop or Stop())


async def _applied(
    spec: Spec,
    ready: Callable[[Session], Coroutine[Any, Any, Plan]],
    environment: Environment | None,
    stop: Stop,
) -> Report:
    with FileLock(Path(spec.source), spec.source):
        async with opened(environment, stop, spec.registries) as session:
            return await carried_out(await stop.unless(ready(session)), session, stop)


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
    """Copy one image: what is missing at the destination, byte for byte.

    source, destination: such as `docker://host/repository:tag`, `oci:DIR:NAME`. additional_tags: TAG, or NAME:TAG of
    the same place. platforms: those of an index that are wanted (`linux/arm64`, `host`), all without any. referrers:
    also signatures, SBOMs and attestations. dry_run: only plan. Raises: GrammarError, UsageError, Locked.
    """
    wanted = read_copy(
        source, destination, additional_tags, platforms=tuple(map(read_platform, platforms)), referrers=referrers
    )
    return await run_copy(wanted, dry_run=dry_run, environment=environment, stop=stop)


async def run_copy(
    wanted: Copy, *, dry_run: bool = False, environment: Environment | None = None, stop: Stop | None = None
) -> Run:
    """Copy what `read_copy` has read. Raises: as `copy_image`."""
    spec = spec_of(wanted)
    stop = stop or Stop()
    async with opened(environment, stop) as session:
        plan = await stop.unless(road.make_plan(spec, session))
        return Run(plan, None if dry_run else await carried_out(plan, session, stop))
