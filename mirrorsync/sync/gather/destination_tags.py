"""What the tags of the destinations name: asked for once each, while the sources are asked what they should name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mirrorsync.errors import MirrorsyncError, RepositoryNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


class DestinationTags:
    """The tags of all destinations of a run.

    absent: the repositories that do not exist, as far as somebody looked.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answers: dict[tuple[Location, Tag | Digest], Descriptor | MirrorsyncError | None] = {}
        self._listed: dict[Location, frozenset[Tag]] = {}
        self._looked_at: set[Location] = set()
        self.absent: set[Location] = set()

    async def ask(self, wanted: Mapping[Location, Iterable[Tag | Digest]]) -> None:
        """Ask for tags and digests, by repository; what fails is told to who wants to know it (`named`).

        If the first of a repository is not there, the repository is listed once: one that does not exist, or is nearly
        empty, then costs two questions instead of one for each tag. Registries say "does not exist" also of what a run
        left that was cut off before its first tag.
        """
        groups = {target: list(dict.fromkeys(refs)) for target, refs in wanted.items() if refs}
        await for_each(groups.items(), self._look)
        rest = ((target, one) for target, refs in groups.items() for one in refs)
        await for_each(rest, self._ask)

    async def _look(self, group: tuple[Location, Sequence[Tag | Digest]]) -> None:
        target, (first, *_) = group
        if target in self._looked_at:
            return
        self._looked_at.add(target)
        await self._ask((target, first))
        if self._answers.get((target, first)) is not None:
            return
        try:
            repository = self._session.destination(target)
            self._listed[target] = frozenset([tag async for tag in repository.tags()])
            await self._doubted(target, first)
        except RepositoryNotFound:
            if not self._session.store(target.store).shares_blobs:
                self.absent.add(target)
        except MirrorsyncError:
            pass  # a registry may answer questions and refuse lists; then each tag is asked for

    async def _doubted(self, target: Location, ref: Tag | Digest) -> None:
        """Ask again for a tag that was not there and is on the list: this registry's short answers are wrong."""
        confirming = self._session.confirming(target)
        if ref in self._listed[target] and confirming is not None:
            self._answers[target, ref] = await confirming.confirm(ref)

    async def _ask(self, question: tuple[Location, Tag | Digest]) -> None:
        target, ref = question
        if question in self._answers:
            return
        try:
            # What keeps images in another form cannot tell what a tag names: see `held_at`.
            if self._session.converting(target) is None:
                self._answers[question] = await self._asked(target, ref)
        except MirrorsyncError as error:
            self._answers[question] = error

    async def _asked(self, target: Location, ref: Tag | Digest) -> Descriptor | None:
        if self.lacks(target, ref):
            return None
        with located("destination", target, ref):
            return await self._session.destination(target).resolve(ref)

    def lacks(self, target: Location, ref: Tag | Digest) -> bool:
        """Tell whether it is known without a question that a destination does not have a tag or digest."""
        listed = self._listed.get(target)
        return target in self.absent or (listed is not None and isinstance(ref, Tag) and ref not in listed)

    async def named(self, target: Location, ref: Tag | Digest) -> Descriptor | None:
        """Return what a tag or digest names at a destination, None when it is not there. Raises: what asking raised."""
        await self._ask((target, ref))
        answer = self._answers[target, ref]
        if isinstance(answer, MirrorsyncError):
            raise answer
        return answer
