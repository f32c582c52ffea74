"""From the spec to the images that are wanted today: tags, filters, and one question for each tag."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mirrorsync.errors import ContentNotFound, IntegrityError, MirrorsyncError, RepositoryNotFound, UsageError
from mirrorsync.events import Noticed, PhaseAdvanced, PhaseStarted
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import refuse_schema_1
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, conflicts
from mirrorsync.plan.model import Failure, Image
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.pool import Answers, for_each
from mirrorsync.sync.session import Session, located


@dataclass(frozen=True, slots=True)
class _Question:
    """What one image's source is asked: tag and pin as the spec has them, at least one of them set."""

    mirror: Mirror
    source: Location
    tag: str | None
    pin: Digest | None

    @property
    def reference(self) -> str:
        # A pin is asked by digest and the tag is not: what the spec says is what is wanted, as docker does it.
        return str(self.pin) if self.pin else str(self.tag)

    @property
    def key(self) -> tuple[Location, str]:
        """What makes two questions the same one: several mirrors that want it share the answer."""
        return self.source, self.reference

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.source}{tag}{f'@{self.pin}' if self.pin else ''}"


async def resolve(mirrors: Iterable[Mirror], session: Session) -> Desired:
    """Return every image that `mirrors` want today, with its root descriptor and each of its destinations.

    Exact tags cost one question each and never list a repository. What cannot be resolved is a failure in the result,
    and the others stand.
    """
    resolver = _Resolver(session)
    mirrors = tuple(mirrors)
    await for_each(mirrors, resolver.choose)
    questions = [question for mirror in mirrors for question in resolver.chosen.get(mirror.pointer, ())]
    different = {question.key: question for question in questions}
    session.announce(PhaseStarted("resolve", len(different)))
    await for_each(different.values(), resolver.ask)
    return resolver.desired(questions)


class _Resolver:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._listings: Answers[Location, list[str]] = Answers()
        self._roots: dict[tuple[Location, str], Descriptor] = {}
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
        if not mirror.whole_layout:
            return [mirror.source]
        with located("source", mirror.source):
            store = self._session.store(mirror.source.store)
            sources = [Location(mirror.source.store, name) async for name in store.repositories()]
            if not sources:
                raise RepositoryNotFound("there is no image in this layout", remedy="check the directory in the spec")
            return sources

    async def _choose_in(self, mirror: Mirror, source: Location) -> None:
        selection = mirror.selection
        with located("source", source):
            for destination in mirror.destinations:
                mirror.target(destination, source.repository)  # raises for a name that cannot stand there
            tags = await self._list(source) if selection.lists else ()
        chosen = self.chosen[mirror.pointer]
        chosen += [_Question(mirror, source, exact.tag, exact.digest) for exact in selection.choose(tags)]
        chosen += [_Question(mirror, source, None, digest) for digest in selection.digests]

    async def _list(self, source: Location) -> list[str]:
        async def ask() -> list[str]:
            return [tag async for tag in self._session.repository(source).tags()]

        return await self._listings.get(source, ask)

    async def ask(self, question: _Question) -> None:
        """Resolve one image."""
        try:
            with located("source", question.source, question.reference):
                self._roots[question.key] = await self._root(question)
        except MirrorsyncError as error:
            self._fail(str(question), error)
        self._session.announce(PhaseAdvanced("resolve"))

    async def _root(self, question: _Question) -> Descriptor:
        root = await self._session.repository(question.source).resolve(question.reference)
        if root is None:
            raise await self._missing(question)
        refuse_schema_1(root.media_type)
        if question.pin is not None and root.digest != question.pin:
            raise IntegrityError(f"asked for {question.pin} and got {root.digest}")
        return root.bare()

    async def _missing(self, question: _Question) -> MirrorsyncError:
        """Find out whether the repository or the tag is not there: one listing, only when something failed."""
        try:
            tags = await self._list(question.source)
        except RepositoryNotFound as error:
            return error
        except MirrorsyncError:
            tags = []  # a registry may answer questions and refuse lists; the tag is missing all the same
        if question.pin is not None:
            return ContentNotFound(
                "the repository has no image with this digest", remedy="check the digest in the spec"
            )
        close = difflib.get_close_matches(str(question.tag), tags, n=3)
        hint = f"there is {', '.join(close)}" if close else "check the tag in the spec"
        return ContentNotFound("the repository has no such tag", remedy=hint)

    def _fail(self, subject: str, error: MirrorsyncError) -> None:
        self._failures.setdefault(subject, Failure(subject, error))

    def desired(self, questions: Iterable[_Question]) -> Desired:
        """Return the images in the order of the spec, without those that two mirrors want to be different things."""
        images: dict[tuple[Location, str], Image] = {}
        wanted: list[Image] = []
        for question in questions:
            root = self._roots.get(question.key)
            if root is not None:
                wanted += _images(question, root)
        clashing = self._clashes(wanted)
        for image in wanted:
            key = (image.target, image.tag or str(image.root.digest))
            if key not in clashing:
                images.setdefault(key, image)
        return Desired(tuple(images.values()), tuple(self._failures.values()))

    def _clashes(self, wanted: list[Image]) -> set[tuple[Location, str]]:
        """Neither of two different images may win by its place in the file, so both fail."""
        sources: defaultdict[tuple[Location, str], list[str]] = defaultdict(list)
        for image, other in conflicts(wanted).items():
            sources[image.target, str(image.tag)] += [
                f"{other.source}:{other.followed}",
                f"{image.source}:{image.followed}",
            ]
        for (target, tag), names in sources.items():
            several = " and ".join(dict.fromkeys(names))
            error = UsageError(
                f"{several} are different images and both would be this tag",
                remedy="give one of them another name, destination or tag filter",
                side="destination",
                store=target.store,
                repository=target.repository,
                reference=tag,
            )
            self._fail(f"{target}:{tag}", error)
        return set(sources)


def _images(question: _Question, root: Descriptor) -> Iterable[Image]:
    followed = None if question.pin else question.tag
    for destination in question.mirror.destinations:
        target = question.mirror.target(destination, question.source.repository)
        yield Image(question.source, target, question.tag, root, followed)
