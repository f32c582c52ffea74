"""Perform one step. A step has all that is needed, so this module does not know other steps or their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self

from mirrorsync.errors import MirrorsyncError, StalePlan
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.names import is_referrers_tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.steps import CopyBlob, DeleteManifest, DeleteTag, MountBlob, PutManifest, SetTag, Step, stores_of
from mirrorsync.sync.gather.named import present_at
from mirrorsync.sync.pool import MemoryBudget
from mirrorsync.sync.run.deleting import delete_manifest, delete_tag
from mirrorsync.sync.run.published import Published
from mirrorsync.sync.run.storing import Storing
from mirrorsync.sync.run.transfer import Transfer
from mirrorsync.sync.session import Session, located

# The limit for manifests that are being written at a time, in bytes as they are sent.
_MANIFEST_BYTES: Final = 16 * 1024 * 1024


class Performer:
    """Performs steps over the stores of a session. Use it as `async with Performer(...)`; it closes `transfer`."""

    def __init__(self, session: Session, transfer: Transfer) -> None:
        self.session = session
        self.transfer = transfer
        self.storing = Storing(session, self.transfer)
        self.published = Published(session)
        self.manifest_budget = MemoryBudget(_MANIFEST_BYTES)

    async def __aenter__(self) -> Self:
        self._keeping_up = asyncio.create_task(self.published.keep_up())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeping_up.cancel()
        await asyncio.to_thread(self.transfer.close)

    async def perform(self, step: Step) -> Mapping[str, MirrorsyncError]:
        """Perform one step; return its errors by the address of the store."""
        try:
            return await _PERFORM[type(step)](self, step) or {}
        except MirrorsyncError as error:
            return dict.fromkeys(stores_of(step), error)


async def _copy_blob(performer: Performer, step: CopyBlob) -> Mapping[str, MirrorsyncError]:
    failures = await performer.transfer.copy(step.blob, step.source, step.targets)
    return {target.store: error for target, error in failures.items()}


async def _mount_blob(performer: Performer, step: MountBlob) -> None:
    with located("destination", step.target):
        if await performer.transfer.mount(step.blob, step.origin, step.target):
            return
    # The copy at the destination is nearer than the source, and was verified when it was written.
    for source in (Location(step.target.store, step.origin), step.source):
        failures = await performer.transfer.copy(step.blob, source, [step.target])
        if not failures:
            return
    raise failures[step.target]


async def _put_manifest(performer: Performer, step: PutManifest) -> None:
    async with performer.manifest_budget.reserve(step.manifest.size):
        with located("source", step.source):
            manifest = await performer.session.manifest(step.source, step.manifest)
        with located("destination", step.target, manifest.digest):
            await performer.storing.put(manifest, step.source, step.target)


async def _set_tag(performer: Performer, step: SetTag) -> None:
    session = performer.session
    async with performer.manifest_budget.reserve(step.manifest.size):
        with located("source", step.source):
            manifest = await session.manifest(step.source, step.manifest)
        with located("destination", step.target, step.tag):
            await performer.storing.prepare(manifest, step.source, step.target)
            present = await present_at(session, step.target, step.tag, step.manifest, step.source)
            expected = {known.digest for known in (step.manifest, step.before) if known is not None}
            if (
                present is not None
                and present.digest not in expected
                and not await _is_part(session, step, present, manifest)
            ):
                raise StalePlan(f"the tag names {present.digest.short} now; another client has set it")
            await performer.storing.tag(manifest, step.source, step.target, step.tag)
    performer.published.tag_set(step.target, step.tag, str(manifest.digest))


async def _is_part(session: Session, step: SetTag, present: Descriptor, manifest: Manifest) -> bool:
    """Return whether a tag names a list of referrers that lists nothing more than the manifest that replaces it.

    Writing the referrers of an image made it, at a registry without the referrers API.
    """
    if not is_referrers_tag(step.tag) or present.media_type not in media_types.INDEXES:
        return False
    listed = (await session.destination(step.target).manifest(present)).children
    return {child.digest for child in listed} <= {child.digest for child in manifest.children}


async def _delete_tag(performer: Performer, step: DeleteTag) -> None:
    with located("destination", step.target, step.tag):
        await delete_tag(performer.session, step)


async def _delete_manifest(performer: Performer, step: DeleteManifest) -> None:
    with located("destination", step.target, step.manifest.digest):
        await delete_manifest(performer.session, step)


# A new kind of step is a class of plan/steps.py, an entry here, and one in the reader of saved plans.
_PERFORM: Final[Mapping[type[Any], Callable[[Performer, Any], Awaitable[Mapping[str, MirrorsyncError] | None]]]] = {
    CopyBlob: _copy_blob,
    MountBlob: _mount_blob,
    PutManifest: _put_manifest,
    SetTag: _set_tag,
    DeleteTag: _delete_tag,
    DeleteManifest: _delete_manifest,
}
