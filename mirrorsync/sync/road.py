"""Make a plan, in passes. Each pass adds facts, and makes only the requests that the next passes need.

1. Choose names: the tags and digests that the spec wants, with the filters applied to lists of tags.
2. Without the source: the destinations resolve these names; images that a policy keeps by that alone are settled.
3. Resolve the rest: the sources resolve the other names.
4. Evidence: the image of each name at the destinations, and the decisions of policies on it.
5. Contents: the blobs and manifests of changed images that the destinations have.
6. Deletions, if the spec prunes: remembered tags that nothing wants any more.
7. The difference (`plan.diff`): changes, and the steps that make them; before 6, too, if `plan.budget` limits bytes.

The tags that no mirror wants are found out at the same time as 2 to 5, if the caller asks for them.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from mirrorsync.errors import UsageError
from mirrorsync.oci.patterns import has_wildcard
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.oci.transports import BUNDLE
from mirrorsync.plan.budget import over_bytes
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import LockStamp, Plan, SpecStamp
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.sync.bundle.rebuilding import without_unreadable
from mirrorsync.sync.clock import now
from mirrorsync.sync.gather.backups import with_backups
from mirrorsync.sync.gather.choose import Chosen, Lookup, choose
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.lacking import Lacks
from mirrorsync.sync.gather.listed import ListedImages
from mirrorsync.sync.gather.observe import observe
from mirrorsync.sync.gather.prune import Deletions
from mirrorsync.sync.gather.pulls import PullGate
from mirrorsync.sync.gather.resolve import Resolver
from mirrorsync.sync.gather.settle import Settled, kept_if_present, may_settle
from mirrorsync.sync.gather.sightings import NothingSeen, Sightings
from mirrorsync.sync.gather.staleness import too_old
from mirrorsync.sync.gather.unwanted import UnwantedTags
from mirrorsync.sync.gather.vanished import Gone, find_gone
from mirrorsync.sync.session import Session


async def make_plan(
    spec: Spec,
    session: Session,
    *,
    only: Sequence[str] = (),
    only_from: Sequence[Reference] | None = None,
    deep: bool = False,
    unwanted: bool = False,
    sightings: Sightings | None = None,
    chose: Callable[[Chosen], None] = lambda _: None,
    clock: Callable[[], str] = now,
) -> Plan:
    """Return the plan that brings the destinations to the images that `spec` wants now.

    only: globs on the source repository; if given, the other mirrors are left out. only_from: the images at their
    sources (or whole repositories there) to which the plan is restricted; None = all. deep: check every blob and
    manifest, instead of trusting that a tag with the right digest is complete. unwanted: also find out which tags of
    the destinations no mirror wants, at one list of tags for each repository. sightings: what the mirror remembers;
    None = all is new. chose: called with the names that the spec wants, to explain them. Raises: UsageError if `only`
    matches no mirror, or if no mirror can want an image of `only_from`; failures of single images are in the plan.
    """
    mirrors, remembered = select(spec, only), sightings or NothingSeen()
    road = _Road(
        spec,
        mirrors,
        stamp(spec, only),
        clock(),
        session,
        DestinationTags(session),
        remembered,
        only_from=only_from,
        deep=deep,
    )
    road.tags.subjects.update(remembered.unlisted())
    chosen = await road.chosen()
    chose(chosen)
    surplus = UnwantedTags(spec.mirrors, chosen, road.tags) if unwanted and only_from is None else None
    async with asyncio.TaskGroup() as group:
        if surplus is not None:
            group.create_task(surplus.ask())
        desired, observed, gone = await road.gathered(chosen)
    # Before deletions and backups are added: there is none for a tag that does not move now.
    observed = road.within_budget(desired, await road.readable(desired, observed))
    # Not in a run of only some images, or if the lock lacks some: what the others want is unknown then.
    deletes = spec.prune is not None or gone.deletable
    if deletes and not only and only_from is None and not spec.lacking:
        desired, observed = await Deletions(spec, chosen, gone, session, remembered).added_to(desired, observed)
    stays = spec.prune is not None and bool(spec.prune.keep_generations)
    desired, observed, backups = await with_backups(mirrors, desired, observed, road.tags, remembered, stays=stays)
    plan = road.plan(desired, observed)
    old = await too_old(mirrors, plan, session, remembered)
    plan = replace(plan, vanished=gone.kept(desired.images), failures=(*plan.failures, *old))
    return plan if surplus is None else replace(plan, unwanted=surplus.found(desired.images, gone.tags | backups))


@dataclass(frozen=True, slots=True)
class _Road:
    """The way from a spec to one plan. mirrors: those that are selected. tags: of destinations, each asked for once."""

    spec: Spec
    mirrors: Sequence[Mirror]
    stamp: SpecStamp
    created: str
    session: Session
    tags: DestinationTags
    sightings: Sightings
    only_from: Sequence[Reference] | None
    deep: bool

    async def chosen(self) -> Chosen:
        """Return the names that the mirrors want now, with failures for what the lock lacks. Raises: UsageError."""
        lacking = Lacks(self.spec, self.mirrors)
        if self.only_from is None:
            return lacking.add_to(await choose(self.mirrors, self.session, self.sightings))
        listed = ListedImages(lacking.known(self.only_from), self.mirrors, self.spec.source)
        wanted = await choose(listed.mirrors, self.session, self.sightings)
        return lacking.add_to(listed.of(wanted, self.session.announce), self.only_from)

    async def gathered(self, chosen: Chosen) -> tuple[Desired, Observed, Gone]:
        """Return the wanted images, what the destinations have of them, and what the sources have dropped."""
        gate = PullGate.of(self.spec, (lookup.source for lookup in chosen.lookups), self.session)
        desired, gone = await self._resolved(chosen, gate), Gone()
        if self.only_from is None:
            gone, desired = await find_gone(self.mirrors, chosen, desired, self.tags, self.session, self.sightings)
        self.sightings.note(digest for image in desired.images for digest in image.digests)
        policies = {mirror.pointer: mirror.policies for mirror in self.mirrors}
        observed = await observe(
            desired,
            self.session,
            self.tags,
            sightings=self.sightings,
            policies=policies,
            deep=self.deep,
            gate=gate,
        )
        return desired, observed, gone

    async def _resolved(self, chosen: Chosen, gate: PullGate | None) -> Desired:
        """Resolve names at both sides at the same time, since one of them is often far away.

        Only if a policy may save the request to the source is the destination asked first; for tags that it keeps
        whatever they name, a list of the repository is enough. With `deep` every source is asked, so that a tag that
        was moved at its source is noticed.
        """
        resolver, settled = Resolver(chosen, self.session, gate), Settled(self.session, self.tags)
        waiting: list[Lookup] = []
        at_once: list[Lookup] = []
        for lookup in chosen.lookups:
            (waiting if not self.deep and may_settle(lookup) else at_once).append(lookup)

        async def ask_destinations() -> None:
            if waiting:
                await self.tags.presume(kept_if_present(waiting, self.sightings.roots()))
            await self.tags.ask(chosen.tags())
            await resolver.ask(await settled.settle(waiting))

        resolver.announce(chosen.lookups)
        async with asyncio.TaskGroup() as group:
            group.create_task(ask_destinations())
            group.create_task(resolver.ask(at_once))
        await resolver.read()
        return resolver.desired(settled.roots)

    async def readable(self, desired: Desired, observed: Observed) -> Observed:
        """Let the images fail that a bundle cannot give, if some are read from bundles."""
        if not observed.manifests or not any(image.source.store.startswith(BUNDLE) for image in desired.images):
            return observed
        return await without_unreadable(desired, observed, self.plan(desired, observed), self.session)

    def within_budget(self, desired: Desired, observed: Observed) -> Observed:
        """Let the images wait that read more bytes than the budget of the spec allows, if it has one."""
        budget = self.spec.budget
        if budget is None or budget.bytes is None or not observed.manifests:
            return observed
        waiting = over_bytes(desired, self.plan(desired, observed), budget)
        return replace(observed, decisions={**observed.decisions, **waiting})

    def plan(self, desired: Desired, observed: Observed) -> Plan:
        """Return the plan of what is known now."""
        return diff(desired, observed, spec=self.stamp, created=self.created)


def stamp(spec: Spec, only: Sequence[str] = ()) -> SpecStamp:
    """Return the stamp of a spec, for a plan made from it."""
    mirrors = select(spec, only)
    return SpecStamp(
        spec.source,
        spec.digest,
        tuple(only),
        {one.name: one.location for mirror in mirrors for one in mirror.destinations if one.name},
        {mirror.pointer: mirror.line for mirror in mirrors if mirror.line},
        LockStamp(spec.lock.source, spec.lock.digest) if spec.lock else None,
    )


def select(spec: Spec, only: Sequence[str]) -> tuple[Mirror, ...]:
    """Return the mirrors whose source matches one of the globs; all of them without globs. Raises: UsageError.

    A glob that is the whole name of a repository in a namespace selects that repository.
    """
    if not only:
        return spec.mirrors
    chosen = tuple(part for mirror in spec.mirrors for part in _parts(mirror, only))
    if not chosen and not any(_matches(one.source, glob) for one in spec.lacking for glob in only):
        raise UsageError(
            f"no mirror of {PurePath(spec.source).name} has a source that matches {' or '.join(only)}",
            remedy="use the whole name (docker.io/library/nginx), its end (library/nginx), or a glob such as '*nginx*'",
        )
    return chosen


def _parts(mirror: Mirror, only: Sequence[str]) -> Iterable[Mirror]:
    """Return the selected part of a mirror: all of it, one repository of its namespace, or nothing."""
    if any(_matches(mirror.source, glob) for glob in only):
        return (mirror,)
    if mirror.namespace is None:
        return ()
    store = mirror.source.store
    prefix = f"{store}{mirror.source.transport.separator}"
    names = [glob.removeprefix(prefix) for glob in only if glob.startswith(prefix)]
    named = tuple(name for name in names if name and mirror.covers(Location(store, name)) and not has_wildcard(name))
    return (mirror.only(named),) if named else ()


def _matches(source: Location, glob: str) -> bool:
    name = str(source)
    return any(fnmatch.fnmatchcase(candidate, glob) for candidate in (name, source.repository, PurePath(name).name))
