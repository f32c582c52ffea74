"""Deleting an image: a tag alone where the place can, and never more than was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from mirrorsync.errors import (
    Denied,
    IntegrityError,
    MirrorsyncError,
    NotFound,
    RegistryFailure,
    StalePlan,
    StillUsed,
    TagsNotDeleted,
    Unauthorized,
    UsageError,
)
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import refuse_schema_1
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.oci.transports import transport_of
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.sync.gather.attached import Attachment, attached
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session
from mirrorsync.sync.single.inspect import absent

# Places on disk that lose an image by rewriting a list of names; the others have no operation for it.
_DELETING: Final = ("oci:", "oci-archive:")
_SHOWN: Final = 10


@runtime_checkable
class Sweeping(Protocol):
    """A store that keeps what nothing names any more, until it is told to drop it. Registries do that by themselves."""

    async def drop_unreferenced(self) -> tuple[int, int]:
        """Remove all content that no entry leads to. Returns how many blobs, and how many bytes they had."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What else has the digest of an image in its repository: other tags, and indexes (by their tags) that name it."""

    tags: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be deleted, as it is now.

    by_digest: the image with all its tags, and not a tag alone. sharing: None when it was not looked for. attached:
    signatures and such, which stay. parts: the images of an index, which stay as well.
    """

    reference: Reference
    found: Descriptor
    by_digest: bool
    sharing: Sharing | None
    attached: tuple[Attachment, ...] = ()
    parts: tuple[Descriptor, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that go."""
        own = (self.reference.tag,) if self.reference.tag is not None else ()
        return (*own, *self.sharing.tags) if self.by_digest and self.sharing is not None else own


@dataclass(frozen=True, slots=True)
class Removed:
    """What was deleted.

    blobs, size: what a layout gave back with it, and its bytes; None for registries. kept: why it gave nothing back,
    "" when it did.
    """

    removal: Removal
    blobs: int | None = None
    size: int | None = None
    kept: str = ""


async def plan_removal(
    session: Session, reference: Reference, *, all_tags: bool = False, look_around: bool = False
) -> Removal:
    """Return what deleting a reference comes to; nothing is changed.

    all_tags: delete the image with every tag that it has. look_around: find out what shares its digest even where that
    does not matter. Raises: UsageError for a place that does not delete or a reference that names no image, NotFound,
    StillUsed when more would go than was asked for.
    """
    check_deletable(reference)
    found = await named_at(session, reference.location, reference.tag or reference.asked)
    if found is None:
        raise await absent(session, reference)
    if reference.digest is not None and found.digest != reference.digest:
        raise StalePlan(
            f"the tag names another image: {found.digest}", remedy="delete it by the tag or by the digest alone"
        ).at(store=reference.location.store, repository=reference.location.repository, reference=reference.tag)
    refuse_schema_1(found.media_type)
    by_digest = all_tags or reference.tag is None
    sharing = await _sharing(session, reference, found.digest) if by_digest or look_around else None
    removal = Removal(
        reference,
        found.bare(),
        by_digest,
        sharing,
        await _attached(session, reference.location, found.digest),
        await _parts(session, reference.location, found),
    )
    if by_digest and sharing is not None:
        _check(removal, sharing, all_tags)
    return removal


async def remove(session: Session, removal: Removal) -> Removed:
    """Delete what was planned, see that it is gone, and drop what a layout holds for nobody any more.

    Where a registry deletes by digest alone, that is done when the tag is the only thing that has it. Raises: StillUsed
    when it is not, and nothing was done; MirrorsyncError.
    """
    reference = removal.reference
    repository = session.repository(reference.location)
    if removal.by_digest or reference.tag is None:
        await repository.delete(str(removal.found.digest))
    else:
        removal = await _remove_tag(session, removal, reference.tag)
    store = session.store(reference.location.store)
    if not isinstance(store, Sweeping):
        await store.flush()
        await _check_gone(session, removal)
        return Removed(removal)
    try:
        blobs, size = await store.drop_unreferenced()
    except (IntegrityError, NotFound) as error:
        # Somebody else's image is damaged, so that nobody can tell what it needs. The tag is gone all the same.
        await _check_gone(session, removal)
        return Removed(removal, 0, 0, kept=str(error))
    await _check_gone(session, removal)
    return Removed(removal, blobs, size)


def check_unchanged(asked: Removal, now: Removal) -> None:
    """See that what a person agreed to is still what would be done. Raises: StalePlan."""
    if (asked.found.digest, asked.by_digest, set(asked.tags)) != (now.found.digest, now.by_digest, set(now.tags)):
        where = now.reference.location
        raise StalePlan("it changed while you were asked; nothing was deleted", remedy="look at it, and ask again").at(
            store=where.store, repository=where.repository, reference=now.reference.asked
        )


def check_deletable(reference: Reference) -> None:
    """See that a place deletes, and that the reference says what. Raises: UsageError."""
    transport = transport_of(reference.location.store)
    if transport is not None and transport.scheme not in _DELETING:
        raise UsageError(
            f"nothing can be deleted from {transport.scheme.rstrip(':')}",
            remedy="a registry, an oci: layout and an oci-archive: delete; remove a file or directory with rm, and a "
            "daemon's image with its own rmi",
        )
    if reference.tag is None and reference.digest is None:
        raise UsageError(
            f"{reference} does not say which image",
            remedy="name its tag or digest; `mirrorsync list-tags` shows the tags that are there",
        )


async def _remove_tag(session: Session, removal: Removal, tag: str) -> Removal:
    """Delete one tag; by the digest where the registry does not delete tags and nothing else has it."""
    repository = session.repository(removal.reference.location)
    try:
        await repository.delete(tag)
    except TagsNotDeleted:
        sharing = await _sharing(session, removal.reference, removal.found.digest)
        removal = Removal(removal.reference, removal.found, True, sharing, removal.attached, removal.parts)
        _check(removal, sharing, all_tags=False)
        await repository.delete(str(removal.found.digest))
    return removal


def _check(removal: Removal, sharing: Sharing, all_tags: bool) -> None:
    """Refuse to delete by digest what more depends on. Raises: StillUsed."""
    where = removal.reference.location
    if sharing.indexes:
        # Not even with all tags: an index whose image is gone is a broken image for whoever pulls it.
        error = StillUsed(
            f"it is part of {_listed(sharing.indexes)}, which would be broken without it; nothing was deleted",
            remedy="delete what it is part of first",
        )
    elif sharing.tags and not all_tags:
        by = "the registry deletes only by digest, and " if removal.reference.tag is not None else ""
        error = StillUsed(
            f"{by}{removal.found.digest} also has {_tags(sharing.tags)}; nothing was deleted",
            remedy="--all-tags-of-digest deletes it with all of them",
        )
    else:
        return
    raise error.at(store=where.store, repository=where.repository, reference=removal.reference.asked)


async def _sharing(session: Session, reference: Reference, digest: Digest) -> Sharing:
    """Ask every tag of the repository what it names. A list that breaks off is an error, and nothing is deleted."""
    repository = session.repository(reference.location)
    tags = [tag async for tag in repository.tags()]
    named: dict[str, Descriptor] = {}
    failures: list[MirrorsyncError] = []

    async def ask(tag: str) -> None:
        try:
            found = await named_at(session, reference.location, tag) if not failures else None
        except MirrorsyncError as error:
            failures.append(error)
            return
        if found is not None:
            named[tag] = found

    await for_each(tags, ask)
    if failures:
        raise failures[0]
    listed = [(tag, named[tag]) for tag in tags if tag in named]
    same = [tag for tag, root in listed if root.digest == digest and tag != reference.tag]
    indexes = [tag for tag, root in listed if await _leads_to(session, reference.location, root, digest)]
    return Sharing(tuple(same), tuple(indexes))


async def _leads_to(session: Session, location: Location, root: Descriptor, digest: Digest) -> bool:
    """Tell whether an index names a manifest, itself or by an index that it names."""
    waiting, seen = [root], {root.digest}
    while waiting:
        content = waiting.pop()
        if content.media_type not in media_types.INDEXES:
            continue
        check_bounds(1, len(seen))
        try:
            children = (await session.manifest(location, content.bare())).children
        except NotFound:
            continue  # what is not there cannot be broken
        if any(child.digest == digest for child in children):
            return True
        waiting += [child for child in children if child.digest not in seen]
        seen |= {child.digest for child in children}
    return False


async def _attached(session: Session, location: Location, digest: Digest) -> tuple[Attachment, ...]:
    try:
        return await attached(session.repository(location), digest)
    except (Denied, Unauthorized, NotFound, RegistryFailure):
        return ()  # they stay in any case, and are told as far as they are known


async def _parts(session: Session, location: Location, found: Descriptor) -> tuple[Descriptor, ...]:
    if found.media_type not in media_types.INDEXES:
        return ()
    try:
        return (await session.manifest(location, found.bare())).children
    except MirrorsyncError:
        return ()  # a damaged index can be deleted too


async def _check_gone(session: Session, removal: Removal) -> None:
    """A registry that says yes and keeps it (a cache, a replica) must not look like one that deleted it."""
    where = removal.reference.location
    # A layout's image may stay as part of what has no tag.
    digest = [str(removal.found.digest)] if removal.by_digest and transport_of(where.store) is None else []
    for name in (*removal.tags, *digest):
        if await session.repository(where).resolve(name) is not None:
            raise RegistryFailure(
                "it was accepted to be deleted, and is still there",
                remedy="look again later: a cache may still have it",
            ).at(store=where.store, repository=where.repository, reference=name)


def _tags(tags: Sequence[str]) -> str:
    return f"the tag {tags[0]}" if len(tags) == 1 else f"the tags {_listed(tags)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
