"""Delete one image: gather the facts for its plan."""

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
    """Return the plan that deletes the tag or image of a reference; nothing is changed.

    all_tags: delete the image with all its tags. look_around: look up the tags and indexes that share its digest, even
    if the deletion does not affect them. Raises: UsageError for a store that does not delete, or a reference without
    tag and digest; NotFound; StillUsed if more would be deleted than requested.
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
            stays = (*stays, *await _children(session, target, found))
        text = f"delete {reference}"
        spec = SpecStamp(text, Digest.of(text.encode()))
        image = DeletionTarget(target, reference.tag, found.bare(), sharing, stays)
        return plan_deletion(image, all_tags=all_tags, spec=spec, created=created)


def check_reference(reference: Reference) -> None:
    """Check that a store supports deletion, and that the reference names one image. Raises: UsageError."""
    transport = reference.location.transport
    if not transport.deletes:
        raise UsageError(
            f"deleting from {transport.scheme.rstrip(':')} is not supported",
            remedy="it is for registries, oci: and oci-archive:; remove a file or directory with rm, and a daemon's "
            "image with docker rmi or podman rmi",
        )
    if reference.tag is None and reference.digest is None:
        raise UsageError(
            f"{reference} has no tag or digest",
            remedy="add the tag or digest of the image; `mirrorsync list-tags` shows the tags",
        )


async def _attached(session: Session, location: Location, digest: Digest) -> tuple[Related, ...]:
    try:
        found = await attached(session.repository(location), digest)
    except (Denied, Unauthorized, NotFound, RegistryFailure):
        return ()  # they stay in any case, and are reported as far as they are known
    return tuple(Related(one.kind, one.tag or f"{one.content.digest} {one.artifact_type}".rstrip()) for one in found)


async def _children(session: Session, location: Location, found: Descriptor) -> tuple[Related, ...]:
    if found.media_type not in media_types.INDEXES:
        return ()
    try:
        children = (await session.manifest(location, found.bare())).children
    except MirrorsyncError:
        return ()  # a damaged index can be deleted too
    return tuple(Related("image", str(child.digest)) for child in children)
