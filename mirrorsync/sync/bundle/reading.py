"""Read the content of a bundle from its sources, in the order of its parts: small blobs ahead, large ones streamed."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

from mirrorsync.bundle.layout import Entry
from mirrorsync.bundle.model import Bundle, Delta, Object, Pieces, blob_name, delta_name, piece_name
from mirrorsync.errors import IntegrityError, Interrupted, MirrorsyncError
from mirrorsync.events import BlobEnded, BlobStarted, BytesMoved, Retrying
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.sync.pool import SMALL_BYTES
from mirrorsync.sync.session import Session, located

T = TypeVar("T")

ATTEMPTS: Final = 3
_LONGEST_PAUSE_SECONDS: Final = 30.0
# Small content that is read ahead: how many, and how many bytes.
_AHEAD: Final = 64
_AHEAD_BYTES: Final = 16 * 1024 * 1024


class ReadFrom(NamedTuple):
    """Where an object is read: the repository, and its descriptor, with the URLs of a layer that has some."""

    source: Location
    content: Descriptor


@dataclass(frozen=True, slots=True)
class Slice:
    """The content of a member: an object, a piece of it from an offset on, or its delta."""

    one: Object
    content: Descriptor
    offset: int = 0


def slices(bundle: Bundle) -> dict[str, Slice]:
    """Return the content of the members that are read from sources, by name."""
    found = {}
    for one in bundle.objects:
        if isinstance(one.form, Pieces):
            offset = 0
            for number, piece in enumerate(one.form.pieces, 1):
                content = Descriptor(one.content.media_type, piece.digest, piece.size)
                found[piece_name(one.digest, number)] = Slice(one, content, offset)
                offset += piece.size
        elif isinstance(one.form, Delta):
            content = Descriptor(media_types.ANY_BYTES, one.form.digest, one.form.size)
            found[delta_name(one.digest)] = Slice(one, content)
        else:
            found[blob_name(one.digest)] = Slice(one, one.content)
    return found


class Deltas(Protocol):
    """Deltas that were made before, by the blobs that they rebuild."""

    def chunks(self, blob: Digest) -> Iterator[bytes]:
        """Yield the bytes of the delta of a blob; blocking. Raises: StorageError."""


class Contents:
    """The content of a bundle's objects, at their sources.

    stop: once it is set, streams end with Interrupted. sleep: waits a number of seconds before a retry. deltas: of the
    objects that are deltas, None = of none. unreadable: what a source did not give after all retries, with why; not
    what may pass.
    """

    def __init__(
        self,
        session: Session,
        origins: Mapping[Digest, ReadFrom],
        stop: threading.Event,
        sleep: Callable[[float], Awaitable[None]],
        deltas: Deltas | None = None,
    ) -> None:
        self._session = session
        self._deltas = deltas
        self._origins = origins
        self._stop = stop
        self._sleep = sleep
        self.unreadable: dict[Digest, MirrorsyncError] = {}

    async def retried(self, what: Digest, work: Callable[[], Awaitable[T]]) -> T:
        """Do work that reads content; retry if the reason of a failure may pass. Raises: MirrorsyncError."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await work()
            except MirrorsyncError as error:
                passing = error.transient or isinstance(error, IntegrityError)
                if attempt == ATTEMPTS or not passing or self._stop.is_set():
                    if error.side == "source" and not error.transient:
                        self.unreadable[what] = error
                    raise
                delay = random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 2.0 ** (attempt - 1)))  # noqa: S311 - no secret
                self._session.announce(Retrying(f"blob {what.short}", attempt, delay, error.message))
            await self._sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    async def ahead(
        self, entries: Sequence[Entry], known: Mapping[str, Slice]
    ) -> AsyncIterator[tuple[Entry, bytes | None]]:
        """Yield members in order, each with its content, None if it is large: small ones are read ahead of time.

        Raises: MirrorsyncError for content that cannot be read.
        """
        pending: deque[tuple[Entry, asyncio.Task[bytes | None] | None]] = deque()
        coming = iter(entries)
        size = small = 0
        more = True
        try:
            while True:
                while more and small < _AHEAD and size < _AHEAD_BYTES:
                    entry = next(coming, None)
                    more = entry is not None
                    if entry is not None:
                        task = None
                        if entry.data is not None or entry.member.size <= SMALL_BYTES:
                            task = asyncio.create_task(self._whole(entry, known))
                        size += entry.member.size if task else 0
                        small += 1
                        pending.append((entry, task))
                if not pending:
                    return
                entry, task = pending.popleft()
                small -= 1
                if task is None:
                    yield entry, None
                else:
                    size -= entry.member.size
                    yield entry, await task
        finally:
            for _, task in pending:
                if task is not None:
                    task.cancel()

    async def _whole(self, entry: Entry, known: Mapping[str, Slice]) -> bytes | None:
        if entry.data is not None:
            return entry.data
        part = known[entry.member.name]
        return await self.retried(part.one.digest, lambda: self._small(part))

    async def _small(self, part: Slice) -> bytes:
        source, content = self._origins[part.one.digest]
        if part.content.digest != content.digest:  # a piece or a delta
            return await asyncio.to_thread(lambda: b"".join(self.stream(part)))
        with self._announced(source, content), located("source", source):
            if part.one.manifest:
                return (await self._session.manifest(source, content)).raw
            data = await self._session.repository(source).read(content)
            self._session.announce(BytesMoved(content.digest, len(data)))
            return data

    def stream(self, part: Slice) -> Iterator[bytes]:
        """Yield the chunks of a blob or piece, verified; blocking, for a worker thread. Raises: MirrorsyncError."""
        if isinstance(part.one.form, Delta) and self._deltas is not None:
            yield from VerifiedChunks(part.content, self._deltas.chunks(part.one.digest))
            return
        source, content = self._origins[part.one.digest]
        with (
            self._announced(source, content),
            located("source", source),
            self._session.repository(source).open(content, part.offset) as chunks,
        ):
            yield from VerifiedChunks(part.content, self._watched(part, chunks))

    def _watched(self, part: Slice, chunks: Iterator[bytes]) -> Iterator[bytes]:
        left = part.content.size
        whole = part.content.digest == part.one.digest
        for chunk in chunks:
            if self._stop.is_set():
                raise Interrupted("the run was stopped")
            taken = chunk if whole else chunk[:left]  # the source has more of a blob than a piece of it
            left -= len(taken)
            self._session.announce(BytesMoved(part.one.digest, len(taken)))
            if taken:
                yield taken
            if left <= 0 and not whole:
                return

    async def digests_of_pieces(self, one: Object) -> list[Digest]:
        """Read a blob, whole, and return the digests of its pieces. Raises: MirrorsyncError."""
        return await self.retried(one.digest, lambda: asyncio.to_thread(self._digests_of_pieces, one))

    def _digests_of_pieces(self, one: Object) -> list[Digest]:
        if not isinstance(one.form, Pieces):
            return []
        found: list[Digest] = []
        sizes = [piece.size for piece in one.form.pieces]
        hasher, left = one.digest.hasher(), sizes[0]
        for chunk in self.stream(Slice(one, one.content)):
            view = memoryview(chunk)
            while len(view) >= left and len(found) < len(sizes):
                hasher.update(view[:left])
                found.append(Digest(f"{one.digest.algorithm}:{hasher.hexdigest()}"))
                view = view[left:]
                hasher = one.digest.hasher()
                left = sizes[len(found)] if len(found) < len(sizes) else 1 << 62
            hasher.update(view)
            left -= len(view)
        return found

    def _announced(self, source: Location, content: Descriptor) -> _Announced:
        return _Announced(self._session, source, content)


class _Announced:
    """Announces the start and the end of a transfer."""

    def __init__(self, session: Session, source: Location, content: Descriptor) -> None:
        self._announce = session.announce
        self._started = BlobStarted(content.digest, content.size, str(source))

    def __enter__(self) -> None:
        self._announce(self._started)

    def __exit__(self, *_: object) -> None:
        self._announce(BlobEnded(self._started.digest))
