"""The backups that a plan makes before tags move, and the old ones that it deletes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mirrorsync.errors import GrammarError, MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.backup import Backed, Backup, TargetTag, too_old
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Failure, Image, Origin
from mirrorsync.plan.policies import Decision
from mirrorsync.plan.prune import POINTER, shared_tags
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.referring import may_be_referrer
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import located

# Names that are tried for one backup: a tag that moves more often in a day has a template without {time}.
_MOST: Final = 100
_MOVES: Final = frozenset({"update", "report"})


async def with_backups(
    mirrors: Sequence[Mirror],
    desired: Desired,
    observed: Observed,
    tags: DestinationTags,
    sightings: Sightings,
    *,
    stays: bool,
) -> tuple[Desired, Observed, frozenset[TargetTag]]:
    """Add the backups of tags that move, and the deletion of those that are too old; also return all backups.

    It costs a request for each tag that moves, and for each backup that is deleted. stays: the manifest of a deleted
    backup stays, since a kept generation may need it.
    """
    rules = {mirror.pointer: mirror.backup for mirror in mirrors if mirror.backup is not None}
    known = sightings.backups()
    if not rules:
        return desired, observed, frozenset(known)
    gathering = _Backups(desired, observed, tags, sightings.now)
    moving = gathering.moving(rules)
    if not moving and not known:
        return desired, observed, frozenset()
    await for_each(moving, gathering.add)
    found = gathering.found
    keep = {
        (image.target, image.tag): rule.keep
        for image in desired.images
        if image.tag is not None and (rule := rules.get(image.mirror)) is not None and rule.keep is not None
    }
    new = {(image.target, image.tag) for image in found if image.tag is not None}
    pruned = [image for image in desired.images if _goes(image, observed)]
    wanted = {(image.target, image.root.digest) for image in desired.images if not _goes(image, observed)}
    old = await _old(too_old(known, keep, new), known, wanted, tags, sightings)
    images = {image: content for image, (content, _) in old.items()}
    return (
        replace(desired, images=(*desired.images, *images)),
        replace(
            observed,
            roots={**observed.roots, **images, **gathering.present},
            decisions={**observed.decisions, **{image: decision for image, (_, decision) in old.items()}},
            tags={**observed.tags, **shared_tags([*pruned, *images])},
            stays=observed.stays.union(images if stays else ()),
            backups=found,
            broken=frozenset((*observed.broken, *gathering.failures)),
            failures=(*observed.failures, *gathering.failures.values()),
        ),
        frozenset((*known, *((one.target, one.tag) for one in found.values() if one.tag is not None))),
    )


def _goes(image: Image, observed: Observed) -> bool:
    decision = observed.decisions.get(image)
    return decision is not None and decision.verdict == "delete"


class _Backups:
    """found: the backup of each image. present: what its name stands for now."""

    def __init__(self, desired: Desired, observed: Observed, tags: DestinationTags, now: float) -> None:
        self._desired = desired
        self._observed = observed
        self._tags = tags
        self._now = now
        self._taken = {(image.target, image.tag) for image in desired.images}
        self.found: dict[Image, Image] = {}
        self.present: dict[Image, Descriptor | None] = {}
        self.failures: dict[Image, Failure] = {}

    def moving(self, rules: Mapping[str, Backup]) -> list[tuple[Image, Backup]]:
        """Return the images whose tags move, with the rule for their backup."""
        found = []
        for image in self._desired.images:
            rule = rules.get(image.mirror)
            before = self._observed.roots.get(image) if rule is not None and image.tag is not None else None
            if rule is None or before is None or before.digest == image.root.digest:
                continue
            decision = self._observed.decisions.get(image)
            decided = decision is None or decision.verdict in _MOVES
            if decided and image not in self._observed.broken and not may_be_referrer(image.tag, image.origin):
                found.append((image, rule))
        return found

    async def add(self, one: tuple[Image, Backup]) -> None:
        """Find the name of a backup: one that is free, or that has this image already. Without one the tag stays."""
        image, rule = one
        before = self._observed.roots[image]
        assert before is not None and image.tag is not None  # noqa: S101, PT018 - see `moving`
        try:
            for number in range(1, _MOST + 1):
                name = rule.name(image.tag, before.digest, self._now, number)
                if (image.target, name) in self._taken:
                    continue
                self._taken.add((image.target, name))
                present = await self._tags.named(image.target, name)
                if present is None or present.digest == before.digest:
                    backup = Image(Origin(image.target), image.target, name, before.bare(), image.mirror)
                    self.found[image], self.present[backup] = backup, present
                    return
            raise GrammarError(f"{_MOST} backups have this name already", remedy="add {time} or {digest} to backup:")
        except MirrorsyncError as error:
            self.failures[image] = Failure.of(
                image, error.with_(message=f"no backup of the tag can be made, so it stays: {error.message}")
            )


async def _old(
    old: Mapping[TargetTag, int],
    known: Mapping[TargetTag, Backed],
    wanted: Collection[tuple[Location, Digest]],
    tags: DestinationTags,
    sightings: Sightings,
) -> dict[Image, tuple[Descriptor, Decision]]:
    """Return the backups to delete: those that still name what was recorded, and whose image is not wanted."""
    found: dict[Image, tuple[Descriptor, Decision]] = {}
    lost: list[TargetTag] = []

    async def ask(one: TargetTag) -> None:
        (target, name), backed = one, known[one]
        try:
            with located("destination", target, name):
                present = await tags.named(target, name)
        except MirrorsyncError:
            return  # it is kept, and its turn comes in a later run
        if present is None or present.digest != backed.digest:
            lost.append(one)
        elif (target, present.digest) not in wanted:
            image = Image(Origin(target), target, name, present.bare(), POINTER)
            found[image] = present, _deletion(backed.of, old[one])

    await for_each(old, ask)
    if lost:
        sightings.forget_backups(lost)
    return {image: found[image] for image in sorted(found, key=_name)}


def _deletion(of: Tag, keep: int) -> Decision:
    return Decision("delete", f"keep_backups {keep}: an older backup of {of}", policy="keep_backups")


def _name(image: Image) -> tuple[Location, str]:
    return image.target, str(image.tag)
