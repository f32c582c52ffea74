"""Settle images without their source: those that a policy keeps by the destinations' content alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Pick, Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.backup import TargetTag
from mirrorsync.plan.policies import Facts, decide_without_source
from mirrorsync.sync.gather.choose import Lookup
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session


def may_settle(lookup: Lookup) -> bool:
    """Return whether a policy may decide on an image without its source."""
    policies = any(one.decides_without_source for one in lookup.mirror.policies)
    return (lookup.wanted.tag is not None and policies) or _is_locked(lookup)


def _is_locked(lookup: Lookup) -> bool:
    """Return whether the image is known without its source: it is the digest of the lock.

    Not if platforms are to be selected, or if the source has to be asked for referrers, which no lock pins.
    """
    mirror = lookup.mirror
    return mirror.locked and not mirror.platforms and not mirror.referrers


def _is_pinned_elsewhere(lookup: Lookup, before: Descriptor | None) -> bool:
    pin = lookup.wanted.ref
    # The digest of an index that platforms are chosen from is not that of the image at the destination.
    return isinstance(pin, Digest) and not lookup.mirror.platforms and before is not None and before.digest != pin


def kept_if_present(
    lookups: Iterable[Lookup], remembered: Mapping[TargetTag, Descriptor]
) -> dict[Location, dict[Tag, Descriptor]]:
    """Return the tags, by repository, that a policy keeps if they are there, whatever they name.

    remembered: what tags named when they were recorded. Only repositories of which several are wanted: a list has the
    price of one tag, or of more if it is long.
    """
    found: defaultdict[Location, dict[Tag, Descriptor]] = defaultdict(dict)
    for lookup in lookups:
        tag = lookup.wanted.tag
        if tag is None or isinstance(lookup.wanted.ref, Digest) or _is_locked(lookup):
            continue
        for target in lookup.targets:
            root = remembered.get((target, tag))
            if root is not None and _keeps(lookup, Facts(tag, root, None)):
                found[target][tag] = root
    return {target: tags for target, tags in found.items() if len(tags) > 1}


def _keeps(lookup: Lookup, facts: Facts) -> bool:
    decision = decide_without_source(lookup.mirror.policies, facts)
    return decision is not None and decision.verdict == "keep"


class Settled:
    """The images at the destinations that policies keep, or that are those of the lock.

    roots: by destination and tag (or digest, without a tag), the root of the present image.
    """

    def __init__(self, session: Session, tags: DestinationTags) -> None:
        self._session = session
        self._tags = tags
        self.roots: dict[tuple[Location, Ref], Descriptor] = {}

    async def settle(self, lookups: Iterable[Lookup]) -> list[Lookup]:
        """Return the lookups that are still needed: those whose images are not kept at every destination."""
        asked = tuple(lookups)
        await for_each(asked, self._settle)
        return [one for one in asked if any((target, one.wanted.name) not in self.roots for target in one.targets)]

    async def _settle(self, lookup: Lookup) -> None:
        tag, name = lookup.wanted.tag, lookup.wanted.name
        for target in lookup.targets:
            if isinstance(name, Pick) or self._session.converting(target) is not None:
                continue  # a store that keeps images in another form cannot resolve a tag to a digest
            try:
                before = await self._tags.named(target, name)
            except MirrorsyncError:
                continue  # reported when the destination is observed
            if _is_pinned_elsewhere(lookup, before):
                continue  # the spec pins another digest
            if before is not None and _is_locked(lookup):
                self.roots[target, name] = before.bare()
                continue
            if before is not None and _keeps(lookup, Facts(tag, before, None)):
                self.roots[target, name] = before.bare()
