"""The one road up to the plan: choose names, ask both sides, and make the difference."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Callable, Sequence
from pathlib import PurePath

from mirrorsync.errors import UsageError
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.model import Plan, SpecStamp
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.sync.clock import now
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.observe import observe
from mirrorsync.sync.gather.resolve import choose
from mirrorsync.sync.session import Session


async def make_plan(
    spec: Spec, session: Session, *, only: Sequence[str] = (), deep: bool = False, clock: Callable[[], str] = now
) -> Plan:
    """Return what would have to change for the destinations to hold what `spec` wants today.

    only: globs on the source repository; when there are any, the other mirrors are left out. deep: ask for every blob
    and manifest, instead of believing that a tag with the right digest is complete. Raises: UsageError when `only`
    matches nothing; what fails for single images is in the plan.
    """
    created = clock()
    chosen = await choose(select(spec, only), session)
    tags = DestinationTags(session)
    # Both sides at the same time: one of them is often far, and its answers are waited for.
    async with asyncio.TaskGroup() as group:
        group.create_task(tags.ask(chosen.tags()))
        resolving = group.create_task(chosen.resolve())
    desired = resolving.result()
    observed = await observe(desired, session, tags, deep=deep)
    return diff(desired, observed, spec=stamp(spec, only), created=created)


def stamp(spec: Spec, only: Sequence[str] = ()) -> SpecStamp:
    """Return what a plan says about the spec it was made of."""
    return SpecStamp(spec.source, spec.digest, tuple(only))


def select(spec: Spec, only: Sequence[str]) -> tuple[Mirror, ...]:
    """Return the mirrors whose source matches one of the globs; all of them when there are none. Raises: UsageError."""
    if not only:
        return spec.mirrors
    chosen = tuple(mirror for mirror in spec.mirrors if any(_matches(mirror.source, glob) for glob in only))
    if not chosen:
        raise UsageError(
            f"no mirror of {PurePath(spec.source).name} has a source that matches {' or '.join(only)}",
            remedy="use the whole name (docker.io/library/nginx), its end (library/nginx), or a glob such as '*nginx*'",
        )
    return chosen


def _matches(source: Location, glob: str) -> bool:
    name = str(source)
    return any(fnmatch.fnmatchcase(candidate, glob) for candidate in (name, source.repository, PurePath(name).name))
