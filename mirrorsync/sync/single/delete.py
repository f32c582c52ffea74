"""Deleting one image: what is to be known before its plan can be made."""

from __future__ import annotations

from collections.abc import Callable

from mirrorsync.errors import Denied, MirrorsyncError, NotFound, RegistryFailure, StalePlan, Unauthorized, UsageError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import refuse_schema_1
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.deletion import DeletionTarget, plan_deletion
from mirrorsync.plan.model import Plan, Related, SpecStamp
from mirrorsync.stores.base import Sweeping
from mirrorsync.sync.clock import now
from mirrorsync.sync.gather.attached import attached
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.gather.sharing import sharing_of
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.suggest import absent


async def plan_delete(
    session: Session,
    reference: Reference,
    *,
    all_tags: bool = False,
    look_around: bool = False,
    clock: Callable[[], str] = now,
) -> Plan:
    """Return the plan that deletes what a reference names; nothing is changed.

    all_tags: delete the image with every tag that it has. look_around: find out what shares its digest even where that
    does not matter. Raises: UsageError for a place that does not delete or a reference that names no image, NotFound,
    StillUsed if more would go than was asked for.
    """
    check_reference(reference)
    created = clock()
    target = reference.location
    found = await named_at(session, target, reference.tag or reference.asked)
    if found is None:
        raise await absent(session, reference)
    with located("destination", target, reference.asked):
        if reference.digest is not None and found.digest != reference.digest:
            raise StalePlan(
                f"the tag names another image: {found.digest}", remedy="delete it by the tag or by the digest alone"
            )
        refuse_schema_1(found.media_type)
        by_digest = all_tags or reference.tag is None
        sharing = await sharing_of(session, target, found.digest) if by_digest or look_around else None
        stays = await _attached(session, target, found.digest)
        if not isinstance(session.store(target.store), Sweeping):
            stays = (*stays, *await _parts(session, target, found))
        text = f"delete {reference}"
        spec = SpecStamp(text, Digest.of(text.encode()))
        image = DeletionTarget(target, reference.tag, found.bare(), sharing, stays)
        return plan_deletion(image, all_tags=all_tags, spec=spec, created=created)


def check_reference(reference: Reference) -> None:
    """See that a place deletes, and that the reference says what. Raises: UsageError."""
    transport = reference.location.transport
    if not transport.deletes:
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


async def _attached(session: Session, location: Location, digest: Digest) -> tuple[Related, ...]:
    try:
        found = await attached(session.repository(location), digest)
    except (Denied, Unauthorized, NotFound, RegistryFailure):
        return ()  # they stay in any case, and are told as far as they are known
    return tuple(Related(one.kind, one.tag or f"{one.content.digest} {one.artifact_type}".rstrip()) for one in found)


async def _parts(session: Session, location: Location, found: Descriptor) -> tuple[Related, ...]:
    if found.media_type not in media_types.INDEXES:
        return ()
    try:
        children = (await session.manifest(location, found.bare())).children
    except MirrorsyncError:
        return ()  # a damaged index can be deleted too
    return tuple(Related("image", str(child.digest)) for child in children)
