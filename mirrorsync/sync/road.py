"""Make a plan, in passes. Each pass adds facts, and makes only the requests that the next passes need.

1. Choose names: the tags and digests that the spec wants, with the filters applied to lists of tags.
2. Without the source: the destinations resolve these names; images that a policy keeps by that alone are settled.
3. Resolve the rest: the sources resolve the other names.
4. Evidence: the image of each name at the destinations, and the decisions of policies on it.
5. Contents: the blobs and manifests of changed images that the destinations have.
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
    """Return the plan that brings the destinations to the images that `spec` wants now.

    only: globs on the source repository; if given, the other mirrors are left out. deep: check every blob and manifest,
    instead of trusting that a tag with the right digest is complete. Raises: UsageError if `only` matches no mirror;
    failures of single images are in the plan.
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
    """Resolve names at both sides at the same time, since one of them is often far away.

    Only if a policy may save the request to the source is the destination asked first. deep: every source is asked, so
    that a tag that was moved at its source is noticed.
    """
    resolver, settled = Resolver(chosen, session), Settled(session, tags)
    waiting = [] if deep else [lookup for lookup in chosen.lookups if may_settle(lookup)]
    spared = set(waiting)

    async def ask_destinations() -> None:
        await tags.ask(chosen.tags())
        await resolver.ask(await settled.settle(waiting))

    resolver.announce(chosen.lookups)
    async with asyncio.TaskGroup() as group:
        group.create_task(ask_destinations())
        group.create_task(resolver.ask(lookup for lookup in chosen.lookups if lookup not in spared))
    return resolver.desired(settled.roots)


def stamp(spec: Spec, only: Sequence[str] = ()) -> SpecStamp:
    """Return the stamp of a spec, for a plan made from it."""
    return SpecStamp(spec.source, spec.digest, tuple(only))


def select(spec: Spec, only: Sequence[str]) -> tuple[Mirror, ...]:
    """Return the mirrors whose source matches one of the globs; all of them without globs. Raises: UsageError."""
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
