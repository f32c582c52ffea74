"""Plan the deletion of one image: a single tag, or a manifest with all its tags; never more than requested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.errors import StillUsed
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Image, Origin, Plan, Related, SpecStamp
from mirrorsync.plan.policies import Decision

_SHOWN: Final = 10
_DELETE: Final = Decision("delete", "")


@dataclass(frozen=True, slots=True)
class Sharing:
    """What shares the digest of an image in its repository: tags, and indexes (by their tags) that list it."""

    tags: tuple[Tag, ...] = ()
    indexes: tuple[Tag, ...] = ()

    def without(self, *tags: Tag | None) -> Sharing:
        """Return the same without these tags."""
        return Sharing(tuple(tag for tag in self.tags if tag not in tags), self.indexes)


@dataclass(frozen=True, slots=True)
class DeletionTarget:
    """An image that is to be deleted.

    tag: the tag to delete, None if the image was given by its digest. content: its root. sharing: None if it was not
    looked up. stays: what is not deleted with it, such as signatures.
    """

    target: Location
    tag: Tag | None
    content: Descriptor
    sharing: Sharing | None
    stays: tuple[Related, ...] = ()


def plan_deletion(image: DeletionTarget, *, all_tags: bool, spec: SpecStamp, created: str) -> Plan:
    """Return the plan that deletes an image.

    all_tags: delete the image with all its tags. spec: a stamp in place of a spec's, since no spec is involved.
    created: UTC, ISO 8601. Raises: StillUsed if more would be deleted than requested, or an index would be broken.
    """
    shared = image.sharing or Sharing()
    tags: tuple[Tag, ...] = ()
    sharing: tuple[Related, ...] = ()
    tag = image.tag
    if tag is not None and not all_tags:
        others = shared.without(tag)
        sharing = (
            *(Related("tag", name) for name in others.tags),
            *(Related("index", name) for name in others.indexes),
        )
    else:
        check_deletable(image, shared, all_tags=all_tags)
        tags = tuple(dict.fromkeys((*((tag,) if tag is not None else ()), *shared.tags)))
        tag = None
    wanted = Image(Origin(image.target), image.target, tag, image.content)
    observed = Observed({wanted: image.content}, decisions={wanted: _DELETE}, tags={wanted: tags})
    plan = diff(Desired((wanted,)), observed, spec=spec, created=created)
    (change,) = plan.changes
    return replace(plan, changes=(replace(change, stays=(*sharing, *image.stays)),))


def check_deletable(image: DeletionTarget, sharing: Sharing, *, all_tags: bool) -> None:
    """Refuse to delete by digest if other tags or indexes use the image. sharing: as it is now. Raises: StillUsed."""
    others = sharing.without(image.tag)
    if others.indexes:
        # Not even with all tags: an index without one of its images is broken for every client that pulls it.
        raise StillUsed(
            f"the image is part of {_listed(others.indexes)}, which would be broken without it; nothing was deleted",
            remedy="delete the index first",
        )
    if others.tags and not all_tags:
        by = "the registry deletes only by digest, and " if image.tag is not None else ""
        raise StillUsed(
            f"{by}{image.content.digest} also has {_tags(others.tags)}; nothing was deleted",
            remedy="--all-tags-of-digest deletes it with all of them",
        )


def _tags(tags: Sequence[str]) -> str:
    return f"the tag {tags[0]}" if len(tags) == 1 else f"the tags {_listed(tags)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
