"""Transfer one blob: read once from its source, verified while it is read, and written to every destination."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from mirrorsync.errors import IntegrityError, Interrupted, MirrorsyncError, NotKept
from mirrorsync.events import BlobEnded, BlobStarted, BytesMoved, Retrying
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location, Where
from mirrorsync.plan.model import Amount, Change
from mirrorsync.stores.base import Stages
from mirrorsync.sync.pool import SMALL_BYTES, STREAMS_AT_ONCE
from mirrorsync.sync.run.relay import WriteTurns, relay
from mirrorsync.sync.session import Session, located

_ATTEMPTS = 3  # of a whole blob; its requests, and reads that are cut off, are retried inside the store
_LONGEST_PAUSE_SECONDS = 30.0  # between attempts; the first is a second at most
_SETTLE_SECONDS = 1.0  # before a registry is asked a second time for content that it accepted
_ATTEMPTS_UNKEPT = 2  # of a blob that a registry accepts but does not have: most never have it

Failures = Mapping[Location, MirrorsyncError]


@dataclass(frozen=True, slots=True)
class Counts:
    """The transferred blobs, and their bytes. freed: blobs removed from layouts, None if no store was swept."""

    blobs_read: int = 0
    bytes_read: int = 0
    blobs_written: int = 0
    bytes_written: int = 0
    blobs_mounted: int = 0
    bytes_mounted: int = 0
    freed: Amount | None = None


NOTHING_MOVED: Final = Counts()


class Tally:
    """The counts of a run while it works. Thread-safe."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._lock = threading.Lock()

    def read(self, size: int) -> None:
        """Count bytes that were read from a source."""
        with self._lock:
            self.counts = replace(self.counts, bytes_read=self.counts.bytes_read + size)

    def copied(self, blob: Descriptor, targets: int) -> None:
        """Count a blob that was read once and written to a number of targets."""
        with self._lock:
            counts = self.counts
            self.counts = replace(
                counts,
                blobs_read=counts.blobs_read + (targets > 0),
                blobs_written=counts.blobs_written + targets,
                bytes_written=counts.bytes_written + targets * blob.size,
            )

    def mounted(self, blob: Descriptor) -> None:
        """Count a blob that was mounted."""
        with self._lock:
            counts = self.counts
            self.counts = replace(
                counts, blobs_mounted=counts.blobs_mounted + 1, bytes_mounted=counts.bytes_mounted + blob.size
            )

    def freed(self, blobs: int, size: int) -> None:
        """Count blobs that a store has removed."""
        with self._lock:
            before = self.counts.freed or Amount()
            self.counts = replace(self.counts, freed=Amount(before.blobs + blobs, before.size + size))


class Transfer:
    """Transfers blobs between the stores of a session.

    stop: once it is set, streams in flight end with Interrupted. sleep: waits a number of seconds before a retry.
    images: one of the images that need a blob, to be named in progress.
    """

    def __init__(
        self,
        session: Session,
        stop: threading.Event,
        sleep: Callable[[float], Awaitable[None]],
        images: Mapping[Digest, Change],
    ) -> None:
        self._session = session
        self._images = images
        self._stop = stop
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(STREAMS_AT_ONCE, thread_name_prefix="blob")
        self._turns = WriteTurns(session)
        self._written: set[tuple[Location, Digest]] = set()
        self.tally = Tally()

    def close(self) -> None:
        """Release the threads, after the streams in flight."""
        self._threads.shutdown()

    async def mount(self, blob: Descriptor, origin: str, target: Location) -> bool:
        """Mount a blob from repository `origin` of the target's store. Return False if it has to be copied."""
        if not await self._session.destination(target).mount(blob, origin):
            return False
        self.tally.mounted(blob)
        return True

    async def copy(self, blob: Descriptor, source: Location, targets: Sequence[Location]) -> Failures:
        """Copy a blob to all targets; return the errors of those that failed.

        Transient failures are retried, up to `_ATTEMPTS` attempts in all, for the targets that failed. A registry is
        asked for the blob afterwards: see storing.py.
        """
        failures: dict[Location, MirrorsyncError] = {}
        pending = targets
        for attempt in range(1, _ATTEMPTS + 1):
            failures = dict(await self._copy_once(blob, source, pending))
            failures.update(await self._not_kept(blob, [target for target in pending if target not in failures]))
            if attempt == _ATTEMPTS or not self._is_worth_retrying(failures, source, attempt):
                break
            pending = list(failures)
            try:
                await self._pause(blob, failures, attempt)
            except Interrupted as error:
                failures = dict.fromkeys(pending, error)
                break
        self._written.update((target, blob.digest) for target in targets if target not in failures)
        self.tally.copied(blob, len(targets) - len(failures))
        return failures

    def has_written(self, blob: Descriptor, target: Location) -> bool:
        """Return whether this run has copied a blob to a repository."""
        return (target, blob.digest) in self._written

    def _is_worth_retrying(self, failures: Failures, source: Location, attempt: int) -> bool:
        again = attempt < _ATTEMPTS_UNKEPT
        errors = failures.values()
        return not self._stop.is_set() and any(_is_transient(error, source, unkept=again) for error in errors)

    async def _pause(self, blob: Descriptor, failures: Failures, attempt: int) -> None:
        """Wait before a blob is retried, longer each time. Raises: Interrupted."""
        delay = random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 2.0 ** (attempt - 1)))  # noqa: S311 - no secret
        reason = "; ".join(dict.fromkeys(error.message for error in failures.values()))
        self._session.announce(Retrying(f"blob {blob.digest.short}", attempt, delay, reason))
        await self._sleep(delay)

    async def check_kept(self, content: Descriptor, target: Location) -> None:
        """Verify that a registry has the content that it has just accepted. Raises: NotKept, MirrorsyncError.

        It is asked a second time after a moment: a registry with several replicas, or with a cache of missing content,
        may not know of a write at once.
        """
        repository = self._session.confirming(target)
        if repository is None or await repository.kept(content):
            return
        await self._sleep(_SETTLE_SECONDS)
        if await repository.kept(content):
            return
        what = "manifest" if content.is_manifest else "blob"
        raise NotKept(
            f"the registry accepted {what} {content.digest.short}, but does not have it, or not all of it",
            place=Where(ref=content.digest),
        )

    async def _not_kept(self, blob: Descriptor, targets: Sequence[Location]) -> Failures:
        failures: dict[Location, MirrorsyncError] = {}

        async def check(target: Location) -> None:
            try:
                with located("destination", target):
                    await self.check_kept(blob, target)
            except MirrorsyncError as error:
                failures[target] = error

        await asyncio.gather(*map(check, targets))
        return failures

    async def _copy_once(self, blob: Descriptor, source: Location, targets: Sequence[Location]) -> Failures:
        image = self._images.get(blob.digest)
        self._session.announce(BlobStarted(blob.digest, blob.size, str(source), image.short if image else ""))
        try:
            if blob.size <= SMALL_BYTES:
                return await self._copy_small(blob, source, targets)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._stream, blob, source, targets)
        finally:
            self._session.announce(BlobEnded(blob.digest))

    async def _copy_small(self, blob: Descriptor, source: Location, targets: Sequence[Location]) -> Failures:
        try:
            with located("source", source):
                data = await self._session.repository(source).read(blob)
        except MirrorsyncError as error:
            return dict.fromkeys(targets, error)
        self._moved(blob, len(data))
        failures: dict[Location, MirrorsyncError] = {}

        async def write(target: Location) -> None:
            try:
                with located("destination", target):
                    await self._session.destination(target).write(blob, data)
            except MirrorsyncError as error:
                failures[target] = error

        await asyncio.gather(*map(write, targets))
        return failures

    def _stream(self, blob: Descriptor, source: Location, targets: Sequence[Location]) -> Failures:
        """Copy a large blob; runs in a thread."""
        targets = [target for target in targets if not self._publish(blob, target)]
        if not targets:
            self._moved(blob, blob.size)  # it was read when it was staged
            return {}
        try:
            with (
                self._turns.taken(targets),
                located("source", source),
                self._session.repository(source).open(blob) as chunks,
            ):
                content = VerifiedChunks.elsewhere(blob, self._verified(blob, source, chunks))
                return relay(blob, content, {target: self._session.destination(target) for target in targets})
        except MirrorsyncError as error:
            return dict.fromkeys(targets, error)

    def _publish(self, blob: Descriptor, target: Location) -> bool:
        """Publish a blob that its target has staged; return whether it has: what could not be published is copied."""
        repository = self._session.destination(target)
        with suppress(MirrorsyncError):
            return isinstance(repository, Stages) and repository.publish(blob)
        return False

    def _verified(self, blob: Descriptor, source: Location, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Verify with errors located at the source: the destination, which reads the chunks, did not cause them."""
        with located("source", source):
            yield from VerifiedChunks(blob, self._watched(blob, chunks))

    def _watched(self, blob: Descriptor, chunks: Iterator[bytes]) -> Iterator[bytes]:
        moved = 0
        try:
            for chunk in chunks:
                if self._stop.is_set():
                    raise Interrupted("the run was stopped")
                moved += len(chunk)
                self._moved(blob, len(chunk))
                yield chunk
        finally:
            if moved < blob.size:
                # The next attempt starts from the beginning, and progress must not count these bytes twice.
                self._session.announce(BytesMoved(blob.digest, -moved))

    def _moved(self, blob: Descriptor, size: int) -> None:
        self.tally.read(size)
        self._session.announce(BytesMoved(blob.digest, size))


def _is_transient(error: MirrorsyncError, source: Location, *, unkept: bool) -> bool:
    # Wrong content may be caused by a proxy on the way; a second read tells. A local file would only be read again.
    way = source.transport.is_registry or error.side != "source"
    return error.transient or (way and isinstance(error, IntegrityError)) or (unkept and isinstance(error, NotKept))
