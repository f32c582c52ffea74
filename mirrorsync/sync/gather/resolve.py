"""From the spec to the images that are wanted today: tags, filters, and one question for each tag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mirrorsync.errors import IntegrityError, MirrorsyncError, RepositoryNotFound, UsageError
from mirrorsync.events import Noticed, PhaseAdvanced, PhaseStarted
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import refuse_schema_1
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, conflicts
from mirrorsync.plan.model import Failure, Image, Origin
from mirrorsync.spec.model import Mirror
from mirrorsync.spec.selection import Wanted
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.referring import referring
from mirrorsync.sync.gather.roots import narrow
from mirrorsync.sync.pool import Answers, for_each
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.suggest import missing


@dataclass(frozen=True, slots=True)
class _Question:
    """What one image's source is asked. source: a repository of the mirror's source."""

    mirror: Mirror
    source: Location
    wanted: Wanted

    @property
    def key(self) -> _Key:
        """What makes two questions the same one: several mirrors that want it share the answer."""
        return self.source, self.wanted.ref, self.mirror.platforms

    def __str__(self) -> str:
        return str(self.wanted.at(self.source))


_Key = tuple[Location, Ref, tuple[Platform, ...]]


async def resolve(mirrors: Iterable[Mirror], session: Session) -> Desired:
    """Return every image that `mirrors` want today, with its root descriptor and each of its destinations.

    Exact tags cost one question each and never list a repository. What cannot be resolved is a failure in the result,
    and the others stand.
    """
    return await (await choose(mirrors, session)).resolve()


async def choose(mirrors: Iterable[Mirror], session: Session) -> Chosen:
    """Return what `mirrors` want today by name; only what filters ask for is listed at its source."""
    resolver = _Resolver(session)
    mirrors = tuple(mirrors)
    await for_each(mirrors, resolver.choose)
    questions = [question for mirror in mirrors for question in resolver.chosen.get(mirror.pointer, ())]
    return Chosen(session, resolver, questions)


class Chosen:
    """The names of the images that are wanted."""

    def __init__(self, session: Session, resolver: _Resolver, questions: Sequence[_Question]) -> None:
        self._session = session
        self._resolver = resolver
        self._questions = questions

    def tags(self) -> dict[Location, list[Tag | Digest]]:
        """Return the tags that will be wanted at the destinations, by repository."""
        wanted: defaultdict[Location, list[Tag | Digest]] = defaultdict(list)
        for question in self._questions:
            if question.wanted.tag is not None:
                for destination in question.mirror.destinations:
                    target = question.mirror.target(destination, question.source.repository)
                    wanted[target].append(question.wanted.tag)
        return wanted

    async def resolve(self) -> Desired:
        """Ask the sources what the names stand for."""
        different = {question.key: question for question in self._questions}
        self._session.announce(PhaseStarted("resolve", len(different)))
        await for_each(different.values(), self._resolver.ask)
        await for_each(different.values(), self._resolver.ask_what_refers)
        return self._resolver.desired(self._questions)


class _Resolver:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._listings: Answers[Location, list[Tag]] = Answers()
        self._roots: dict[_Key, Descriptor] = {}
        self._referring: dict[_Key, list[tuple[Tag | None, Descriptor]]] = {}
        self._failures: dict[str, Failure] = {}
        self.chosen: defaultdict[str, list[_Question]] = defaultdict(list)

    async def choose(self, mirror: Mirror) -> None:
        """Find out which questions one mirror comes to; they are in `chosen`, by the mirror's pointer."""
        try:
            sources = await self._sources(mirror)
        except MirrorsyncError as error:
            self._fail(str(mirror.source), error)
            return
        for source in sources:
            try:
                await self._choose_in(mirror, source)
            except MirrorsyncError as error:
                self._fail(str(source), error)
        if mirror.selection.lists and sources and not self.chosen[mirror.pointer]:
            # A typing error in a filter must not look like a mirror that is up to date.
            self._session.announce(Noticed(str(mirror.source), "no tag there is what the filters want"))

    async def _sources(self, mirror: Mirror) -> Sequence[Location]:
        if not mirror.whole_store:
            return [mirror.source]
        with located("source", mirror.source):
            store = self._session.store(mirror.source.store)
            sources = [Location(mirror.source.store, name) async for name in store.repositories()]
            if not sources:
                raise RepositoryNotFound("there is no image in this place", remedy="check its path")
            return sources

    async def _choose_in(self, mirror: Mirror, source: Location) -> None:
        selection = mirror.selection
        with located("source", source):
            for destination in mirror.destinations:
                mirror.target(destination, source.repository)  # raises for a name that cannot stand there
            tags = await self._list(source) if selection.lists else ()
        chosen = self.chosen[mirror.pointer]
        chosen += [_Question(mirror, source, wanted) for wanted in selection.choose(tags)]

    async def _list(self, source: Location) -> list[Tag]:
        async def ask() -> list[Tag]:
            return [tag async for tag in self._session.repository(source).tags()]

        return await self._listings.get(source, ask)

    async def ask(self, question: _Question) -> None:
        """Resolve one image."""
        try:
            with located("source", question.source, question.wanted.ref):
                self._roots[question.key] = await self._root(question)
        except MirrorsyncError as error:
            self._fail(str(question), error)
        self._session.announce(PhaseAdvanced("resolve"))

    async def ask_what_refers(self, question: _Question) -> None:
        """Find what refers to an image, where its mirror wants that too."""
        root = self._roots.get(question.key)
        if root is None or not question.mirror.referrers:
            return
        try:
            with located("source", question.source, question.wanted.ref):
                found = referring(self._session, question.source, root)
                self._referring[question.key] = [one async for one in found]
        except MirrorsyncError as error:
            self._fail(f"what refers to {question}", error)

    async def _root(self, question: _Question) -> Descriptor:
        source, ref = question.source, question.wanted.ref
        root = await named_at(self._session, source, ref)
        if root is None:
            raise await missing(source, ref, lambda: self._list(source))
        refuse_schema_1(root.media_type)
        if isinstance(ref, Digest) and root.digest != ref:
            raise IntegrityError(f"asked for {ref} and got {root.digest}")
        platforms = question.mirror.platforms
        return (await narrow(self._session, source, root, platforms) if platforms else root).bare()

    def _fail(self, subject: str, error: MirrorsyncError) -> None:
        self._failures.setdefault(subject, Failure(subject, error))

    def desired(self, questions: Iterable[_Question]) -> Desired:
        """Return the images in the order of the spec, without those that two mirrors want to be different things."""
        images: dict[tuple[Location, Tag | Digest], Image] = {}
        wanted: list[Image] = []
        for question in questions:
            root = self._roots.get(question.key)
            if root is not None:
                wanted += _images(question, root)
                wanted += _along(question, self._referring.get(question.key, ()))
        clashing = self._clashes(wanted)
        for image in wanted:
            key = (image.target, image.tag or image.root.digest)
            if key not in clashing:
                images.setdefault(key, image)
        return Desired(tuple(images.values()), tuple(self._failures.values()))

    def _clashes(self, wanted: list[Image]) -> set[tuple[Location, Tag | Digest]]:
        """Neither of two different images may win by its place in the file, so both fail."""
        sources: defaultdict[tuple[Location, Tag | Digest], list[str]] = defaultdict(list)
        for image, other in conflicts(wanted).items():
            sources[image.target, image.tag or image.root.digest] += [_written(other), _written(image)]
        for (target, ref), names in sources.items():
            several = " and ".join(dict.fromkeys(names))
            error = UsageError(
                f"{several} are different images and both would be this tag",
                remedy="give one of them another name, destination or tag filter",
                side="destination",
                place=target.at(ref),
            )
            self._fail(error.where, error)
        return set(sources)


def _written(image: Image) -> str:
    return str(image.origin.reference(image.root.digest))


def _images(question: _Question, root: Descriptor) -> Iterable[Image]:
    mirror, wanted = question.mirror, question.wanted
    origin = Origin(question.source, mirror.followed(wanted), mirror.platforms)
    for destination in mirror.destinations:
        target = mirror.target(destination, question.source.repository)
        yield Image(origin, target, wanted.tag, root, mirror.pointer)


def _along(question: _Question, referring: Iterable[tuple[Tag | None, Descriptor]]) -> Iterable[Image]:
    for destination in question.mirror.destinations:
        target = question.mirror.target(destination, question.source.repository)
        for tag, root in referring:
            yield Image(Origin(question.source, tag), target, tag, root, question.mirror.pointer)
