"""The images that a spec wants at its destinations, also if their sources do not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

from mirrorsync.errors import MirrorsyncError, NotFound, RepositoryNotFound
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.choose import Chosen, choose
from mirrorsync.sync.gather.resolve import Resolver
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.verify.model import Subject

Failures = dict[tuple[str, str], Failure]  # by subject and mirror


async def wanted_by(mirrors: Sequence[Mirror], session: Session) -> tuple[list[Subject], list[Failure]]:
    """Return the images that `mirrors` want, and the failures to find out what the sources name.

    If a source does not answer, its exact tags are known all the same, and its filters are applied to the tags that
    the destination has.
    """
    chosen = await choose(mirrors, session)
    resolver = Resolver(chosen, session)
    resolver.announce(chosen.lookups)
    await resolver.ask(chosen.lookups)
    desired = resolver.desired()
    failures: Failures = {(failure.subject, failure.mirror): failure for failure in desired.failures}
    subjects: dict[tuple[Location, Ref], Subject] = {}
    for image in desired.images:
        ref = image.tag or image.root.digest
        subjects[image.target, ref] = Subject(image.target, ref, wanted=image, mirror=image.mirror)
    for subject in _unresolved(chosen, failures):
        subjects.setdefault((subject.target, subject.ref), subject)
    for mirror in mirrors:
        if _is_unlisted(mirror, failures):
            async for found in _at_destinations(mirror, session, failures):
                if isinstance(found, Subject):
                    subjects.setdefault((found.target, found.ref), found)
    return list(subjects.values()), list(failures.values())


def _unresolved(chosen: Chosen, failures: Failures) -> Iterator[Subject]:
    """Yield the images that could not be resolved at their sources."""
    for lookup in chosen.lookups:
        failure = failures.get((str(lookup), lookup.mirror.pointer))
        tag, mirror = lookup.wanted.tag, lookup.mirror
        # The digest of selected platforms is known only from the source.
        if failure is None or (tag is None and mirror.platforms):
            continue
        lacks = isinstance(failure.error, NotFound)
        for target in lookup.targets:
            yield Subject(target, tag or lookup.wanted.ref, mirror=mirror.pointer, source_lacks=lacks)


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
            yield Subject(target, wanted.tag or wanted.ref, mirror=mirror.pointer)
