"""Find the images that are too old at their destination after a run."""

from __future__ import annotations

from collections.abc import Iterable

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Failure, Plan, State
from mirrorsync.plan.staleness import MaxStaleness
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.created import Creations
from mirrorsync.sync.gather.referring import may_be_referrer
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session

# What the destination has after the run is what it has now.
_STAYS = frozenset({State.KEPT, State.DELAYED, State.REFUSED})


async def too_old(mirrors: Iterable[Mirror], plan: Plan, session: Session, sightings: Sightings) -> tuple[Failure, ...]:
    """Return a failure for each image that is older than its mirror allows, in the order of the plan.

    An image is looked into once, and its time is remembered: an unchanged one costs no request.
    """
    rules = {mirror.pointer: mirror.max_staleness for mirror in mirrors if mirror.max_staleness is not None}
    creations = Creations(session)
    found: dict[int, Failure] = {}

    async def look(numbered: tuple[int, Change, MaxStaleness]) -> None:
        number, change, rule = numbered
        content = change.before if change.state in _STAYS else change.after
        if content is None:
            return
        try:
            created = await creations.time_of(_location(change, content, session), content)
        except MirrorsyncError:
            created = None  # the image is there; what is known without it counts
        error = rule.alarm(created, sightings.first_seen(content.digest), sightings.now)
        if error is not None:
            found[number] = Failure.of(change, error.at(change.target.at(change.tag), side="destination"))

    await for_each([(number, one, rules[one.mirror]) for number, one in _images(plan) if one.mirror in rules], look)
    return tuple(found[number] for number in sorted(found))


def _images(plan: Plan) -> Iterable[tuple[int, Change]]:
    """Yield the changes of wanted images, and not of backups and attachments, with their numbers."""
    for number, change in enumerate(plan.changes):
        origin = change.origin
        if origin is not None and change.backup_of is None and not may_be_referrer(change.tag, origin):
            yield number, change


def _location(change: Change, content: Descriptor, session: Session) -> Location:
    """Return a repository that has an image now: the destination, if it has it in this form."""
    present = change.before is not None and change.before.digest == content.digest
    if present and session.converting(change.target) is None:
        return change.target
    return change.origin.location if change.origin is not None else change.target
