"""Read content where it is stored, several at a time, each once, and compare it with its digest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

from mirrorsync.errors import Interrupted
from mirrorsync.events import BlobEnded, BlobStarted, BytesMoved, Observer
from mirrorsync.files.chunks import prove
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Amount
from mirrorsync.stores.base import ReadsBack, Repository
from mirrorsync.sync.pool import SMALL_BYTES, STREAMS_AT_ONCE, Answers


class ContentReader:
    """Verifies content in worker threads. Use it as `async with ContentReader(...)`.

    observer: is called with the start, the bytes and the end of each. read: the amount that was read so far. The bytes
    are never in memory as a whole.
    """

    def __init__(self, observer: Observer) -> None:
        self._announce = observer
        self._threads = ThreadPoolExecutor(STREAMS_AT_ONCE, thread_name_prefix="verify")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._answers: Answers[tuple[Location, Digest], None] = Answers()
        self.read = Amount()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        # A thread that reads from a registry may need the event loop for a token, so this must not block it.
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def prove(self, blobs: Location, repository: Repository | ReadsBack, content: Descriptor) -> None:
        """Read content, unless that was done before, and verify it.

        blobs: where the content is stored (`Session.blobs_of`); content of the same digest there is read once. Raises:
        ContentNotFound, Mismatch, MirrorsyncError.
        """
        await self._answers.get((blobs, content.digest), lambda: self._prove(blobs, repository, content))

    async def _prove(self, blobs: Location, repository: Repository | ReadsBack, content: Descriptor) -> None:
        if content.size <= SMALL_BYTES and not isinstance(repository, ReadsBack):
            with self._announced(blobs, content):
                self._count(content, len(await repository.read(content)))
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._stream, blobs, repository, content)
        with self._lock:
            self.read = Amount(self.read.blobs + 1, self.read.size)

    def _stream(self, blobs: Location, repository: Repository | ReadsBack, content: Descriptor) -> None:
        def watch(size: int) -> None:
            if self._stop.is_set():
                raise Interrupted("the run was stopped")
            self._count(content, size)

        with self._announced(blobs, content):
            if isinstance(repository, ReadsBack):
                repository.prove(content, watch)
            else:
                with repository.open(content) as chunks:
                    prove(content, chunks, watch)

    @contextmanager
    def _announced(self, blobs: Location, content: Descriptor) -> Iterator[None]:
        self._announce(BlobStarted(content.digest, content.size, str(blobs)))
        try:
            yield
        finally:
            self._announce(BlobEnded(content.digest))

    def _count(self, content: Descriptor, size: int) -> None:
        with self._lock:
            self.read = Amount(self.read.blobs, self.read.size + size)
        self._announce(BytesMoved(content.digest, size))
