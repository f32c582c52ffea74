"""What a lock is made of: the digest that each wanted image has at its source now, and what a location has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Reference
from mirrorsync.plan.model import Failure, Image
from mirrorsync.plan.policies import Facts, MinAge, Policy, decide
from mirrorsync.spec.lock import Lock, Name
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.accepted import accepted
from mirrorsync.sync.gather.choose import choose
from mirrorsync.sync.gather.resolve import Resolver
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.suggest import absent
from mirrorsync.sync.verify.scope import Scope, subjects_at

_ANY: Final = "application/octet-stream"  # a policy compares digests


@dataclass(frozen=True, slots=True)
class Resolved:
    """The images that were resolved, those that wait with the reason, and what failed.

    dropped: the failures of images that their sources have dropped, which is acknowledged.
    """

    images: Mapping[Name, Digest]
    waiting: Mapping[Name, str]
    failures: tuple[Failure, ...]
    dropped: tuple[Failure, ...] = ()


async def resolve_for_lock(mirrors: Iterable[Mirror], session: Session, old: Lock, sightings: Sightings) -> Resolved:
    """Return the images that `mirrors` want now. An image that is too young for `min_age` waits, as in a run.

    The digest is that of the tag, also if only some platforms of it are mirrored: these are chosen again from the same
    index by each run. old: the lock until now; what is in it waits for nothing.
    """
    whole = [replace(mirror, platforms=(), referrers=None) for mirror in mirrors]
    chosen = await choose(whole, session, sightings)
    resolver = Resolver(chosen, session)
    resolver.announce(chosen.lookups)
    await resolver.ask(chosen.lookups)
    desired = resolver.desired()
    sightings.note(image.root.digest for image in desired.images)
    policies = {mirror.pointer: [one for one in mirror.policies if isinstance(one, MinAge)] for mirror in whole}
    images: dict[Name, Digest] = {}
    waiting: dict[Name, str] = {}
    for image in desired.images:
        name = (image.source, image.origin.followed or image.root.digest)
        reason = _waits(image, old.images.get(name), policies[image.mirror], sightings)
        if reason:
            waiting[name] = reason
        else:
            images[name] = image.root.digest
    # Two mirrors may want the same image, and only one of them waits for it.
    waiting = {name: why for name, why in waiting.items() if name not in images}
    known = accepted(desired.failures, whole, sightings.absences(), session.announce)
    return Resolved(images, waiting, tuple(one for one in desired.failures if one not in known), tuple(known))


def _waits(image: Image, before: Digest | None, policies: Iterable[Policy], seen: Sightings) -> str:
    present = Descriptor(_ANY, before, 0) if before is not None else None
    pinned = image.origin.followed is None
    first = seen.first_seen(image.root.digest)
    found = decide(policies, Facts(image.tag, present, image.root, pinned, first, seen.now))
    return "" if found is None else found.reason


async def resolve_location(session: Session, scope: Scope) -> Resolved:
    """Return the images at a location. Raises: as `subjects_at`."""
    subjects, failures = await subjects_at(session, scope)
    images: dict[Name, Digest] = {}
    lost = list(failures)

    async def ask(number: int) -> None:
        subject = subjects[number]
        name = (subject.target, subject.ref)
        try:
            with located("source", *name):
                root = subject.root or await session.repository(subject.target).resolve(subject.ref)
                if root is not None:
                    images[name] = root.digest
                elif scope.ref is not None:  # others were deleted since they were listed
                    raise await absent(session, Reference.of(*name))
        except MirrorsyncError as error:
            lost.append(Failure(str(subject), error, source=subject.target, ref=subject.ref))

    await for_each(range(len(subjects)), ask)
    return Resolved(images, {}, tuple(lost))
