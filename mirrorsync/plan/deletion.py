"""Deleting one image, as a plan: a tag alone, or a manifest with the tags that it has, never more than was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrorsync.errors import StillUsed
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import totals_of
from mirrorsync.plan.model import Change, Plan, Related, SpecStamp, State
from mirrorsync.plan.steps import DeleteManifest, DeleteTag

_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Sharing:
    """What has the digest of an image in its repository: tags, and indexes (by their tags) that name it."""

    tags: tuple[Tag, ...] = ()
    indexes: tuple[Tag, ...] = ()

    def beside(self, *tags: Tag | None) -> Sharing:
        """Return what has it beside these tags."""
        return Sharing(tuple(tag for tag in self.tags if tag not in tags), self.indexes)


@dataclass(frozen=True, slots=True)
class Doomed:
    """What is known of an image that is to be deleted.

    tag: the one that was named, None if the digest was. content: its root. sharing: None if it was not looked for.
    stays: what goes on without it, such as signatures.
    """

    target: Location
    tag: Tag | None
    content: Descriptor
    sharing: Sharing | None
    stays: tuple[Related, ...] = ()


def plan_deletion(doomed: Doomed, *, all_tags: bool, spec: SpecStamp, created: str) -> Plan:
    """Return the plan that deletes an image.

    all_tags: the image with every tag that it has. spec: what stands for the spec, since there is none. created: UTC,
    ISO 8601. Raises: StillUsed if more would go than was asked for, or an index would be broken.
    """
    step: DeleteTag | DeleteManifest
    tag = doomed.tag
    if tag is not None and not all_tags:
        beside = (doomed.sharing or Sharing()).beside(tag)
        step = DeleteTag(doomed.target, tag, doomed.content)
        sharing = (
            *(Related("tag", name) for name in beside.tags),
            *(Related("index", name) for name in beside.indexes),
        )
    else:
        shared = doomed.sharing or Sharing()
        check_deletable(doomed, shared, all_tags=all_tags)
        tags = tuple(dict.fromkeys((*((tag,) if tag is not None else ()), *shared.tags)))
        step = DeleteManifest(doomed.target, doomed.content, tags)
        tag, sharing = None, ()
    change = Change(
        doomed.target, tag, doomed.content, None, State.DELETED, step=step.id, stays=(*sharing, *doomed.stays)
    )
    return Plan(created, spec, (change,), (step,), totals=totals_of([change], {}))


def check_deletable(doomed: Doomed, sharing: Sharing, *, all_tags: bool) -> None:
    """Refuse to delete by digest what more depends on. sharing: as it is now. Raises: StillUsed."""
    others = sharing.beside(doomed.tag)
    if others.indexes:
        # Not even with all tags: an index whose image is gone is a broken image for whoever pulls it.
        raise StillUsed(
            f"it is part of {_listed(others.indexes)}, which would be broken without it; nothing was deleted",
            remedy="delete what it is part of first",
        )
    if others.tags and not all_tags:
        by = "the registry deletes only by digest, and " if doomed.tag is not None else ""
        raise StillUsed(
            f"{by}{doomed.content.digest} also has {_tags(others.tags)}; nothing was deleted",
            remedy="--all-tags-of-digest deletes it with all of them",
        )


def _tags(tags: Sequence[str]) -> str:
    return f"the tag {tags[0]}" if len(tags) == 1 else f"the tags {_listed(tags)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
