"""Which manifests without a tag go: those of this mirror that only generations beyond the kept ones need. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Image, Origin
from mirrorsync.plan.policies import Decision
from mirrorsync.plan.prune import POINTER

_DELETE = Decision("delete", "prune: only generations that are not kept any more need it", policy="prune")


@dataclass(frozen=True, slots=True)
class Untagged:
    """The memory of manifests without a tag.

    left: those that this mirror has put at a destination, and whose tag has been moved or deleted since. needed: the
    images of the generations that are kept.
    """

    left: frozenset[tuple[Location, Digest]] = frozenset()
    needed: frozenset[tuple[Location, Digest]] = frozenset()

    def needed_at(self, target: Location) -> list[Digest]:
        """Return the images of the kept generations in one repository."""
        return [digest for location, digest in self.needed if location == target]


def expired(untagged: Untagged, stores: Collection[str]) -> Mapping[Location, frozenset[Digest]]:
    """Return the manifests that no kept generation needs, by repository. stores: those of the spec's destinations."""
    found: defaultdict[Location, set[Digest]] = defaultdict(set)
    for target, digest in untagged.left - untagged.needed:
        if target.store in stores:
            found[target].add(digest)
    return {target: frozenset(digests) for target, digests in found.items()}


def drops(found: Iterable[tuple[Location, Descriptor]]) -> dict[Image, Descriptor]:
    """Return images to delete by their digest, sorted. found: the manifests as the destinations have them."""
    return {
        Image(Origin(target), target, None, content.bare(), POINTER): content
        for target, content in sorted(found, key=lambda one: (one[0], one[1].digest))
    }


def drop_decisions(images: Iterable[Image]) -> dict[Image, Decision]:
    """Return the decision to delete for every image."""
    return dict.fromkeys(images, _DELETE)
