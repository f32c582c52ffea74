"""From the spec to names: which tags of which sources are wanted. Only what filters ask for is listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mirrorsync.errors import MirrorsyncError, RepositoryNotFound
from mirrorsync.events import Noticed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure
from mirrorsync.spec.model import Mirror
from mirrorsync.spec.selection import Wanted
from mirrorsync.sync.pool import Answers, for_each
from mirrorsync.sync.session import Session, located

# What makes two questions the same one: mirrors that want the same image of a source share the answer.
Key = tuple[Location, Ref, tuple[Platform, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """What one image's source can be asked. source: a repository of the mirror's source."""

    mirror: Mirror
    source: Location
    wanted: Wanted

    @property
    def key(self) -> Key:
        """What makes two questions the same one."""
        return self.source, self.wanted.ref, self.mirror.platforms

    @property
    def targets(self) -> Iterator[Location]:
        """The repositories that the image is wanted in."""
        for destination in self.mirror.destinations:
            yield self.mirror.target(destination, self.source.repository)

    def __str__(self) -> str:
        return str(self.wanted.at(self.source))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The names that are wanted, in the order of the spec, and what could not be found out."""

    questions: tuple[Question, ...]
    failures: tuple[Failure, ...]
    lists: Lists

    def tags(self) -> dict[Location, list[Tag | Digest]]:
        """Return the tags that will be wanted at the destinations, by repository."""
        wanted: defaultdict[Location, list[Tag | Digest]] = defaultdict(list)
        for question in self.questions:
            if question.wanted.tag is not None:
                for target in question.targets:
                    wanted[target].append(question.wanted.tag)
        return wanted


async def choose(mirrors: Iterable[Mirror], session: Session) -> Chosen:
    """Return what `mirrors` want today by name. What cannot be found out is a failure, and the others go on."""
    chooser = _Chooser(session)
    mirrors = tuple(mirrors)
    await for_each(mirrors, chooser.choose)
    questions = tuple(question for mirror in mirrors for question in chooser.questions.get(mirror.pointer, ()))
    return Chosen(questions, tuple(chooser.failures.values()), chooser.lists)


class Lists:
    """The tags of source repositories, each listed once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answers: Answers[Location, list[Tag]] = Answers()

    async def of(self, source: Location) -> list[Tag]:
        """Return the tags of a repository. Raises: RepositoryNotFound, MirrorsyncError."""

        async def ask() -> list[Tag]:
            return [tag async for tag in self._session.repository(source).tags()]

        return await self._answers.get(source, ask)


class _Chooser:
    def __init__(self, session: Session) -> None:
        self._session = session
        self.lists = Lists(session)
        self.failures: dict[str, Failure] = {}
        self.questions: defaultdict[str, list[Question]] = defaultdict(list)

    async def choose(self, mirror: Mirror) -> None:
        """Find out which questions one mirror comes to; they are in `questions`, by the mirror's pointer."""
        try:
            sources = await self._sources(mirror)
        except MirrorsyncError as error:
            self._fail(mirror.source, error)
            return
        for source in sources:
            try:
                await self._choose_in(mirror, source)
            except MirrorsyncError as error:
                self._fail(source, error)
        if mirror.selection.lists and sources and not self.questions[mirror.pointer]:
            # A typing error in a filter must not look like a mirror that is up to date.
            self._session.announce(Noticed(str(mirror.source), "no tags match the filters"))

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
            tags = await self.lists.of(source) if selection.lists else ()
        self.questions[mirror.pointer] += [Question(mirror, source, wanted) for wanted in selection.choose(tags)]

    def _fail(self, source: Location, error: MirrorsyncError) -> None:
        self.failures.setdefault(str(source), Failure(str(source), error))
