"""From names to images: one request to the source for each, and its referrers if they are wanted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from mirrorsync.errors import IntegrityError, MirrorsyncError, UsageError
from mirrorsync.events import PhaseAdvanced, PhaseStarted
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import refuse_schema_1
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, conflicts
from mirrorsync.plan.model import Failure, Image, Origin, ReferrerCounts
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.choose import Chosen, Key, Lookup, choose
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.pulls import PullGate
from mirrorsync.sync.gather.referring import Referred, Referring, referring
from mirrorsync.sync.gather.roots import narrow, unselected
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.suggest import missing

_Key = tuple[Location, Tag | Digest]  # of an image: its target and its name there
_NOT_AT_SOURCE: Final = "the digest is that of the lock: `mirrorsync lock --update` takes what the source has now"


async def resolve(mirrors: Iterable[Mirror], session: Session) -> Desired:
    """Return every image that `mirrors` want now, with its root descriptor, at each of its destinations.

    Exact tags cost one request each and no list of tags. An image that cannot be resolved is a failure in the result.
    """
    chosen = await choose(mirrors, session)
    resolver = Resolver(chosen, session)
    resolver.announce(chosen.lookups)
    await resolver.ask(chosen.lookups)
    return resolver.desired()


class Resolver:
    """Resolves the chosen names at their sources, in as many passes as the caller needs."""

    def __init__(self, chosen: Chosen, session: Session, gate: PullGate | None = None) -> None:
        """gate: limits how many manifests are read, None = any number."""
        self._chosen = chosen
        self._session = session
        self._gate = gate
        self._unread: dict[Key, str] = {}  # why, by the names whose manifests wait
        self._roots: dict[Key, Descriptor] = {}
        self._whole: dict[Key, Digest] = {}  # the digests of the sources' roots, of which platforms were chosen
        self._left_out: dict[Key, frozenset[Digest]] = {}
        self._referrers: dict[Key, Referred] = {}
        self._failures = {(failure.subject, failure.mirror): failure for failure in chosen.failures}
        self._wanting: defaultdict[Key, list[Lookup]] = defaultdict(list)
        for lookup in chosen.lookups:
            self._wanting[lookup.key].append(lookup)

    def announce(self, lookups: Collection[Lookup]) -> None:
        """Report the start of the phase, with the number of lookups."""
        self._session.announce(PhaseStarted("resolve", len({lookup.key for lookup in lookups})))

    async def ask(self, lookups: Iterable[Lookup]) -> None:
        """Resolve some of the chosen names; each is resolved once, also over several calls."""
        different = {lookup.key: lookup for lookup in lookups if lookup.key not in self._roots}
        await for_each(different.values(), self._resolve)
        if self._gate is None:
            await for_each(different.values(), self._list_referrers)

    async def read(self) -> None:
        """Choose platforms and list referrers, if pulls are limited: in the order of the spec, and after all lookups.

        What earlier runs have read is not limited. Without a limit `ask` has done it.
        """
        gate = self._gate
        if gate is None or not any(one.mirror.platforms or one.mirror.referrers for one in self._chosen.lookups):
            return
        known: list[Lookup] = []
        unread: list[Lookup] = []
        for lookup in {lookup.key: lookup for lookup in self._chosen.lookups if lookup.key in self._roots}.values():
            referrers = any(one.mirror.referrers for one in self._wanting[lookup.key])
            if lookup.mirror.platforms or referrers:
                knows = gate.knows(lookup.source, self._roots[lookup.key], whole=referrers)
                (known if knows else unread).append(lookup)
        await for_each(known, self._read)
        for lookup in unread:
            used, need = gate.used(lookup.source), 1 + max(1, len(lookup.mirror.platforms))
            if why := gate.refuses(lookup.source, need):
                self._unread[lookup.key] = why
            else:
                await self._read(lookup)
                if lookup.key in self._roots and gate.used(lookup.source) > used:
                    gate.promise(lookup.source, self._roots[lookup.key])

    async def _read(self, lookup: Lookup) -> None:
        try:
            with located("source", lookup.source, lookup.wanted.ref):
                self._roots[lookup.key] = await self._part(lookup, self._roots[lookup.key])
        except MirrorsyncError as error:
            if self._gate is not None and (why := self._gate.refused(lookup.source, error)):
                self._unread[lookup.key] = why
            else:
                del self._roots[lookup.key]
                self._fail(lookup, error)
        else:
            await self._list_referrers(lookup)

    async def _resolve(self, lookup: Lookup) -> None:
        try:
            with located("source", lookup.source, lookup.wanted.ref):
                self._roots[lookup.key] = await self._root(lookup)
        except MirrorsyncError as error:
            self._fail(lookup, error)
        self._session.announce(PhaseAdvanced("resolve"))

    async def _list_referrers(self, lookup: Lookup) -> None:
        root = self._roots.get(lookup.key)
        if root is None or not any(one.mirror.referrers for one in self._wanting[lookup.key]):
            return
        try:
            with located("source", lookup.source, lookup.wanted.ref):
                whole, without = self._whole.get(lookup.key), self._left_out.get(lookup.key, frozenset())
                self._referrers[lookup.key] = await referring(self._session, lookup.source, root, whole, without)
        except MirrorsyncError as error:
            self._fail(lookup, error, "referrers of ")

    async def _root(self, lookup: Lookup) -> Descriptor:
        source, ref = lookup.source, lookup.wanted.ref
        root = self._chosen.roots.get((source, ref)) or await named_at(self._session, source, ref)
        if root is None:
            lost = await missing(source, ref, lambda: self._chosen.lists.of(source))
            raise lost.with_(remedy=_NOT_AT_SOURCE) if lookup.mirror.locked else lost
        refuse_schema_1(root.media_type)
        if isinstance(ref, Digest) and root.digest != ref:
            raise IntegrityError(f"requested {ref}, but got {root.digest}")
        return root.bare() if self._gate is not None else await self._part(lookup, root)

    async def _part(self, lookup: Lookup, root: Descriptor) -> Descriptor:
        """Return the part of a root that is wanted."""
        platforms = lookup.mirror.platforms
        if not platforms:
            return root.bare()
        part = await narrow(self._session, lookup.source, root, platforms, lookup.mirror.index)
        if lookup.mirror.sparse:
            self._left_out[lookup.key] = await unselected(self._session, lookup.source, part, platforms)
        if part.digest != root.digest:
            self._whole[lookup.key] = root.digest
        return part.bare()

    def _fail(self, asked: Lookup, error: MirrorsyncError, part: str = "") -> None:
        """Fail an image, or a part of it, for every mirror that wants it."""
        for one in self._wanting[asked.key]:
            if part and not one.mirror.referrers:
                continue
            self._add(Failure(f"{part}{one}", error, one.mirror.pointer, one.source, one.wanted.ref, one.targets))

    def _add(self, failure: Failure) -> None:
        self._failures.setdefault((failure.subject, failure.mirror), failure)

    def desired(self, settled: Mapping[tuple[Location, Ref], Descriptor] | None = None) -> Desired:
        """Return the images in the order of the spec, without those in conflict.

        settled: the roots at the destinations of images whose sources were not asked; they are the wanted roots.
        """
        images: dict[_Key, Image] = {}
        wanted: list[Image] = []
        roots: set[_Key] = set()
        carriers: defaultdict[_Key, set[Image]] = defaultdict(set)
        waiting: dict[Image, str] = {}
        counted = _Counted()
        for lookup in self._chosen.lookups:
            for image in self._images(lookup, settled or {}):
                wanted.append(image)
                if lookup.key in self._unread:
                    waiting[image] = self._unread[lookup.key]
                roots.add(_key(image))
                for referrer in self._referrers_of(lookup, image.target, counted):
                    wanted.append(referrer)
                    carriers[_key(referrer)].add(image)
        conflicting = self._conflicts(wanted)
        for image in wanted:
            if _key(image) not in conflicting:
                images.setdefault(_key(image), image)
        carried_only = images.keys() - roots
        carried = {images[key]: frozenset(found) for key, found in carriers.items() if key in carried_only}
        referrers = counted.counts() if any(one.mirror.referrers for one in self._chosen.lookups) else None
        return Desired(tuple(images.values()), tuple(self._failures.values()), carried, waiting, referrers)

    def _images(self, lookup: Lookup, settled: Mapping[tuple[Location, Ref], Descriptor]) -> Iterator[Image]:
        mirror, tag = lookup.mirror, lookup.wanted.tag
        found = self._roots.get(lookup.key)
        wanted = lookup.wanted
        origin = Origin(
            lookup.source, mirror.followed(wanted), mirror.platforms, wanted.written_tag, index=mirror.index
        )
        referred = self._referrers.get(lookup.key)
        whole, types = self._whole.get(lookup.key), None if referred is None else referred.types
        without = self._left_out.get(lookup.key, frozenset())
        for target in lookup.targets:
            root = settled.get((target, lookup.wanted.name)) if found is None else found
            if root is not None:
                yield Image(origin, target, tag, root, mirror.pointer, whole, types, without, mirror.foreign_layers)

    def _referrers_of(self, lookup: Lookup, target: Location, counted: _Counted) -> Iterator[Image]:
        referred = self._referrers.get(lookup.key)
        if lookup.mirror.referrers is None or referred is None:
            return
        wanted = referred.wanted(lookup.mirror.referrers)
        counted.add(target, referred, wanted)
        for one in wanted:
            origin = Origin(lookup.source, one.tag, subject=one.subject)
            yield Image(origin, target, one.tag, one.root, lookup.mirror.pointer)

    def _conflicts(self, wanted: Iterable[Image]) -> set[tuple[Location, Tag | Digest]]:
        """Fail both of two different images with the same tag: their order in the file must not decide."""
        rivals: defaultdict[tuple[Location, Tag | Digest], list[Image]] = defaultdict(list)
        for image, other in conflicts(wanted).items():
            rivals[image.target, image.tag or image.root.digest] += [other, image]
        for (target, ref), images in rivals.items():
            several = " and ".join(dict.fromkeys(map(_written, images)))
            error = UsageError(
                f"{several} are different images for the same tag",
                remedy="give one of them another name, destination or tag filter",
                side="destination",
                place=target.at(ref),
            )
            for image in images:
                self._add(replace(Failure.of(image, error), subject=error.where))
        return set(rivals)


class _Counted:
    """Counts referrers, each once for a destination."""

    def __init__(self) -> None:
        self._found: set[_Key] = set()
        self._wanted: set[_Key] = set()
        self._behind: set[_Key] = set()

    def add(self, target: Location, referred: Referred, wanted: Iterable[Referring]) -> None:
        """Add the referrers of one image."""
        for known, new in ((self._found, referred.found), (self._wanted, wanted), (self._behind, referred.behind)):
            known.update((target, one.tag or one.root.digest) for one in new)

    def counts(self) -> ReferrerCounts:
        """Return the numbers."""
        return ReferrerCounts(len(self._found), len(self._wanted), len(self._behind))


def _key(image: Image) -> _Key:
    return image.target, image.tag or image.root.digest


def _written(image: Image) -> str:
    return str(image.origin.reference(image.root.digest))
