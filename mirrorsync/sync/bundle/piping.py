"""Import a part from a pipe: its blobs are copied as they arrive, to all destinations that lack them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from threading import Event

from mirrorsync.bundle.findings import Present
from mirrorsync.bundle.layout import Entry
from mirrorsync.bundle.model import blob_name, delta_name
from mirrorsync.errors import Interrupted, MirrorsyncError
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure
from mirrorsync.plan.steps import CopyBlob
from mirrorsync.stores.bundle import BundleStore, PipedPart
from mirrorsync.sync.bundle.imported import Waiting
from mirrorsync.sync.bundle.importing import plan_import
from mirrorsync.sync.run.transfer import Counts, Transfer
from mirrorsync.sync.session import Session, located


async def copy_from_pipe(
    part: PipedPart, store: BundleStore, targets: Sequence[Location], session: Session, stop: Event
) -> tuple[Present, Counts, tuple[Failure, ...], tuple[Waiting, ...]]:
    """Read a part from a pipe, and copy its blobs; return what can still be read, and what was copied.

    The last value is what images lacked before the part was read, for the reasons: afterwards it is not known any more
    why something was not copied.

    Then the part has no blobs any more: the destinations have them. A blob is verified before it becomes visible. A
    damaged one does not stop the others. If the pipe ends, that is one failure. Raises: Interrupted, Locked,
    StorageError.
    """
    planned = await plan_import(store, targets, session)
    steps = [step for step in planned.plan.steps if isinstance(step, CopyBlob)]
    copies = {name(step.blob.digest): step for step in steps for name in (blob_name, delta_name)}
    for address in sorted({target.store for step in steps for target in step.targets}):
        with located("destination", Location(address, "")):
            session.store(address).lock()
    failures: list[Failure] = []
    transfer = Transfer(session, stop, _at_once, {})
    part.flows = True
    names = [entry.member.name for entry in part.blobs]
    unread: list[str] = []
    try:
        for at, entry in enumerate(part.blobs):
            if stop.is_set():
                raise Interrupted("the run was stopped")
            failed = await _copied(transfer, part, entry, copies)
            if part.ended is not None:
                failures.append(Failure(part.name, part.ended))
                unread = names[at:]
                break
            failures += failed
    finally:
        await asyncio.to_thread(transfer.close)
    present = Present(frozenset([part.number]), {part.number: frozenset(names)}, {part.number: frozenset(unread)})
    return present, transfer.tally.counts, tuple(failures), planned.waiting


async def _copied(transfer: Transfer, part: PipedPart, entry: Entry, copies: dict[str, CopyBlob]) -> list[Failure]:
    step = copies.get(entry.member.name)
    found: list[Failure] = []
    if step is not None:
        failed = await transfer.copy(step.blob, step.source, step.targets)
        found = [Failure(f"blob {step.blob.digest.short}", error, targets=(at,)) for at, error in failed.items()]
    try:
        await asyncio.to_thread(part.skip, entry)
    except MirrorsyncError as error:
        found.append(Failure(entry.member.name, error))
    return found


async def _at_once(seconds: float) -> None:
    """Do not wait before another attempt, which fails at once."""


def joined_counts(one: Counts, other: Counts) -> Counts:
    """Return the sum of two counts."""
    return replace(
        one,
        blobs_read=one.blobs_read + other.blobs_read,
        bytes_read=one.bytes_read + other.bytes_read,
        blobs_written=one.blobs_written + other.blobs_written,
        bytes_written=one.bytes_written + other.bytes_written,
        blobs_mounted=one.blobs_mounted + other.blobs_mounted,
        bytes_mounted=one.bytes_mounted + other.bytes_mounted,
    )
