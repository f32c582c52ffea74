"""The one road up to the plan, in passes. Each adds to what is known, and asks only for what the next ones need.

1. Choose names: what the spec wants by tag or digest, with the filters applied to lists of tags.
2. What needs no source: the destinations are asked for these names; what a policy keeps by that alone is settled.
3. Resolve the rest: the sources are asked what the other names stand for.
4. Evidence: what the destinations have for each image, and what the policies decide by it.
5. Contents: of images that are to change, which blobs and manifests the destinations have.
6. The difference (`plan.diff`): changes, and the steps that make them.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Callable, Sequence
from pathlib import PurePath

from mirrorsync.errors import UsageError
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import Plan, SpecStamp
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.sync.clock import now
from mirrorsync.sync.gather.choose import Chosen, choose
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.observe import observe
from mirrorsync.sync.gather.resolve import Resolver
from mirrorsync.sync.gather.settle import Settled, may_settle
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
    mirrors = select(spec, only)
    chosen = await choose(mirrors, session)
    tags = DestinationTags(session)
    desired = await _resolve(chosen, tags, session, deep=deep)
    policies = {mirror.pointer: mirror.policies for mirror in mirrors}
    observed = await observe(desired, session, tags, policies=policies, deep=deep)
    return diff(desired, observed, spec=stamp(spec, only), created=created)


async def _resolve(chosen: Chosen, tags: DestinationTags, session: Session, *, deep: bool) -> Desired:
    """Ask both sides at the same time, since one of them is often far; wait only where a policy might spare a source.

    deep: nothing is settled without its source, so that a tag that was moved there is noticed.
    """
    resolver, settled = Resolver(chosen, session), Settled(session, tags)
    waiting = [] if deep else [question for question in chosen.questions if may_settle(question)]
    spared = set(waiting)

    async def ask_destinations() -> None:
        await tags.ask(chosen.tags())
        await resolver.ask(await settled.settle(waiting))

    resolver.announce(chosen.questions)
    async with asyncio.TaskGroup() as group:
        group.create_task(ask_destinations())
        group.create_task(resolver.ask(question for question in chosen.questions if question not in spared))
    return resolver.desired(settled.roots)


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
