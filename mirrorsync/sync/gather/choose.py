"""From the spec to names: the wanted tags and digests of each source. Only filters need a list of tags."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mirrorsync.errors import LeftOut, MirrorsyncError, RepositoryNotFound, TooFewTags
from mirrorsync.events import PhaseAdvanced, PhaseStarted
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import is_referrers_tag
from mirrorsync.oci.narrowing import IndexMode
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.model import Failure
from mirrorsync.spec.ages import Ages
from mirrorsync.spec.created import OF_DIGEST
from mirrorsync.spec.model import Mirror
from mirrorsync.spec.selection import Selection, Wanted
from mirrorsync.stores.base import HoldsUnnamed
from mirrorsync.sync.gather.created import Creations
from mirrorsync.sync.gather.lists import Lists
from mirrorsync.sync.gather.sightings import NothingSeen, Sightings
from mirrorsync.sync.gather.targets import MayWrite, targets_of
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located
from mirrorsync.text import printable, some_of

# Lookups with an equal key share the answer: the same image of a source may be wanted by several mirrors.
Key = tuple[Location, Ref, tuple[Platform, ...], IndexMode]


_SHOWN: Final = 3  # of the nearest tags in one message
_FILTERS_SHOWN: Final = 120  # characters
_LEFT_OUT_SHOWN: Final = 10  # tags in one message
_WORD: Final = re.compile(r"[\w.-]*\d[\w.-]*|[\w.-]{3,}")


@dataclass(frozen=True, slots=True)
class Lookup:
    """One wanted image, to be resolved at its source.

    source: a repository of the mirror's source. targets: the repositories that the image is wanted in.
    """

    mirror: Mirror
    source: Location
    wanted: Wanted
    targets: tuple[Location, ...]

    @property
    def key(self) -> Key:
        """The same for lookups with the same answer."""
        return self.source, self.wanted.ref, self.mirror.platforms, self.mirror.index

    def __str__(self) -> str:
        return str(self.wanted.at(self.source))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The wanted names, in the order of the spec, and the failures to list tags.

    sources: the repositories of each mirror's source, by the mirror's pointer; of mirrors without a failure only.
    unsure: what mirrors may write to whose names are not all known: their source could not be listed, or has no tags
    that match; or an image that may be wanted could not be read. listed: the tags of the sources that were listed.
    roots: what names that were resolved to choose others name. selections: by mirror and source, with the facts that
    the filters needed.
    """

    lookups: tuple[Lookup, ...]
    failures: tuple[Failure, ...]
    lists: Lists
    sources: Mapping[str, Sequence[Location]]
    unsure: MayWrite = field(default_factory=MayWrite)
    listed: Mapping[Location, frozenset[Tag]] = field(default_factory=dict)
    roots: Mapping[tuple[Location, Ref], Descriptor] = field(default_factory=dict)
    selections: Mapping[tuple[str, Location], Selection] = field(default_factory=dict)

    def tags(self) -> dict[Location, list[Tag | Digest]]:
        """Return the tags that are wanted at the destinations, by repository."""
        wanted: defaultdict[Location, list[Tag | Digest]] = defaultdict(list)
        for lookup in self.lookups:
            if lookup.wanted.tag is not None:
                for target in lookup.targets:
                    wanted[target].append(lookup.wanted.tag)
        return wanted


async def choose(mirrors: Iterable[Mirror], session: Session, sightings: Sightings | None = None) -> Chosen:
    """Return the names that `mirrors` want now. A source that cannot be listed is a failure of its mirror only.

    sightings: when tags were first listed, None = all now.
    """
    mirrors = tuple(mirrors)
    chooser = _Chooser(session, mirrors, sightings or NothingSeen())
    listed = sum(mirror.selection.lists for mirror in mirrors)
    if listed:
        session.announce(PhaseStarted("list", listed))
    await for_each(mirrors, chooser.choose)
    pointers = dict.fromkeys(mirror.pointer for mirror in mirrors)  # an entry can be several mirrors: see `spec.locked`
    lookups = tuple(lookup for pointer in pointers for lookup in chooser.lookups.get(pointer, ()))
    return Chosen(
        lookups,
        tuple(chooser.failures.values()),
        chooser.lists,
        chooser.sources,
        chooser.unsure,
        chooser.listed,
        chooser.creations.roots,
        chooser.selections,
    )


class _Chooser:
    def __init__(self, session: Session, mirrors: Sequence[Mirror], sightings: Sightings) -> None:
        self._session = session
        self._sightings = sightings
        exact = [(mirror.source, wanted.ref) for mirror in mirrors for wanted in mirror.selection.exact]
        self._exact = frozenset(exact)
        self._asked = {(source.store, ref) for source, ref in exact}
        self.lists = Lists(session)
        self.failures: dict[tuple[str, str], Failure] = {}
        self.sources: dict[str, Sequence[Location]] = {}
        self.unsure = MayWrite()
        self._gone: set[Location] = set()  # repositories in a catalog that do not exist
        self.listed: dict[Location, frozenset[Tag]] = {}
        self.creations = Creations(session)
        self.selections: dict[tuple[str, Location], Selection] = {}
        self._unread: set[str] = set()  # pointers of mirrors with an image that could not be read
        self.lookups: defaultdict[str, list[Lookup]] = defaultdict(list)

    async def choose(self, mirror: Mirror) -> None:
        """Add the lookups of one mirror to `lookups`, under the mirror's pointer."""
        await self._choose(mirror)
        if mirror.selection.lists:
            self._session.announce(PhaseAdvanced("list"))

    async def _choose(self, mirror: Mirror) -> None:
        try:
            sources = await self.lists.sources(mirror)
        except MirrorsyncError as error:
            self._fail(mirror, mirror.source, error)
            self.unsure.add(mirror)
            return
        answered = await self._choose_in_all(mirror, sources)
        if not answered:
            self.unsure.add(mirror)
        if not mirror.selection.lists:
            if answered:
                self.sources[mirror.pointer] = [*self.sources.get(mirror.pointer, ()), *sources]
            return
        left_out = await self._leave_out(mirror) or any(
            (_newest(mirror, source), mirror.pointer) in self.failures for source in sources
        )
        found = len(self.lookups[mirror.pointer])
        if found < max(1, mirror.min_tags):
            self.unsure.add(mirror)
        # A mistyped filter must not look like a mirror that is up to date. Of a source that failed, nothing is claimed.
        if answered and found < mirror.min_tags and (found or not left_out):
            self._fail(mirror, mirror.source, self._too_few(mirror, sources, found))
        elif answered:
            self.sources[mirror.pointer] = [source for source in sources if source not in self._gone]

    async def _choose_in_all(self, mirror: Mirror, sources: Sequence[Location]) -> bool:
        """Add the lookups of all sources of a mirror, in their order; return whether all of them answered."""
        found: dict[Location, Sequence[Lookup]] = {}

        async def choose_in(source: Location) -> None:
            try:
                found[source] = await self._choose_in(mirror, source)
            except RepositoryNotFound as error:
                if mirror.namespace is None or mirror.namespace.only:
                    self._fail(mirror, source, error)
                else:  # registries list repositories whose last tag was deleted, and answer 404 for their tags
                    found[source] = ()
                    self._gone.add(source)
            except MirrorsyncError as error:
                self._fail(mirror, source, error)

        await for_each(sources, choose_in)
        self.lookups[mirror.pointer] += [lookup for source in sources for lookup in found.get(source, ())]
        return len(found) == len(sources) and mirror.pointer not in self._unread

    async def _leave_out(self, mirror: Mirror) -> bool:
        """Report the images that the filters of a mirror cover and that have no tag; return whether there are any."""
        try:
            with located("source", mirror.source):
                unnamed = [one async for one in self._unnamed(mirror)]
        except MirrorsyncError as error:
            self._fail(mirror, mirror.source, error)
            return True
        for image, name in unnamed:
            self._fail(mirror, mirror.source, _left_out(image, name), str(image))
        return bool(unnamed)

    async def _unnamed(self, mirror: Mirror) -> AsyncIterator[tuple[Reference, str]]:
        """Yield the images that the filters of a mirror cover and that have no tag, with what is in its place."""
        store = self._session.store(mirror.source.store)
        for one in await store.unnamed() if isinstance(store, HoldsUnnamed) else ():
            repository, tag = _parts(one.written)
            inside = mirror.covers(Location(mirror.source.store, repository))
            if inside and (mirror.source.store, one.ref) not in self._asked and mirror.selection.covers(tag):
                yield Reference.of(Location(mirror.source.store, ""), one.ref), one.written

    def _too_few(self, mirror: Mirror, sources: Sequence[Location], found: int) -> MirrorsyncError:
        tags = [tag for source in sources for tag in sorted(self.listed.get(source, ()))]
        have = "has 1 tag" if len(tags) == 1 else f"has {len(tags)} tags"
        if found:
            message = f"{found} of at least {mirror.min_tags} tags match the filters; the source {have}"
        else:
            message = f"no tags match the filters {printable(mirror.filters, _FILTERS_SHOWN)}; the source {have}"
        nearest = _nearest(mirror.filters, tags)
        listed = f"the nearest are {', '.join(nearest)}; " if nearest else ""
        return TooFewTags(
            message,
            remedy=f"{listed}`mirrorsync list-tags --explain` shows why; allow_empty: true accepts it",
            side="source",
            place=mirror.source.at(),
        )

    async def _choose_in(self, mirror: Mirror, source: Location) -> Sequence[Lookup]:
        selection = mirror.selection
        with located("source", source):
            # Raises for a name that is not valid there.
            targets = tuple(mirror.target(one, source.repository) for one in mirror.destinations)
            tags = await self.lists.of(source) if selection.lists else ()
            if selection.lists:
                self.listed[source] = frozenset(tags)
        selection = self.selections[mirror.pointer, source] = await self._with_facts(mirror, source, tags)
        unordered = [tag for tag in selection.unordered(tags) if self._is_left_out(source, tag)]
        if unordered:
            self._fail(mirror, source, _not_versions(source, unordered), _newest(mirror, source))
        chosen = [wanted for wanted in selection.choose(tags) if not _is_made_there(mirror, wanted)]
        return [Lookup(mirror, source, wanted, targets) for wanted in chosen]

    async def _with_facts(self, mirror: Mirror, source: Location, tags: Sequence[Tag]) -> Selection:
        """Return the selection of a mirror with the facts that its filters need about these tags of a source."""
        selection = mirror.selection
        if selection.needs_ages:
            selection = selection.aged(Ages(self._sightings.now, self._sightings.first_listed(source, tags)))
        if not selection.needs_creations:
            return selection

        def failed(wanted: Wanted, error: MirrorsyncError) -> None:
            self._unread.add(mirror.pointer)
            self._fail(mirror, source, error, str(wanted.at(source)), wanted.ref)

        return await self.creations.dated(selection, source, tags, failed)

    def _is_left_out(self, source: Location, tag: Tag) -> bool:
        """Return whether no entry of the spec names a tag. Those of attachments do not count: see `referrers: true`."""
        return (source, tag) not in self._exact and OF_DIGEST.fullmatch(tag) is None

    def _fail(
        self, mirror: Mirror, source: Location, error: MirrorsyncError, subject: str = "", ref: Ref | None = None
    ) -> None:
        """Fail a source of a mirror, or a part of it. subject: the part; ref: its name, if it has one."""
        failed = Failure(subject or str(source), error, mirror.pointer, source, ref, targets_of(mirror, source))
        self.failures.setdefault((failed.subject, failed.mirror), failed)


def _is_made_there(mirror: Mirror, wanted: Wanted) -> bool:
    """Return whether a tag that a filter chose is a list of referrers. Their destination has one of its own."""
    tag = wanted.tag
    if mirror.referrers is None or tag is None or wanted in mirror.selection.exact:
        return False
    return is_referrers_tag(tag)


def _parts(name: str) -> tuple[str, str]:
    """Return the repository of a name that is not a name with a tag, and the text in the place of its tag."""
    repository, colon, tag = name.rpartition(":")
    port, slash, _ = tag.partition("/")
    return (repository, tag) if colon and not (slash and port.isdigit()) else ("", name)


def _left_out(image: Reference, name: str) -> LeftOut:
    """Return the error for an image without a tag. name: what is in its place, "" if nothing is."""
    if name:
        why, otherwise = f"its name {printable(name, _FILTERS_SHOWN)!r} is not a tag", "exclude it"
    else:
        why, otherwise = "it has no name", "want only tags with glob: ['?*']"
    return LeftOut(
        f"left out, because {why}",
        remedy=f"give it a tag in an entry of its own: {{from: '{image}', tag: NAME}}; or {otherwise}",
        side="source",
        place=image.location.at(image.asked),
    )


def _newest(mirror: Mirror, source: Location) -> str:
    return f"newest of {source} ({mirror.pointer})"


def _not_versions(source: Location, tags: Sequence[Tag]) -> LeftOut:
    """Return the error for tags that `newest` cannot compare."""
    what, verb = ("1 tag", "is not a version") if len(tags) == 1 else (f"{len(tags)} tags", "are not versions")
    return LeftOut(
        f"left out: {what} that newest cannot order, because {'it' if len(tags) == 1 else 'they'} {verb}: "
        f"{some_of(tags, _LEFT_OUT_SHOWN)}",
        remedy="want them in an entry of their own (tags: [...]), or exclude them",
        side="source",
        place=source.at(),
    )


def _nearest(filters: str, tags: Sequence[Tag]) -> list[Tag]:
    """Return the tags that are written most like a word of the filters."""
    words = dict.fromkeys(_WORD.findall(filters))
    close = [tag for word in words for tag in difflib.get_close_matches(word, tags, n=_SHOWN, cutoff=0.5)]
    return list(dict.fromkeys(close))[:_SHOWN]
