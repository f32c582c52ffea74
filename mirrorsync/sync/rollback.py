"""Plan the way back: every tag names again what it named in an earlier generation of the mirror."""

from __future__ import annotations

from collections.abc import Callable

from mirrorsync.errors import ContentNotFound, MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import Failure, Image, Origin, Plan
from mirrorsync.spec.model import Spec
from mirrorsync.state import Generation, Owned, TagKey
from mirrorsync.sync.clock import now
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.observe import observe
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.proven import refused_in_rollback
from mirrorsync.sync.road import stamp
from mirrorsync.sync.session import Session, located

# What stands in place of a mirror's pointer for the changes of a rollback.
POINTER = "/rollback"


async def plan_rollback(
    generation: Generation, spec: Spec, session: Session, *, clock: Callable[[], str] = now
) -> Plan:
    """Return the plan that brings the destinations back to a generation.

    Content is taken from the destination itself, which mostly still has it, and otherwise from where it was read then.
    Tags that the generation does not have stay as they are. A tag whose image is nowhere any more is a failure, and so
    is one that `verify` of its mirror refuses now: what was mirrored before the key was in the spec may be unsigned.
    """
    created = clock()
    finder = _Finder(session)
    await for_each(generation.tags.items(), finder.find)
    tags = DestinationTags(session)
    sources = {key: owned.source for key, owned in generation.tags.items()}
    refused = await refused_in_rollback(finder.found, sources, spec, session, tags)
    finder.failures.update(refused)
    images = tuple(finder.found[key] for key in sorted(finder.found) if key not in refused)
    failures = tuple(finder.failures[key] for key in sorted(finder.failures))
    desired = Desired(images, failures)
    return diff(desired, await observe(desired, session, tags), spec=stamp(spec), created=created)


class _Finder:
    """Finds the image of each tag: at the destination, or at its source."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.found: dict[TagKey, Image] = {}
        self.failures: dict[TagKey, Failure] = {}

    async def find(self, one: tuple[TagKey, Owned]) -> None:
        """Add the image of a tag, or a failure."""
        key, owned = one
        target, tag = key
        try:
            for place in dict.fromkeys(place for place in (target, owned.source) if place is not None):
                root = await self._root(place, target, owned.digest)
                if root is not None:
                    self.found[key] = Image(Origin(place), target, tag, root, POINTER)
                    return
            raise ContentNotFound(
                f"the destination and the source do not have {owned.digest} any more", place=target.at(tag)
            )
        except MirrorsyncError as error:
            self.failures[key] = Failure(f"{target}:{tag}", error, targets=(target,))

    async def _root(self, place: Location, target: Location, digest: Digest) -> Descriptor | None:
        with located("destination" if place == target else "source", place, digest):
            found = await self._session.repository(place).resolve(digest)
        return None if found is None else found.bare()
