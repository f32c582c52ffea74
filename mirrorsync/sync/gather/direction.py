"""Whether tags move back to older images: by the memory, or by what the images say of themselves."""

from __future__ import annotations

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.plan.direction import Ages, moves_back
from mirrorsync.plan.model import Image
from mirrorsync.sync.gather.created import Creations
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.session import Session


class Directions:
    """Whether tags move back. It costs a lookup in the memory for each tag that moves, or a look into both images."""

    def __init__(self, session: Session, sightings: Sightings) -> None:
        self._session = session
        self._sightings = sightings
        self._creations = Creations(session)

    async def of(self, image: Image, present: Descriptor | None) -> str:
        """Return that a tag moves to an older image, as a sentence, "" if it does not move, or that is not known."""
        found, seen = image.root, self._sightings
        if image.tag is None or present is None or present.digest == found.digest:
            return ""
        had = seen.had_until(image.target, image.tag, found.digest)
        by_memory = moves_back(Ages(had, self._first_seen(present), self._first_seen(found)))
        if by_memory or self._session.converting(image.target) is not None:
            return by_memory
        try:
            before = await self._creations.time_of(image.target, present)
            return moves_back(
                Ages(created_before=before, created_found=await self._creations.time_of(image.source, found))
            )
        except MirrorsyncError:
            return ""  # what cannot be read fails where it is needed

    def _first_seen(self, content: Descriptor) -> float | None:
        first = self._sightings.first_seen(content.digest)
        return first if first < self._sightings.now else None
