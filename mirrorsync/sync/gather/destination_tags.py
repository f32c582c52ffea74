"""The tags of the destinations: each is resolved once, while the sources resolve the wanted ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from mirrorsync.errors import MirrorsyncError, RepositoryNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.sync.pool import Answers, for_each
from mirrorsync.sync.session import Session, located


class DestinationTags:
    """The tags of all destinations of a run.

    absent: the repositories that are known not to exist. subjects: of referrers that may have been written and not
    listed; one that its registry does not list is missing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answers: dict[tuple[Location, Tag | Digest], Descriptor | MirrorsyncError | None] = {}
        self._listed: dict[Location, frozenset[Tag]] = {}
        self._lists: Answers[Location, frozenset[Tag]] = Answers()
        self._checked: set[Location] = set()
        self._referrers: Answers[tuple[Location, Digest], frozenset[Digest]] = Answers()
        self.absent: set[Location] = set()
        self.subjects: dict[tuple[Location, Digest], Digest] = {}

    async def ask(self, wanted: Mapping[Location, Iterable[Tag | Digest]]) -> None:
        """Resolve tags and digests, by repository; errors are raised by `named`.

        If the first one of a repository is missing, the repository is listed once: one that does not exist, or is
        nearly empty, then costs two requests instead of one for each tag. Registries report "does not exist" also for a
        repository without tags, which a run leaves that is stopped before its first tag.
        """
        groups = {target: list(dict.fromkeys(refs)) for target, refs in wanted.items() if refs}
        await for_each(groups.items(), self._check_repository)
        rest = ((target, one) for target, refs in groups.items() for one in refs)
        await for_each(rest, self._ask)

    async def presume(self, remembered: Mapping[Location, Mapping[Tag, Descriptor]]) -> None:
        """Take for what is remembered of them the tags that are in the lists of their repositories.

        Only for tags of which it matters that they are there, and not what they name: a list costs one request instead
        of one for each tag. Tags that are not in it, or whose repository has no list, are resolved by `ask` as ever.
        """

        async def look(one: tuple[Location, Mapping[Tag, Descriptor]]) -> None:
            target, roots = one
            with suppress(MirrorsyncError):
                listed = await self.listed(target)
                self._answers.update(((target, tag), root) for tag, root in roots.items() if tag in listed)

        await for_each(remembered.items(), look)

    async def _check_repository(self, group: tuple[Location, Sequence[Tag | Digest]]) -> None:
        target, (first, *_) = group
        if target in self._checked:
            return
        self._checked.add(target)
        await self._ask((target, first))
        if self._answers.get((target, first)) is not None:
            return
        try:
            self._listed[target] = await self.listed(target)
            await self._confirm(target, first)
        except RepositoryNotFound:
            if not self._session.store(target.store).shares_blobs:
                self.absent.add(target)
        except MirrorsyncError:
            pass  # a registry may resolve tags but reject lists; then each tag is resolved

    async def listed(self, target: Location) -> frozenset[Tag]:
        """Return all tags of a repository; it is listed once. Raises: RepositoryNotFound, MirrorsyncError."""

        async def ask() -> frozenset[Tag]:
            with located("destination", target):
                return frozenset([tag async for tag in self._session.destination(target).tags()])

        return await self._lists.get(target, ask)

    def present(self) -> dict[Location, set[str]]:
        """Return the tags that were resolved so far and name an image, by repository."""
        found: defaultdict[Location, set[str]] = defaultdict(set)
        for (target, ref), answer in self._answers.items():
            if isinstance(ref, Tag) and isinstance(answer, Descriptor):
                found[target].add(ref)
        return found

    async def _confirm(self, target: Location, ref: Tag | Digest) -> None:
        """Confirm a missing tag that is in the list: this registry answers some HEAD requests wrongly."""
        confirming = self._session.confirming(target)
        if ref in self._listed[target] and confirming is not None:
            self._answers[target, ref] = await confirming.confirm(ref)

    async def _ask(self, key: tuple[Location, Tag | Digest]) -> None:
        target, ref = key
        if key in self._answers:
            return
        try:
            # A store that keeps images in another form cannot resolve a tag to a digest: see `present_at`.
            if self._session.converting(target) is None:
                self._answers[key] = await self._resolve(target, ref)
        except MirrorsyncError as error:
            self._answers[key] = error

    async def _resolve(self, target: Location, ref: Tag | Digest) -> Descriptor | None:
        if self.lacks(target, ref):
            return None
        with located("destination", target, ref):
            found = await self._session.destination(target).resolve(ref)
            listed = found is None or isinstance(ref, Tag) or await self.is_listed(target, ref)
        return found if listed else None

    async def is_listed(self, target: Location, referrer: Digest) -> bool:
        """Return whether a referrer is in the list of its subject, if it is one of `subjects`. Raises: MirrorsyncError.

        Registries without the referrers API have these lists in manifests, which are written after the referrer: a run
        that was killed in between leaves one that nobody finds. Stores on disk have no such lists.
        """
        subject = self.subjects.get((target, referrer))
        if subject is None or self._session.confirming(target) is None:
            return True

        async def ask() -> frozenset[Digest]:
            return frozenset(one.digest for one in await self._session.destination(target).referrers(subject))

        return referrer in await self._referrers.get((target, subject), ask)

    def lacks(self, target: Location, ref: Tag | Digest) -> bool:
        """Return whether a destination is known to lack a tag or digest, without a request."""
        listed = self._listed.get(target)
        return target in self.absent or (listed is not None and isinstance(ref, Tag) and ref not in listed)

    async def named(self, target: Location, ref: Tag | Digest) -> Descriptor | None:
        """Return the manifest of a tag or digest at a destination, None if it is missing. Raises: MirrorsyncError."""
        await self._ask((target, ref))
        answer = self._answers[target, ref]
        if isinstance(answer, MirrorsyncError):
            raise answer
        return answer
