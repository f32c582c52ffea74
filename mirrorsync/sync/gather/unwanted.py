"""Tags of the mirror's own repositories at the destinations that no mirror wants any more. Nothing is deleted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Image, Unwanted
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.choose import Chosen
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.targets import MayWrite, targets_of
from mirrorsync.sync.pool import for_each

# Tags that contain a digest belong to the image of that digest: signatures, SBOMs, lists of referrers.
_ATTACHED: Final = re.compile(r"sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})(\..+)?")


class UnwantedTags:
    """Finds the unwanted tags, at one list of tags for each repository, while the other passes make their requests.

    A repository is the mirror's own if a mirror of the spec writes to it. It is left out if one of these mirrors was
    not asked for (`--only`), or if its source could not be listed: its tags may be wanted. mirrors: all of the spec.
    """

    def __init__(self, mirrors: Iterable[Mirror], chosen: Chosen, tags: DestinationTags) -> None:
        self._tags = tags
        self._lists = chosen.lists
        self._wanted: defaultdict[Location, set[str]] = defaultdict(set)
        self._listed: dict[Location, frozenset[Tag]] = {}
        unsure = MayWrite()
        for mirror in mirrors:
            for target in _targets(mirror, chosen):
                self._wanted[target].update()
            if mirror.pointer not in chosen.sources:
                unsure.add(mirror)
        for target, names in chosen.tags().items():
            self._wanted[target].update(names)
        for target in tuple(self._wanted):
            if target in unsure:
                del self._wanted[target]

    async def ask(self) -> None:
        """List the repositories. One that cannot be listed is left out."""
        await for_each(tuple(self._wanted), self._list)

    async def _list(self, target: Location) -> None:
        try:
            self._listed[target] = await self._tags.listed(target)
        except MirrorsyncError:
            return  # it does not exist, or the registry rejects lists; its images are observed anyway

    def found(self, images: Iterable[Image], kept: Iterable[tuple[Location, Tag]] = ()) -> tuple[Unwanted, ...]:
        """Return the unwanted tags by repository.

        images: those of the plan, which are wanted, or are deleted. kept: tags that stay for another reason.
        """
        images = tuple(images)
        planned = {*((image.target, image.tag) for image in images), *kept}
        found, present = [], self._tags.present()
        # A list without a tag that exists is not whole, and what else it lacks is unknown: at both sides.
        unsure = {image.target for image in images if self._lists.lacks(image.source, image.origin.followed)}
        for target, listed in sorted(self._listed.items()):
            if target in unsure or not present.get(target, set()) <= listed:
                continue
            extra = sorted(
                tag
                for tag in listed - self._wanted[target]
                if not _ATTACHED.fullmatch(tag) and (target, tag) not in planned
            )
            found += [Unwanted(target, tuple(extra))] if extra else []
        return tuple(found)


def _targets(mirror: Mirror, chosen: Chosen) -> Iterable[Location]:
    return (target for source in chosen.sources.get(mirror.pointer, ()) for target in targets_of(mirror, source))
