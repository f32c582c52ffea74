"""Find out which tags of this mirror their sources have dropped. Only answers count: a failure is never an absence.

A source that refuses access, which it gave before with the same login, may have dropped a repository or not: that is
reported, and can be acknowledged, but it deletes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mirrorsync.durations import timestamp
from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    MirrorsyncError,
    RepositoryNotFound,
    TooFewTags,
    Unauthorized,
)
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import Failure, Image, Vanished
from mirrorsync.plan.prune import Known
from mirrorsync.plan.vanish import Absence, Lost, SourceTag, dropped, grouped
from mirrorsync.spec.ages import Ages
from mirrorsync.spec.created import Creation
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.choose import Chosen
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.gather.targets import targets_of
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located

_NOTHING: Final[frozenset[Tag]] = frozenset()
# Answers of a source that has dropped a tag.
MISSING: Final = (ContentNotFound, RepositoryNotFound)
# Answers of a source that refuses access: Docker Hub, GHCR and Quay do so for a repository that was deleted.
REFUSALS: Final = (Unauthorized, Denied)


@dataclass(frozen=True, slots=True)
class Gone:
    """The tags that sources have dropped and destinations still have.

    deletable: those that `on_vanish: delete` is for. absences: what earlier runs know of them.
    """

    lost: tuple[Lost, ...] = ()
    deletable: tuple[Known, ...] = ()
    absences: Mapping[SourceTag, Absence] = field(default_factory=dict)

    @property
    def tags(self) -> frozenset[tuple[Location, Tag]]:
        """The targets and tags at the destinations."""
        return frozenset((one.known.target, one.known.tag) for one in self.lost)

    def kept(self, images: Iterable[Image]) -> tuple[Vanished, ...]:
        """Return what is to be reported, without the images that a plan deletes. images: those of the plan."""
        planned = {(image.target, image.tag) for image in images} if self.lost else set()
        return grouped((one for one in self.lost if (one.known.target, one.known.tag) not in planned), self.absences)


async def find_gone(
    mirrors: Sequence[Mirror],
    chosen: Chosen,
    desired: Desired,
    tags: DestinationTags,
    session: Session,
    sightings: Sightings,
) -> tuple[Gone, Desired]:
    """Return what sources have dropped, and the wanted images without the failures that are acknowledged.

    It costs no request if nothing is missing. A tag that is missed for the first time is asked for once more at its
    source: if that has it, its list is not whole, and nothing is claimed of it.
    """
    finder = _Finder(chosen, desired, session, sightings)
    finder.note_answers(mirrors)
    for mirror in mirrors:
        if not mirror.locked:
            await finder.look(mirror)
    if not finder.found:
        return Gone(), desired
    present = await _present(finder.found.values(), tags, session)
    lost = tuple(one for one in finder.found.values() if one.known in present)
    deletable = tuple(one.known for one in lost if one.known in finder.deletable and one.is_certain)
    gone = Gone(lost, deletable, finder.absences)
    return gone, _without_acknowledged(desired, gone, chosen, mirrors)


class _Finder:
    """found: what was dropped, by target and tag. deletable: the tags of mirrors with `on_vanish: delete`."""

    def __init__(self, chosen: Chosen, desired: Desired, session: Session, sightings: Sightings) -> None:
        self._chosen = chosen
        self._desired = desired
        self._session = session
        self._sightings = sightings
        self.absences = sightings.absences()
        self._logins = sightings.logins()
        self.found: dict[tuple[Location, Tag], Lost] = {}
        self.deletable: set[Known] = set()
        self._known: defaultdict[Location, list[Known]] = defaultdict(list)
        for one in sightings.known():
            if one.source is not None:
                self._known[one.source].append(one)
        self._failed: defaultdict[tuple[str, Location], dict[Ref | None, MirrorsyncError]] = defaultdict(dict)
        for failure in desired.failures:
            if failure.source is not None:
                self._failed[failure.mirror, failure.source][failure.ref] = failure.error

    async def look(self, mirror: Mirror) -> None:
        """Find the tags that the sources of a mirror have dropped."""
        sources = [mirror.source] if mirror.namespace is None else [one for one in self._known if mirror.covers(one)]
        for source in sources:
            targets = targets_of(mirror, source) if source in self._known else ()
            known = [one for one in self._known.get(source, ()) if one.target in targets]
            if known:
                await self._look(mirror, source, known)

    async def _look(self, mirror: Mirror, source: Location, known: Sequence[Known]) -> None:
        found = self._exact(mirror, source, known)
        answer = await self._listed(mirror, source)
        refused = isinstance(answer, MirrorsyncError) and self._is_refused(source, answer)
        listed = _NOTHING if refused or isinstance(answer, RepositoryNotFound) else answer
        if listed is not None and not isinstance(listed, MirrorsyncError):
            exact = {wanted.tag for wanted in mirror.selection.exact}
            filtered = [one for one in known if one.tag not in exact]
            missing = dropped(filtered, listed, lambda tags: self._choose(mirror, source, tags))
            if listed:
                missing = await self._confirmed(mirror, source, missing)
            found += [Lost(one, source, whole=not listed, refused=refused) for one in missing]
        wanted = {(image.target, image.tag) for image in self._desired.images} if found else set()
        for one in found:
            if (one.known.target, one.known.tag) not in wanted:
                self.found.setdefault((one.known.target, one.known.tag), one)
                if mirror.on_vanish == "delete":
                    self.deletable.add(one.known)

    def _exact(self, mirror: Mirror, source: Location, known: Iterable[Known]) -> list[Lost]:
        """Return the exact tags that their source does not have: it listed others, has no such repository, or refuses
        access to it.
        """
        failed = self._failed.get((mirror.pointer, source), {})
        if not failed:
            return []
        by_tag = {wanted.tag: failed.get(wanted.ref) for wanted in mirror.selection.exact}
        listed = self._chosen.lists.tags(source)
        found = []
        for one in known:
            error = by_tag.get(one.tag)
            refused = self._is_refused(source, error)
            if refused or isinstance(error, RepositoryNotFound):
                found.append(Lost(one, source, whole=True, refused=refused))
            elif isinstance(error, ContentNotFound) and listed is not None:
                found.append(Lost(one, source, whole=not listed))
        return found

    def _is_refused(self, source: Location, error: MirrorsyncError | None) -> bool:
        """Return whether a source refuses access that it gave before, with the same login."""
        if not isinstance(error, REFUSALS):
            return False
        login = self._session.login(source)
        return login is not None and self._logins.get(source, login) == login

    async def _listed(self, mirror: Mirror, source: Location) -> frozenset[Tag] | MirrorsyncError | None:
        """Return the tags of a source that filters choose from, or the error in their place; None if not known."""
        if not mirror.selection.lists:
            return None
        listed = self._chosen.listed.get(source)
        if listed is not None:
            return listed
        failed = self._failed.get((mirror.pointer, source), {}).get(None)
        if failed is not None:
            return failed
        answered = self._chosen.sources.get(mirror.pointer)
        if mirror.namespace is None or answered is None or source in answered:
            return None
        try:  # a catalog may leave out what these credentials may not read
            return frozenset(await self._chosen.lists.of(source))
        except MirrorsyncError as error:
            return error

    def _choose(self, mirror: Mirror, source: Location, tags: Collection[Tag]) -> set[Tag]:
        selection = mirror.selection
        if selection.needs_ages:
            # Some of them are not in the list: their age must not count from a listing that was none.
            first = self._sightings.first_listed(source, tags, note=False)
            selection = selection.aged(Ages(self._sightings.now, first))
        if selection.needs_creations:
            selection = selection.dated(self._creations(mirror, source))
        return {wanted.tag for wanted in selection.choose(list(tags)) if wanted.tag is not None}

    def _creations(self, mirror: Mirror, source: Location) -> dict[Tag, Creation]:
        """Return the creations of the images that are wanted now, and of those that the mirror has, as remembered."""
        digests = {one.tag: one.digest for one in self._known[source]}
        for image in self._desired.images:
            if image.mirror == mirror.pointer and image.source == source and image.tag is not None:
                digests[image.tag] = image.whole or image.root.digest
        known = self._session.creations(set(digests.values()))
        return {tag: Creation(digest, timestamp(known.get(digest, ""))) for tag, digest in digests.items()}

    async def _confirmed(self, mirror: Mirror, source: Location, missing: Sequence[Known]) -> list[Known]:
        """Return the tags that the source does not have under their names either; none if its list was not whole."""
        known = [one for one in missing if mirror.on_vanish == "keep" and (source, one.tag) in self.absences]
        asked = [one for one in missing if one not in known]
        gone: list[Known] = []

        async def ask(one: Known) -> None:
            try:
                with located("source", source, one.tag):
                    if await named_at(self._session, source, one.tag) is None:
                        gone.append(one)
            except MirrorsyncError:
                pass  # not known

        for first in asked[:1]:
            await ask(first)
        if gone:
            await for_each(asked[1:], ask)
        return [*known, *(one for one in asked if one in gone)]

    def note_answers(self, mirrors: Iterable[Mirror]) -> None:
        """Take note of the accounts that sources answered to; forget the absence of tags that they have again.

        A source that answers refuses access no more: which of its tags are missing is found out anew.
        """
        # Without a request to the source an image proves nothing about it.
        asking = {
            one.pointer
            for one in mirrors
            if not one.locked and not any(rule.decides_without_source for rule in one.policies)
        }
        there = {(image.source, image.tag) for image in self._desired.images if image.mirror in asking}
        listed = self._chosen.listed
        answered = {source for source, _ in there} | listed.keys()
        logins = {source: self._session.login(source) for source in answered}
        new = {one: login for one, login in logins.items() if login is not None and self._logins.get(one) != login}
        if new:
            self._sightings.read_with(new)
        if not self.absences:
            return
        over = {key for key, one in self.absences.items() if one.refused and key[0] in answered}
        back = {key for key in self.absences if key in there or key[1] in listed.get(key[0], _NOTHING)} | over
        if back:
            self._sightings.returned(back)
            self.absences = {key: one for key, one in self.absences.items() if key not in over}


async def _present(lost: Iterable[Lost], tags: DestinationTags, session: Session) -> set[Known]:
    """Return the tags that the destinations have; a destination that does not answer fails elsewhere."""
    found: set[Known] = set()

    async def ask(one: Lost) -> None:
        target, tag = one.known.target, one.known.tag
        try:
            with located("destination", target, tag):
                if session.converting(target) is not None:
                    present = await session.destination(target).resolve(tag)
                else:
                    present = await tags.named(target, tag)
        except MirrorsyncError:
            return
        if present is not None:
            found.add(one.known)

    await for_each(tuple(lost), ask)
    return found


def _without_acknowledged(desired: Desired, gone: Gone, chosen: Chosen, mirrors: Iterable[Mirror]) -> Desired:
    """Return the wanted images without the failures that an operator has acknowledged; others name the way to it."""
    by_pointer = {mirror.pointer: mirror for mirror in mirrors}
    failures = []
    for failure in desired.failures:
        mirror = by_pointer.get(failure.mirror)
        concerned = _concerned(failure, mirror, gone) if mirror is not None else []
        if mirror is None or not concerned:
            failures.append(failure)
        elif not _is_acknowledged(failure, mirror, concerned, gone, chosen):
            failures.append(_with_way(failure, concerned[0]))
    return replace(desired, failures=tuple(failures))


def _concerned(failure: Failure, mirror: Mirror, gone: Gone) -> list[Lost]:
    """Return the lost tags that a failure is about."""
    if not isinstance(failure.error, (*MISSING, *REFUSALS, TooFewTags)):
        return []
    refused = isinstance(failure.error, REFUSALS)
    own = [
        one
        for one in gone.lost
        if one.source == failure.source and one.known.target in failure.targets and one.refused == refused
    ]
    if failure.ref is None:
        return own
    named = {wanted.tag for wanted in mirror.selection.exact if wanted.ref == failure.ref}
    return [one for one in own if one.known.tag in named]


def _is_acknowledged(failure: Failure, mirror: Mirror, lost: Sequence[Lost], gone: Gone, chosen: Chosen) -> bool:
    if not all(
        absence is not None and absence.acknowledged for absence in (gone.absences.get(one.key) for one in lost)
    ):
        return False
    if isinstance(failure.error, TooFewTags):
        found = sum(lookup.mirror.pointer == mirror.pointer for lookup in chosen.lookups)
        return found + len({one.known.tag for one in lost}) >= mirror.min_tags
    # Every destination has to have the image, since its source cannot provide it any more.
    return {one.known.target for one in lost} >= set(failure.targets)


def _with_way(failure: Failure, lost: Lost) -> Failure:
    error, source = failure.error, lost.source
    accept = f"`mirrorsync acknowledge {source}` accepts that the source has dropped it and keeps what the mirror has"
    if lost.refused:
        message = "refuses access, which it gave before; it may have been deleted or made private"
        error = error.with_(message=f"{message} ({error.message})")
        accept = f"`mirrorsync acknowledge {source}` accepts it and keeps what the mirror has"
    return replace(failure, error=error.with_(remedy=f"{error.remedy}; {accept}" if error.remedy else accept))
