"""From names to images: one question to the source for each, and what refers to it where that is wanted too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from mirrorsync.errors import IntegrityError, MirrorsyncError, UsageError
from mirrorsync.events import PhaseAdvanced, PhaseStarted
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import refuse_schema_1
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, conflicts
from mirrorsync.plan.model import Failure, Image, Origin
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.choose import Chosen, Key, Question, choose
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.referring import referring
from mirrorsync.sync.gather.roots import narrow
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.suggest import missing


async def resolve(mirrors: Iterable[Mirror], session: Session) -> Desired:
    """Return every image that `mirrors` want today, with its root descriptor and each of its destinations.

    Exact tags cost one question each and never list a repository. What cannot be resolved is a failure in the result,
    and the others go on.
    """
    chosen = await choose(mirrors, session)
    resolver = Resolver(chosen, session)
    resolver.announce(chosen.questions)
    await resolver.ask(chosen.questions)
    return resolver.desired()


class Resolver:
    """Asks sources what the chosen names stand for, in as many passes as its user needs."""

    def __init__(self, chosen: Chosen, session: Session) -> None:
        self._chosen = chosen
        self._session = session
        self._roots: dict[Key, Descriptor] = {}
        self._referring: dict[Key, list[tuple[Tag | None, Descriptor]]] = {}
        self._failures = {failure.subject: failure for failure in chosen.failures}

    def announce(self, questions: Collection[Question]) -> None:
        """Say how many questions there will be."""
        self._session.announce(PhaseStarted("resolve", len({question.key for question in questions})))

    async def ask(self, questions: Iterable[Question]) -> None:
        """Resolve some of the chosen names; equal ones are asked for once, and what was asked before is not."""
        different = {question.key: question for question in questions if question.key not in self._roots}
        await for_each(different.values(), self._ask)
        await for_each(different.values(), self._ask_what_refers)

    async def _ask(self, question: Question) -> None:
        try:
            with located("source", question.source, question.wanted.ref):
                self._roots[question.key] = await self._root(question)
        except MirrorsyncError as error:
            self._fail(str(question), error)
        self._session.announce(PhaseAdvanced("resolve"))

    async def _ask_what_refers(self, question: Question) -> None:
        root = self._roots.get(question.key)
        if root is None or not question.mirror.referrers:
            return
        try:
            with located("source", question.source, question.wanted.ref):
                found = referring(self._session, question.source, root)
                self._referring[question.key] = [one async for one in found]
        except MirrorsyncError as error:
            self._fail(f"what refers to {question}", error)

    async def _root(self, question: Question) -> Descriptor:
        source, ref = question.source, question.wanted.ref
        root = await named_at(self._session, source, ref)
        if root is None:
            raise await missing(source, ref, lambda: self._chosen.lists.of(source))
        refuse_schema_1(root.media_type)
        if isinstance(ref, Digest) and root.digest != ref:
            raise IntegrityError(f"asked for {ref} and got {root.digest}")
        platforms = question.mirror.platforms
        return (await narrow(self._session, source, root, platforms) if platforms else root).bare()

    def _fail(self, subject: str, error: MirrorsyncError) -> None:
        self._failures.setdefault(subject, Failure(subject, error))

    def desired(self, settled: Mapping[tuple[Location, Tag | None], Descriptor] | None = None) -> Desired:
        """Return the images in the order of the spec, without those that two mirrors want to be different things.

        settled: what the destinations have of images whose sources were not asked, and what therefore is wanted there.
        """
        images: dict[tuple[Location, Tag | Digest], Image] = {}
        wanted = [image for question in self._chosen.questions for image in self._images(question, settled or {})]
        clashing = self._clashes(wanted)
        for image in wanted:
            key = (image.target, image.tag or image.root.digest)
            if key not in clashing:
                images.setdefault(key, image)
        return Desired(tuple(images.values()), tuple(self._failures.values()))

    def _images(self, question: Question, settled: Mapping[tuple[Location, Tag | None], Descriptor]) -> Iterator[Image]:
        mirror, tag = question.mirror, question.wanted.tag
        found = self._roots.get(question.key)
        origin = Origin(question.source, mirror.followed(question.wanted), mirror.platforms)
        for target in question.targets:
            root = settled.get((target, tag)) if found is None else found
            if root is not None:
                yield Image(origin, target, tag, root, mirror.pointer)
        for target in question.targets:
            for tag, root in self._referring.get(question.key, ()):
                yield Image(Origin(question.source, tag), target, tag, root, mirror.pointer)

    def _clashes(self, wanted: Iterable[Image]) -> set[tuple[Location, Tag | Digest]]:
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
