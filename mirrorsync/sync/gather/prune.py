"""Gather the facts for `prune:`: what is remembered, wanted, listed, and still there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import Noticed
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Failure, Image
from mirrorsync.plan.prune import (
    DEFAULT_PRUNE,
    TOLD,
    Candidates,
    Kept,
    Known,
    Surroundings,
    backup_candidates,
    candidates,
    decisions,
    deletions,
    droppable,
    shared_tags,
)
from mirrorsync.spec.model import Spec
from mirrorsync.sync.gather.choose import Chosen
from mirrorsync.sync.gather.expired import Expired
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.gather.vanished import Gone
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


@dataclass(frozen=True, slots=True)
class Deletions:
    """The deletion of remembered tags that nothing wants any more, and of their backups.

    chosen: the names that the spec wants. gone: what its sources have dropped.
    """

    spec: Spec
    chosen: Chosen
    gone: Gone
    session: Session
    sightings: Sightings

    async def added_to(self, desired: Desired, observed: Observed) -> tuple[Desired, Observed]:
        """Add the deletions to what a plan is made of; a tag that names anything else than was recorded is not touched.

        If the spec keeps generations, the images that fell out of them are added, too.
        """
        desired, observed = await self._with_unwanted(desired, observed)
        if self.spec.prune is None or not self.spec.prune.keep_generations:
            return desired, observed
        untagged = self.sightings.untagged(self.spec.prune.keep_generations)
        expired = Expired(self.spec, untagged, self.session, self.sightings.forget)
        return await expired.added_to(desired, observed)

    async def _with_unwanted(self, desired: Desired, observed: Observed) -> tuple[Desired, Observed]:
        remembered, prune = list(self.sightings.known()), self.spec.prune or DEFAULT_PRUNE
        around = self._surroundings(desired, remembered)
        found = candidates(prune, remembered, around) if self.spec.prune is not None else Candidates((), {})
        dropped = droppable(prune, self.gone.deletable, around)
        made = self.sightings.backups().items() if self.spec.prune is not None else ()
        backups = [Known(at, tag, one.digest, adopted=False, source=None, backup_of=one.of) for (at, tag), one in made]
        leaving = backup_candidates(prune, backups, remembered, (*found.tags, *dropped), around)
        present, failures = await _present((*found.tags, *dropped, *leaving), self.session)
        owned = sum(not one.adopted or prune.adopt for one in remembered)
        images, foreign, refusal = deletions(prune, present, owned)
        self._report(dict(found.kept) | ({Kept.FOREIGN: foreign} if foreign else {}))
        failures += [refusal] if refusal else []
        return (
            replace(desired, images=(*desired.images, *images), failures=(*desired.failures, *failures)),
            replace(
                observed,
                roots={**observed.roots, **images},
                decisions={**observed.decisions, **decisions(images, _keys(dropped), _keys(leaving))},
                tags={**observed.tags, **shared_tags(images)},
                stays=_staying(images, desired, all_of_them=bool(prune.keep_generations)),
            ),
        )

    def _report(self, kept: Mapping[Kept, int]) -> None:
        """Report how many tags are kept, by reason."""
        for reason in TOLD:
            if number := kept.get(reason):
                tags = "1 tag that no mirror wants is" if number == 1 else f"{number} tags that no mirror wants are"
                self.session.announce(Noticed("prune", f"{tags} kept: {reason}"))

    def _surroundings(self, desired: Desired, remembered: Iterable[Known]) -> Surroundings:
        chosen = self.chosen
        # What was resolved is an image, and what failed only a name.
        wanted = {(image.target, image.tag) for image in desired.images if image.tag is not None}
        wanted |= {(at, one.wanted.tag) for one in chosen.lookups if one.wanted.tag is not None for at in one.targets}
        wanted |= self.gone.tags
        left = [one for one in remembered if (one.target, one.tag) not in wanted]
        targets = {one.target for one in (*left, *self.gone.deletable)}
        return Surroundings(
            frozenset(wanted),
            frozenset(target for target in targets if target in chosen.unsure),
            frozenset(one.location.store for one in self.spec.destinations.values()),
            {**self._vanished(left), **chosen.listed},
        )

    def _vanished(self, remembered: Iterable[Known]) -> dict[Location, frozenset[Tag]]:
        """Return the repositories that a namespace had and its catalog has no more, which have no tags.

        A catalog is often not whole: registries leave out what these credentials may not read.
        """
        read = {one.source for one in remembered if one.source is not None}
        found: dict[Location, frozenset[Tag]] = {}
        for mirror in self.spec.mirrors:
            if mirror.namespace is not None and mirror.pointer in self.chosen.sources:
                present = frozenset(self.chosen.sources[mirror.pointer])
                found |= {one: frozenset[Tag]() for one in read if mirror.covers(one) and one not in present}
        return found


def _keys(tags: Iterable[Known]) -> set[tuple[Location, Tag]]:
    return {(one.target, one.tag) for one in tags}


def _staying(images: Collection[Image], desired: Desired, *, all_of_them: bool) -> frozenset[Image]:
    """Return the images whose manifest stays without its tag: a kept generation or a wanted tag needs it.

    A wanted tag may get the manifest in the same run, so that the tags of the destination do not show it yet.
    """
    if not images:
        return frozenset()
    wanted = {(image.target, image.root.digest) for image in desired.images}
    return frozenset(image for image in images if all_of_them or (image.target, image.root.digest) in wanted)


async def _present(tags: Iterable[Known], session: Session) -> tuple[Mapping[Known, Descriptor | None], list[Failure]]:
    found: dict[Known, Descriptor | None] = {}
    failures: list[Failure] = []

    async def ask(one: Known) -> None:
        try:
            with located("destination", one.target, one.tag):
                found[one] = await session.repository(one.target).resolve(one.tag)
        except MirrorsyncError as error:
            failures.append(Failure(f"{one.target}:{one.tag}", error))

    await for_each(tags, ask)
    return found, failures
