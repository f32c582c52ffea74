"""Delete a tag or a manifest: resolved once more just before, and verified to be deleted just after."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from mirrorsync.errors import NotFound, RegistryFailure, StalePlan, StillUsed, TagsNotDeleted
from mirrorsync.events import Deleted, Noticed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, Where
from mirrorsync.plan.deletion import DeletionTarget, check_deletable
from mirrorsync.plan.steps import DeleteManifest, DeleteTag
from mirrorsync.stores.base import Sweeping, Untags
from mirrorsync.sync.gather.sharing import sharing_of
from mirrorsync.sync.session import Session


async def delete_tag(session: Session, step: DeleteTag) -> None:
    """Delete one tag, unless it is deleted already.

    If the registry deletes only by digest, the manifest is deleted, unless it is to stay, or other tags or indexes use
    it. Raises: StalePlan if the tag names another image now; StillUsed if nothing was deleted; RegistryFailure;
    MirrorsyncError.
    """
    repository = session.repository(step.target)
    found = await repository.resolve(step.tag)
    if found is None:
        return
    if found.digest != step.before.digest:
        raise StalePlan(f"the tag names {found.digest.short} now; nothing was deleted")
    deleted: list[Tag | Digest] = [step.tag]
    try:
        await (_untag(session, step) if step.stays else repository.delete(step.tag))
    except TagsNotDeleted:
        sharing = await sharing_of(session, step.target, step.before.digest)
        sharing = sharing.without(*step.tags)
        check_deletable(DeletionTarget(step.target, step.tag, step.before, sharing), sharing, all_tags=False)
        with suppress(NotFound):  # another tag of it, which goes too, was faster
            await repository.delete(step.before.digest)
        deleted.append(step.before.digest)
    await _check_deleted(session, step.target, deleted)
    session.announce(Deleted(f"{step.target}:{step.tag}", str(step.before.digest), len(deleted) > 1))


async def _untag(session: Session, step: DeleteTag) -> None:
    """Delete a tag, so that its manifest stays. Raises: StillUsed if that is not possible; MirrorsyncError."""
    repository = session.repository(step.target)
    if isinstance(repository, Untags):
        await repository.untag(step.tag)
        return
    manifest = await repository.manifest(step.before)
    try:
        await repository.delete(step.tag)
    except TagsNotDeleted as error:
        message = "the tag stays: the registry deletes it only with its image, which a wanted tag or generation needs"
        session.announce(Noticed(f"{step.target}:{step.tag}", message))
        raise StillUsed(message, remedy="without keep_generations such tags are deleted") from error
    if await repository.resolve(manifest.digest) is None:
        # Such a registry drops a manifest with its last tag. Its blobs are there until the registry collects them.
        await repository.put_manifest(manifest)


async def delete_manifest(session: Session, step: DeleteManifest) -> None:
    """Delete a manifest by its digest, with exactly the tags in the step.

    Raises: StalePlan if other tags or an index use it now; RegistryFailure; MirrorsyncError.
    """
    digest = step.manifest.digest
    sharing = await sharing_of(session, step.target, digest)
    changed = sorted({*sharing.tags} ^ {*step.tags} | {*sharing.indexes})
    if changed:
        raise StalePlan(f"{', '.join(changed)} changed after the plan was made; nothing was deleted")
    await session.repository(step.target).delete(digest)
    # A layout may keep a deleted manifest as part of an image without a tag, until it is swept.
    swept = isinstance(session.store(step.target.store), Sweeping)
    await _check_deleted(session, step.target, (*step.tags, *([] if swept else [digest])))
    session.announce(Deleted(f"{step.target}@{digest}", str(digest), True))


async def _check_deleted(session: Session, target: Location, refs: Iterable[Tag | Digest]) -> None:
    """Verify a deletion: a registry may accept it and keep the image (a cache, a replica). Raises: RegistryFailure."""
    for ref in refs:
        if await session.repository(target).resolve(ref) is not None:
            raise RegistryFailure(
                "the registry accepted the deletion, but still has the image",
                remedy="check again later: a cache may still have it",
                place=Where(ref=ref),
            )
