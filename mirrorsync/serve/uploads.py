"""Uploads in progress: bytes grow in a file, are hashed on the way, and become a blob when their digest is right."""

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
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final

from mirrorsync.errors import IntegrityError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import translated
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.serve.refusals import Refusal, unknown_upload
from mirrorsync.stores.base import BlobFiles, WritableRepository

_IDLE_SECONDS: Final = 3600.0
# A client with 32 connections, a proxy in front of many clients, and room for those that were given up. Each is a file
# in the layout, and the whole of them is a number that no directory minds.
_MOST_OF_ONE: Final = 250
_MOST: Final = 1000
# What one customer of a network has, at the least (RFC 6177); the address inside it is chosen at will.
_PREFIX_OF_IPV6: Final = 64


class Upload:
    """One upload: a file that grows in order. Its coroutines are for who has it alone (`Uploads.alone`)."""

    def __init__(self, repository: WritableRepository, algorithm: str = "sha256", owner: str = "") -> None:
        self.id = uuid.uuid4().hex
        self.repository = repository
        self.owner = owner
        self.size = 0
        self.busy = asyncio.Lock()
        self.used_at = 0.0
        directory = repository.incoming if isinstance(repository, BlobFiles) else None
        with translated("storing an upload"):
            handle, name = tempfile.mkstemp(dir=directory, prefix="upload-")
        os.close(handle)  # between requests an upload is a file and no descriptor: there may be many
        self._path = Path(name)
        self._algorithm = algorithm
        self._hasher = hashlib.new(algorithm)

    async def append(self, chunks: AsyncIterator[bytes]) -> None:
        """Add bytes at the end. When they break off, what came before stays and can be continued."""
        held = bytearray()
        with translated("storing an upload"), self._path.open("ab", buffering=0) as file:
            try:
                async for chunk in chunks:
                    held += chunk
                    if len(held) >= CHUNK_BYTES:
                        full, held = held, bytearray()
                        # Reading on meanwhile was tried: with four uploads at once it was slower by a quarter, since
                        # the threads then wait for each other's turn with the interpreter.
                        await asyncio.to_thread(self._write, file, full)
            finally:
                await asyncio.to_thread(self._write, file, held)

    def _write(self, file: RawIOBase, data: bytearray) -> None:
        view = memoryview(data)
        while view:
            written = file.write(view) or 0
            self._hasher.update(view[:written])
            self.size += written
            view = view[written:]

    async def finish(self, digest: Digest) -> None:
        """Make what was uploaded the blob `digest`. Raises: IntegrityError; the upload is over in any case."""
        blob = Descriptor(media_types.ANY_BYTES, digest, self.size)
        try:
            await asyncio.to_thread(self._finish, blob)
        finally:
            self.discard()

    def _finish(self, blob: Descriptor) -> None:
        found = self._hasher.hexdigest() if blob.digest.algorithm == self._algorithm else self._hashed(blob.digest)
        if found != blob.digest.encoded:
            raise IntegrityError(f"what was uploaded is {blob.digest.algorithm}:{found}, and not {blob.digest}")
        if isinstance(self.repository, BlobFiles):
            with translated("storing an upload"):
                self._path.chmod(0o644)
                with self._path.open("rb") as file:
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


def owner_of(client: str) -> str:
    """Return whose an upload is, by the address that it comes from; "" and what is no address are one client each."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((int(address), _PREFIX_OF_IPV6), strict=False))
    return client


class Uploads:
    """All uploads in progress. clock: monotonic seconds; who is silent for an hour is forgotten.

    most, most_of_one: how many may be open, of all clients and of one. Whoever opens one more makes room: the upload
    that was used least of late goes, and its client begins again (404, as after an hour). None goes while its bytes
    come.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, most: int = _MOST, most_of_one: int = _MOST_OF_ONE
    ) -> None:
        self._clock = clock
        self._most = most
        self._most_of_one = most_of_one
        self._open: dict[str, Upload] = {}  # in the order of their last use

    def begin(self, repository: WritableRepository, algorithm: str = "sha256", client: str = "") -> Upload:
        """Return a new upload of a client. Raises: Refusal when all that there may be are being sent, StorageError."""
        now = self._clock()
        for upload in self.all():
            if not upload.busy.locked() and now - upload.used_at > _IDLE_SECONDS:
                self.end(upload)
        owner = owner_of(client)
        self._make_room([upload for upload in self.all() if upload.owner == owner], self._most_of_one)
        self._make_room(self.all(), self._most)
        upload = Upload(repository, algorithm, owner)
        upload.used_at = now
        self._open[upload.id] = upload
        return upload

    def _make_room(self, among: Sequence[Upload], most: int) -> None:
        """End the one of these uploads that was used least of late, when there are as many as there may be."""
        if len(among) < most:
            return
        for upload in among:
            if not upload.busy.locked():
                self.end(upload)
                return
        raise Refusal(429, "TOOMANYREQUESTS", f"{most} uploads are being sent; wait for one of them to end")

    def _use(self, upload: Upload) -> None:
        upload.used_at = self._clock()
        if self._open.pop(upload.id, None) is not None:
            self._open[upload.id] = upload

    def get(self, repository: str, identity: str) -> Upload:
        """Return an upload to the repository of that name. Raises: Refusal when there is none."""
        upload = self._open.get(identity)
        if upload is None or upload.repository.name != repository:
            raise unknown_upload()
        self._use(upload)
        return upload

    @asynccontextmanager
    async def alone(self, upload: Upload) -> AsyncIterator[None]:
        """Have an upload to oneself. Raises: Refusal when it was over before that.

        While somebody has it, it is not idle, however slow its bytes come.
        """
        async with upload.busy:
            if upload.id not in self._open:
                raise unknown_upload()
            try:
                yield
            finally:
                self._use(upload)

    def end(self, upload: Upload) -> None:
        """Forget an upload; its bytes go, unless they have become a blob."""
        self._open.pop(upload.id, None)
        upload.discard()

    def all(self) -> list[Upload]:
        """Return all of them, those first that were used least of late."""
        return list(self._open.values())

    def close(self) -> None:
        """Forget all of them."""
        for upload in self.all():
            self.end(upload)
