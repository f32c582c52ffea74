"""Find the images that are too old at their destination after a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Failure, Plan, State
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.created import Creations, credible
from mirrorsync.sync.gather.referring import may_be_referrer
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session

# What the destination has after the run is what it has now.
_STAYS = frozenset({State.KEPT, State.DELAYED, State.REFUSED})


async def too_old(mirrors: Iterable[Mirror], plan: Plan, session: Session, sightings: Sightings) -> tuple[Failure, ...]:
    """Return a failure for each image that is older than its mirror allows, in the order of the plan.

    An image is looked into once, and its time is remembered: an unchanged one costs no request, and all of them one
    look into the cache.
    """
    rules = {mirror.pointer: mirror.max_staleness for mirror in mirrors if mirror.max_staleness is not None}
    creations = Creations(session)
    found: dict[int, Failure] = {}

    def judge(number: int, change: Change, content: Descriptor, created: float | None) -> None:
        error = rules[change.mirror].alarm(created, sightings.first_seen(content.digest), sightings.now)
        if error is not None:
            found[number] = Failure.of(change, error.at(change.target.at(change.tag), side="destination"))

    async def look(numbered: tuple[int, Change, Descriptor]) -> None:
        number, change, content = numbered
        try:
            created = await creations.time_of(places[content.digest], content)
        except MirrorsyncError:
            created = None  # the image is there; what is known without it counts
        judge(number, change, content, created)

    images = list(_images(plan, rules))
    known = session.creations({content.digest for _, _, content in images})
    places = _places(images, session)
    for number, change, content in images:
        if content.digest in known:
            judge(number, change, content, credible(known[content.digest]))
    await for_each((one for one in images if one[2].digest not in known), look)
    return tuple(found[number] for number in sorted(found))


def _images(plan: Plan, rules: Collection[str]) -> Iterable[tuple[int, Change, Descriptor]]:
    """Yield the changes of images that rules are for, with their numbers and what the destination has after the run.

    Not backups and attachments. rules: the mirrors that have some.
    """
    for number, change in enumerate(plan.changes if rules else ()):
        content = change.before if change.state in _STAYS else change.after
        origin = change.origin
        if content is None or change.mirror not in rules or origin is None or change.backup_of is not None:
            continue
        if not may_be_referrer(change.tag, origin):
            yield number, change, content


def _places(images: Iterable[tuple[int, Change, Descriptor]], session: Session) -> Mapping[Digest, Location]:
    """Return a repository that has each image now: its destination, if that has it in this form under any tag."""
    found: dict[Digest, Location] = {}
    for _, change, content in images:
        present = change.before is not None and change.before.digest == content.digest
        if present and session.converting(change.target) is None:
            found[content.digest] = change.target
        else:
            found.setdefault(content.digest, change.origin.location if change.origin is not None else change.target)
    return found
