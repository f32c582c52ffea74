"""The images that a spec wants at its destinations, also if their sources do not answer, or are not asked at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Final

from mirrorsync.errors import MirrorsyncError, NotFound, RepositoryNotFound, TooFewTags, UsageError
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure, Origin
from mirrorsync.plan.vanish import Absence, SourceTag
from mirrorsync.spec.model import Destination, Mirror
from mirrorsync.spec.selection import Wanted
from mirrorsync.sync.gather.accepted import accepted
from mirrorsync.sync.gather.choose import Chosen, choose
from mirrorsync.sync.gather.resolve import Resolver
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.verify.model import Subject

_NAME: Final = "mirrorsync/name-of-a-repository"
Failures = dict[tuple[str, str], Failure]  # by subject and mirror


async def wanted_by(
    mirrors: Sequence[Mirror], session: Session, absences: Mapping[SourceTag, Absence]
) -> tuple[list[Subject], list[Failure]]:
    """Return the images that `mirrors` want, and the failures to find out what the sources name.

    If a source does not answer, its exact tags are known all the same, and its filters are applied to the tags that
    the destination has. absences: what sources have dropped, as it is remembered; if that is acknowledged, it is no
    failure, and only the destinations have to have the image.
    """
    chosen = await choose(mirrors, session)
    resolver = Resolver(chosen, session)
    resolver.announce(chosen.lookups)
    await resolver.ask(chosen.lookups)
    desired = resolver.desired()
    failures: Failures = {(failure.subject, failure.mirror): failure for failure in desired.failures}
    known = accepted(failures.values(), mirrors, absences, session.announce)
    subjects: dict[tuple[Location, Ref], Subject] = {}
    for image in desired.images:
        ref = image.tag or image.root.digest
        subjects[image.target, ref] = Subject(
            image.target, ref, wanted=image, mirror=image.mirror, only=_only(image.origin), foreign=image.foreign
        )
    for subject in _unresolved(chosen, failures, known):
        subjects.setdefault((subject.target, subject.ref), subject)
    for mirror in mirrors:
        if _is_unlisted(mirror, failures):
            async for found in _at_destinations(mirror, session, failures):
                if isinstance(found, Subject):
                    subjects.setdefault((found.target, found.ref), found)
    return list(subjects.values()), [failure for failure in failures.values() if failure not in known]


async def present_of(mirrors: Sequence[Mirror], session: Session) -> tuple[list[Subject], list[Failure]]:
    """Return the images that `mirrors` want of what their destinations have, and the failures to find that out.

    No source is asked: exact names are known, and filters choose from the tags of the destination.
    """
    subjects: dict[tuple[Location, Ref], Subject] = {}
    failures: Failures = {}
    for mirror in mirrors:
        for destination in mirror.destinations:
            subject = str(mirror.source)
            try:
                for source in await _sources(mirror, destination, session):
                    target = mirror.target(destination, source.repository)
                    subject = str(target)
                    with located("destination", target):
                        for found in await _wanted_at(mirror, source, target, session):
                            subjects.setdefault((found.target, found.ref), found)
            except MirrorsyncError as error:
                failures.setdefault((subject, mirror.pointer), Failure(subject, error, mirror.pointer, mirror.source))
    return list(subjects.values()), list(failures.values())


async def _wanted_at(mirror: Mirror, source: Location, target: Location, session: Session) -> list[Subject]:
    """Return the images of one source in one repository. Raises: TooFewTags, RepositoryNotFound, MirrorsyncError."""
    listed = [tag async for tag in session.destination(target).tags()] if mirror.selection.lists else ()
    # The digest of selected platforms is known only from the source.
    known = mirror.sparse or not mirror.platforms
    chosen = [one for one in mirror.selection.ageless.choose(listed) if one.tag is not None or known]
    if mirror.selection.lists and mirror.namespace is None and len(chosen) < mirror.min_tags:
        raise TooFewTags(
            f"{len(chosen)} tags of the destination match the filters {mirror.filters}",
            remedy="`mirrorsync plan` shows what is to be mirrored",
        )
    return [
        Subject(
            target,
            one.tag or one.ref,
            mirror=mirror.pointer,
            origin=_origin(mirror, source, one),
            only=_only(mirror),
            foreign=mirror.foreign_layers,
        )
        for one in chosen
    ]


def _origin(mirror: Mirror, source: Location, wanted: Wanted) -> Origin:
    return Origin(source, mirror.followed(wanted), mirror.platforms, wanted.written_tag, index=mirror.index)


async def _sources(mirror: Mirror, destination: Destination, session: Session) -> Sequence[Location]:
    """Return the sources of a mirror; of a namespace those that a destination has the repositories of.

    Raises: UsageError if their names cannot be told from those at the destination; MirrorsyncError.
    """
    if mirror.namespace is None:
        return [mirror.source]
    before, field, after = mirror.target(destination, _NAME).repository.partition(_NAME)
    if not field:
        raise UsageError(
            f"the repositories of {mirror.source} are not known without asking it: name: does not have {{repository}}",
            remedy=f"verify it without a spec: `mirrorsync verify --trust {destination.location}/`",
        )
    store, found = mirror.source.store, []
    async for name in session.store(destination.location.store).repositories():
        if name.startswith(before) and name.endswith(after):
            source = Location(store, name[len(before) : len(name) - len(after)])
            if mirror.covers(source) and mirror.target(destination, source.repository).repository == name:
                found.append(source)
    return found


def _only(one: Mirror | Origin) -> tuple[Platform, ...]:
    return one.platforms if one.sparse else ()


def _unresolved(chosen: Chosen, failures: Failures, known: Collection[Failure]) -> Iterator[Subject]:
    """Yield the images that could not be resolved at their sources. known: the failures that are acknowledged."""
    for lookup in chosen.lookups:
        failure = failures.get((str(lookup), lookup.mirror.pointer))
        tag, mirror = lookup.wanted.tag, lookup.mirror
        # The digest of selected platforms is known only from the source.
        if failure is None or (tag is None and mirror.platforms and not mirror.sparse):
            continue
        lacks = isinstance(failure.error, NotFound) and failure not in known
        for target in lookup.targets:
            yield Subject(
                target,
                tag or lookup.wanted.ref,
                mirror=mirror.pointer,
                source_lacks=lacks,
                only=_only(mirror),
                foreign=mirror.foreign_layers,
            )


def _is_unlisted(mirror: Mirror, failures: Failures) -> bool:
    failure = failures.get((str(mirror.source), mirror.pointer))
    return mirror.selection.lists and mirror.namespace is None and failure is not None


async def _at_destinations(mirror: Mirror, session: Session, failures: Failures) -> AsyncIterator[Subject]:
    """Yield the images that the filters of a mirror choose from the tags of its destinations."""
    for destination in mirror.destinations:
        target = None
        try:
            target = mirror.target(destination, mirror.source.repository)
            with located("destination", target):
                tags = [tag async for tag in session.destination(target).tags()]
        except RepositoryNotFound:
            continue
        except MirrorsyncError as error:
            subject = str(target or mirror.source)
            targets = (target,) if target is not None else ()
            failure = Failure(subject, error, mirror.pointer, mirror.source, None, targets)
            failures.setdefault((subject, mirror.pointer), failure)
            continue
        for wanted in mirror.selection.choose(tags):
            yield Subject(
                target,
                wanted.tag or wanted.ref,
                mirror=mirror.pointer,
                only=_only(mirror),
                foreign=mirror.foreign_layers,
            )
