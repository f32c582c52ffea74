"""Which tags go: those that this mirror has put at a destination and that no mirror of the spec wants any more. Pure.

Deleting is what cannot be undone, so every doubt is a reason to keep a tag.
"""

from __future__ import annotations

import fnmatch
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from mirrorsync.errors import PruneRefused
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import COSIGN_SUFFIXES, cosign_tag, is_attachment_tag
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure, Image, Origin
from mirrorsync.plan.policies import Decision

# The key `on_vanish:` of a mirror: what becomes of tags that its source has dropped.
OnVanish = Literal["keep", "delete"]
# What stands in place of a mirror's pointer for the changes of `prune:`.
POINTER: Final = "/prune"
_UNWANTED: Final = Decision("delete", "prune: no mirror of the spec wants it any more", policy="prune")
_BACKUP: Final = Decision(
    "delete", "prune: a backup of a tag that no mirror of the spec wants any more", policy="prune"
)
_VANISHED: Final = Decision("delete", "on_vanish delete: its source has dropped it", policy="on_vanish")


class Kept(StrEnum):
    """Why a tag that is not wanted is kept; the operator should know of those in `TOLD`."""

    ADOPTED = "was at the destination before this mirror (adopt: true prunes it)"
    NAMED = "matches keep"
    UNSURE = "its source could not be listed, or had no tags"
    VANISHED = "its source has dropped it"
    REFERRER = "belongs to an image that stays"
    FOREIGN = "another client has set it"


TOLD: Final = (Kept.UNSURE, Kept.VANISHED, Kept.FOREIGN)


@dataclass(frozen=True, slots=True)
class Cap:
    """The most tags that one run may delete: a number, or a part of the tags that the mirror owns."""

    number: int | None = None
    percent: float | None = None

    def of(self, owned: int) -> int:
        """Return the number of tags."""
        return self.number if self.number is not None else int(owned * (self.percent or 0.0) / 100)

    def __str__(self) -> str:
        return str(self.number) if self.number is not None else f"{self.percent:g}%"


@dataclass(frozen=True, slots=True)
class Prune:
    """The key `prune:` of a spec.

    keep: shell patterns on tags, or on `repository:tag`. adopt: adopted tags are deleted too. keep_generations: the
    number of generations whose manifests stay although their tags go; None = manifests without a tag are not touched.
    """

    cap: Cap
    keep: tuple[str, ...] = ()
    adopt: bool = False
    keep_generations: int | None = None

    def keeps(self, target: Location, tag: Tag) -> bool:
        """Return whether a tag is to stay by its name."""
        names = (tag, f"{target.repository}:{tag}")
        return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self.keep)


# What holds for `on_vanish: delete` in a spec without the key.
DEFAULT_PRUNE: Final = Prune(Cap(number=10))


@dataclass(frozen=True, slots=True)
class Known:
    """A tag that is remembered. digest: that which was recorded. source: where its image was read, if that is known.

    backup_of: the tag that had its image before, if it is a backup.
    """

    target: Location
    tag: Tag
    digest: Digest
    adopted: bool
    source: Location | None
    backup_of: Tag | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this run knows of the rest of the mirror.

    wanted: all tags that the spec wants, also those that failed. unsure: targets of mirrors whose wishes are not fully
    known. stores: those of the spec's destinations. listed: the tags of sources, as far as they were listed.
    """

    wanted: frozenset[tuple[Location, Tag]]
    unsure: frozenset[Location]
    stores: frozenset[str]
    listed: Mapping[Location, frozenset[Tag]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tags that may go, if they still name what was recorded, and why others stay."""

    tags: tuple[Known, ...]
    kept: Mapping[Kept, int]


def candidates(prune: Prune, known: Iterable[Known], around: Surroundings) -> Candidates:
    """Return the tags that may be deleted."""
    remembered = tuple(known)
    found, kept = [], Counter[Kept]()
    for one in remembered:
        if (one.target, one.tag) in around.wanted or one.target.store not in around.stores:
            continue
        reason = _reason(prune, one, around)
        if reason is None:
            found.append(one)
        else:
            kept[reason] += 1
    attached = _attached(found, remembered)
    referrers = {one for one in found if is_attachment_tag(one.tag) and (one.target, one.tag) not in attached}
    kept[Kept.REFERRER] = len(referrers)
    return Candidates(tuple(one for one in found if one not in referrers), +kept)


def backup_candidates(
    prune: Prune, backups: Iterable[Known], known: Iterable[Known], going: Iterable[Known], around: Surroundings
) -> tuple[Known, ...]:
    """Return the backups that may be deleted: those of tags that go now, or are gone and not wanted.

    known: the tags that are remembered; going: those that go, also those that a mirror would want if its source had not
    dropped them. While a tag stays, `keep_backups` is for its backups.
    """
    made = tuple(backups)
    if not made:
        return ()
    leaving = {(one.target, one.tag) for one in going}
    staying = ({(one.target, one.tag) for one in known} | around.wanted) - leaving
    return tuple(
        one
        for one in made
        if (one.target, one.backup_of) not in staying
        and (one.target, one.tag) not in staying
        and one.target.store in around.stores
        and one.target not in around.unsure
        and not prune.keeps(one.target, one.tag)
    )


def droppable(prune: Prune, vanished: Iterable[Known], around: Surroundings) -> tuple[Known, ...]:
    """Return the tags that may be deleted because their sources have dropped them: by the rules for other tags."""
    return tuple(
        one
        for one in vanished
        if (not one.adopted or prune.adopt) and not prune.keeps(one.target, one.tag) and one.target not in around.unsure
    )


def _reason(prune: Prune, one: Known, around: Surroundings) -> Kept | None:
    """Return why a tag that is not wanted is kept all the same, None if it may go."""
    if one.adopted and not prune.adopt:
        return Kept.ADOPTED
    if prune.keeps(one.target, one.tag):
        return Kept.NAMED
    if one.target in around.unsure:
        return Kept.UNSURE
    listed = around.listed.get(one.source) if one.source is not None else None
    if listed is not None and one.tag not in listed and not is_attachment_tag(one.tag):
        return Kept.VANISHED
    return None


def _attached(found: Iterable[Known], remembered: Iterable[Known]) -> frozenset[tuple[Location, Tag]]:
    """Return cosign's tags, and that of the list of referrers, of the images that lose their last tag: those that have
    another one keep their signatures.

    found: the tags that may go, among those that are remembered.
    """
    leaving = {(one.target, one.tag) for one in found}
    staying = {(one.target, one.digest) for one in remembered if (one.target, one.tag) not in leaving}
    images = {(one.target, one.digest) for one in found if not is_attachment_tag(one.tag)}
    return frozenset(
        (target, cosign_tag(digest, suffix)) for target, digest in images - staying for suffix in ("", *COSIGN_SUFFIXES)
    )


def deletions(
    prune: Prune, found: Mapping[Known, Descriptor | None], owned: int
) -> tuple[dict[Image, Descriptor], int, Failure | None]:
    """Return the images to delete with what their tags name now, how many another client has set, and a refusal.

    found: what each candidate names now, None if it is gone already. owned: how many tags the mirror owns, for the cap.
    """
    present = {one: content for one, content in found.items() if content is not None}
    going = {one: content for one, content in present.items() if content.digest == one.digest}
    foreign = len(present) - len(going)
    most = prune.cap.of(owned)
    if len(going) > most:
        count = len(going)
        error = PruneRefused(
            f"{count} tags are not wanted any more, and max_deletes allows {most} ({prune.cap}): no tag is deleted",
            remedy="check the spec; if all of them are to go, raise max_deletes for one run",
        )
        return {}, foreign, Failure("prune", error)
    images = {
        Image(Origin(one.target), one.target, one.tag, content.bare(), POINTER): content
        for one, content in sorted(going.items(), key=lambda item: (item[0].target, item[0].tag))
    }
    return images, foreign, None


def shared_tags(images: Iterable[Image]) -> dict[Image, tuple[Tag, ...]]:
    """Return for every image the other tags of the same manifest that are deleted too."""
    together: defaultdict[tuple[Location, Digest], list[Image]] = defaultdict(list)
    for image in images:
        together[image.target, image.root.digest].append(image)
    return {
        image: tuple(other.tag for other in alike if other is not image and other.tag is not None)
        for alike in together.values()
        for image in alike
    }


def decisions(
    images: Iterable[Image],
    vanished: Collection[tuple[Location, Tag]],
    backups: Collection[tuple[Location, Tag]] = (),
) -> dict[Image, Decision]:
    """Return the decision to delete for every image.

    vanished: the targets and tags that their sources have dropped. backups: those that are backups.
    """

    def decision(key: tuple[Location, Tag | None]) -> Decision:
        return _VANISHED if key in vanished else _BACKUP if key in backups else _UNWANTED

    return {image: decision((image.target, image.tag)) for image in images}
