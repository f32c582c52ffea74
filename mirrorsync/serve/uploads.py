"""Uploads in progress: bytes are appended to a file and hashed, and become a blob if their digest is right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import Final

from mirrorsync.errors import IntegrityError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import new_file, translated
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.serve.refusals import Refusal, unknown_upload
from mirrorsync.serve.turns import network_of
from mirrorsync.stores.base import BlobFiles, WritableRepository

_IDLE_SECONDS: Final = 3600.0
# Enough for a client with 32 connections, for a proxy in front of many clients, and for abandoned uploads. Each upload
# is a file in the layout; a directory can hold this many.
_MOST_OF_ONE: Final = 250
_MOST: Final = 1000


def _private_file() -> Path:
    handle, name = tempfile.mkstemp(prefix="upload-")
    os.close(handle)
    return Path(name)


class Upload:
    """One upload: a file that is appended to. Its coroutines are for the holder of its lock (`Uploads.alone`)."""

    def __init__(self, repository: WritableRepository, algorithm: str = "sha256", owner: str = "") -> None:
        self.id = uuid.uuid4().hex
        self.repository = repository
        self.owner = owner
        self.size = 0
        self.busy = asyncio.Lock()
        self.used_at = 0.0
        directory = repository.incoming if isinstance(repository, BlobFiles) else None
        with translated("storing an upload"):
            # No descriptor is open between requests: there may be many uploads.
            self._path = new_file(directory, "upload-") if directory else _private_file()
        self._algorithm = algorithm
        self._hasher = hashlib.new(algorithm)

    async def append(self, chunks: AsyncIterator[bytes]) -> None:
        """Append bytes. If the body breaks off, the bytes received so far stay, and the upload can be continued."""
        received = bytearray()
        with translated("storing an upload"), self._path.open("ab", buffering=0) as file:
            try:
                async for chunk in chunks:
                    received += chunk
                    if len(received) >= CHUNK_BYTES:
                        full, received = received, bytearray()
                        # Reading on meanwhile was tried: with four uploads at once it was slower by a quarter, since
                        # the threads then compete for the interpreter lock.
                        await asyncio.to_thread(self._write, file, full)
            finally:
                await asyncio.to_thread(self._write, file, received)

    def _write(self, file: RawIOBase, data: bytearray) -> None:
        view = memoryview(data)
        while view:
            written = file.write(view) or 0
            self._hasher.update(view[:written])
            self.size += written
            view = view[written:]

    async def finish(self, digest: Digest) -> None:
        """Store the uploaded bytes as the blob `digest`. Raises: IntegrityError; the upload ends in any case."""
        blob = Descriptor(media_types.ANY_BYTES, digest, self.size)
        try:
            await asyncio.to_thread(self._finish, blob)
        finally:
            self.discard()

    def _finish(self, blob: Descriptor) -> None:
        found = self._hasher.hexdigest() if blob.digest.algorithm == self._algorithm else self._hashed(blob.digest)
        if found != blob.digest.encoded:
            raise IntegrityError(f"the upload has the digest {blob.digest.algorithm}:{found}, expected {blob.digest}")
        if isinstance(self.repository, BlobFiles):
            with translated("storing an upload"), self._path.open("rb") as file:
                os.fsync(file.fileno())
            self.repository.adopt(blob, self._path)
            return
        self.repository.put(blob, self._chunks())

    def _hashed(self, digest: Digest) -> str:
        hasher = digest.hasher()
        for chunk in self._chunks():
            hasher.update(chunk)
        return hasher.hexdigest()

    def _chunks(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def discard(self) -> None:
        """Remove the file, unless it has become a blob."""
        with suppress(OSError):
            self._path.unlink()


class Uploads:
    """All uploads in progress. clock: monotonic seconds; an upload that is idle for an hour ends.

    most, most_of_one: how many may be open, of all clients and of one. If one more is opened, the least recently used
    upload ends, and its client has to begin again (404, as after an hour). An upload does not end while its bytes are
    being received.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, most: int = _MOST, most_of_one: int = _MOST_OF_ONE
    ) -> None:
        self._clock = clock
        self._most = most
        self._most_of_one = most_of_one
        self._open: dict[str, Upload] = {}  # in the order of their last use

    def begin(self, repository: WritableRepository, algorithm: str = "sha256", client: str = "") -> Upload:
        """Return a new upload of a client. Raises: Refusal if the limit is reached and all are busy, StorageError."""
        now = self._clock()
        for upload in self.all():
            if not upload.busy.locked() and now - upload.used_at > _IDLE_SECONDS:
                self.end(upload)
        owner = network_of(client)
        self._make_room([upload for upload in self.all() if upload.owner == owner], self._most_of_one)
        self._make_room(self.all(), self._most)
        upload = Upload(repository, algorithm, owner)
        upload.used_at = now
        self._open[upload.id] = upload
        return upload

    def _make_room(self, among: Sequence[Upload], most: int) -> None:
        """End the least recently used of these uploads, if their number has reached the limit."""
        if len(among) < most:
            return
        for upload in among:
            if not upload.busy.locked():
                self.end(upload)
                return
        raise Refusal(429, "TOOMANYREQUESTS", f"too many uploads in progress ({most}); retry when one has ended")

    def _use(self, upload: Upload) -> None:
        upload.used_at = self._clock()
        if self._open.pop(upload.id, None) is not None:
            self._open[upload.id] = upload

    def get(self, repository: str, identity: str) -> Upload:
        """Return an upload to the repository of that name. Raises: Refusal if there is no such upload."""
        upload = self._open.get(identity)
        if upload is None or upload.repository.name != repository:
            raise unknown_upload()
        self._use(upload)
        return upload

    @asynccontextmanager
    async def alone(self, upload: Upload) -> AsyncIterator[None]:
        """Hold the upload's lock. Raises: Refusal if the upload has ended meanwhile.

        While its lock is held an upload is not idle, however slowly its bytes arrive.
        """
        async with upload.busy:
            if upload.id not in self._open:
                raise unknown_upload()
            try:
                yield
            finally:
                self._use(upload)

    def end(self, upload: Upload) -> None:
        """End an upload; its file is removed, unless it has become a blob."""
        self._open.pop(upload.id, None)
        upload.discard()

    def all(self) -> list[Upload]:
        """Return all uploads, the least recently used first."""
        return list(self._open.values())

    def close(self) -> None:
        """End all uploads."""
        for upload in self.all():
            self.end(upload)
