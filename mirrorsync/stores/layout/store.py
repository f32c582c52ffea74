"""A store in an OCI layout directory: one layout for all repositories, which hold the same blobs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from mirrorsync.errors import ContentNotFound, Denied, MirrorsyncError, RepositoryNotFound
from mirrorsync.locks import FileLock
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.reference import LAYOUT_SCHEME, check_tag
from mirrorsync.stores.base import CHUNK_BYTES
from mirrorsync.stores.layout.files import LAYOUT_FILE, LayoutFiles, translated
from mirrorsync.stores.layout.names import LayoutNames
from mirrorsync.stores.verified import VerifiedChunks, verified

# index.json is written when a run ends, and this often in between: a killed run then keeps most of its tags.
_FLUSH_SECONDS = 10.0


class LayoutStore:
    """An OCI layout directory as a store.

    Nothing is written, and nothing needs to exist, until something is stored; then the directory is made and locked.
    directory: absolute. clock: monotonic seconds.
    """

    shares_blobs = True

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = f"{LAYOUT_SCHEME}{directory}"
        self.files = LayoutFiles(directory)
        self.names = LayoutNames(self.files)
        self._lock: FileLock | None = None
        self._locking = threading.Lock()  # blobs are put from several threads
        self._clock = clock
        self._flushed_at = clock()
        self._writing = asyncio.Lock()

    def repository(self, name: str) -> LayoutRepository:
        """Return the repository of that name."""
        return LayoutRepository(self, name)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted; "" stands for images that have no repository in their name."""
        with self.located():
            names = sorted(self.names.current().repositories)
        for name in names:
            yield name

    def lock(self) -> None:
        """Make the layout where there is none, and keep other runs from writing to it until `close`.

        Raises: Locked, StorageError.
        """
        with self._locking, self.located():
            if self._lock is not None:
                return
            self.files.exists()
            self.files.found()
            lock = FileLock(self.files.root / LAYOUT_FILE, str(self.files.root))
            try:
                self.files.complete()
            except BaseException:
                lock.release()
                raise
            self._lock = lock

    async def flush(self) -> None:
        """Write index.json, when there is something new to say."""
        if self._lock is None:
            return
        with self.located():
            async with self._writing:
                pending = self.names.pending()
                if pending is not None:
                    data, changes = pending
                    await asyncio.to_thread(self.files.write_index, data)
                    self.names.written(changes)
            self._flushed_at = self._clock()

    async def flush_now_and_then(self) -> None:
        """Flush when the last time is long enough ago."""
        if self._clock() - self._flushed_at >= _FLUSH_SECONDS:
            self._flushed_at = self._clock()
            await self.flush()

    async def close(self) -> None:
        """Flush, and give the lock back."""
        try:
            await self.flush()
        finally:
            if self._lock is not None:
                self.files.close()
                self._lock.release()
                self._lock = None

    @contextmanager
    def located(self, repository: str | None = None, reference: str | None = None) -> Iterator[None]:
        """Say in errors that they are this store's."""
        try:
            yield
        except MirrorsyncError as error:
            raise error.at(store=self.address, repository=repository, reference=reference) from error.__cause__


class LayoutRepository:
    """One repository of a layout: the entries of index.json whose name begins with its name."""

    def __init__(self, store: LayoutStore, name: str) -> None:
        self.name = name
        self._store = store
        self._files = store.files
        self._names = store.names

    async def resolve(self, reference: str) -> Descriptor | None:
        """Return what a tag names, or a digest that a tag or an index of this repository leads to."""
        with self._store.located(self.name, reference):
            if ":" in reference:
                return self._names.member(self.name, Digest(reference))
            return self._names.tagged(self.name, reference)

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag, sorted. Raises: RepositoryNotFound."""
        with self._store.located(self.name):
            tags = self._names.tags(self.name)
            if tags is None:
                raise RepositoryNotFound("the layout has no such repository")
        for tag in tags:
            yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Tell whether the layout holds the blob."""
        return self._files.holds(blob)

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None when the layout does not hold it."""
        size = self._files.size(digest)
        return Descriptor(media_types.ANY_BYTES, digest, size) if size is not None else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest. Raises: ContentNotFound, IntegrityError, StorageError."""
        with self._store.located(self.name, str(content.digest)):
            return self._names.manifest(content)

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests of this repository whose subject has that digest."""
        with self._store.located(self.name):
            found = []
            for member in self._names.members(self.name):
                manifest = self._names.manifest(member)
                if manifest.subject is not None and manifest.subject.digest == subject:
                    descriptor = replace(manifest.descriptor, artifact_type=manifest.artifact_type)
                    found.append(descriptor.annotated(manifest.annotations))
            return found

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob. Raises: ContentNotFound, IntegrityError, StorageError."""
        return await asyncio.to_thread(self._read, blob)

    def _read(self, blob: Descriptor) -> bytes:
        with self._store.located(self.name, str(blob.digest)), self._files.open(blob) as file:
            with translated(f"reading blob {blob.digest.short}"):
                data = file.read(blob.size + 1)
            return verified(blob, data)

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob from `offset` on. Raises: ContentNotFound, StorageError."""
        with self._store.located(self.name, str(blob.digest)), self._files.open(blob) as file:
            file.seek(offset)
            yield self._chunks(file, blob)

    @staticmethod
    def _chunks(file: BinaryIO, blob: Descriptor) -> Iterator[bytes]:
        while True:
            with translated(f"reading blob {blob.digest.short}"):
                chunk = file.read(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk

    async def mount(self, blob: Descriptor, origin: str) -> bool:  # noqa: ARG002 - the protocol's parameter
        """Tell whether the blob is there: all repositories of a layout share their blobs."""
        return self._files.holds(blob)

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError, StorageError."""
        await asyncio.to_thread(self.put, blob, [data])

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks. Raises: IntegrityError, StorageError."""
        with self._store.located(self.name, str(blob.digest)):
            self._store.lock()
            self._files.store(blob, VerifiedChunks.of(blob, chunks))

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest; it gets an entry by digest unless a tag or an index leads to it."""
        await self._store_manifest(manifest)
        with self._store.located(self.name):
            self._names.add(self.name, manifest)
        await self._store.flush_now_and_then()

    async def tag(self, manifest: Manifest, tag: str) -> None:
        """Store a manifest and let `tag` name it; others see it after the next flush."""
        check_tag(tag)
        await self._store_manifest(manifest)
        with self._store.located(self.name, tag):
            self._names.set_tag(self.name, tag, manifest)
        await self._store.flush_now_and_then()

    async def _store_manifest(self, manifest: Manifest) -> None:
        if self._files.holds(manifest.descriptor):
            with self._store.located(self.name):
                self._store.lock()
        else:
            await self.write(manifest.descriptor, manifest.raw)

    async def delete(self, reference: str) -> None:
        """Remove a tag, or all entries of a manifest by its digest. Raises: ContentNotFound, Denied."""
        with self._store.located(self.name, reference):
            self._store.lock()
            if ":" in reference:
                self._delete_manifest(Digest(reference))
            elif not self._names.remove_tag(self.name, reference):
                raise ContentNotFound("the layout has no such tag")
        await self._store.flush_now_and_then()

    def _delete_manifest(self, digest: Digest) -> None:
        if self._names.remove_digest(self.name, digest):
            return
        if self._names.member(self.name, digest) is None:
            raise ContentNotFound("the layout has no such manifest")
        raise Denied("the manifest is part of an index", remedy="delete the index that names it")

    @property
    def incoming(self) -> Path:
        """A directory for files that are to be adopted; there while the store is locked."""
        return self._files.incoming

    def open_file(self, blob: Descriptor) -> BinaryIO:
        """Open a blob's file. Raises: ContentNotFound, StorageError."""
        with self._store.located(self.name, str(blob.digest)):
            return self._files.open(blob)

    def adopt(self, blob: Descriptor, path: Path) -> None:
        """Make a verified and fsynced file in `incoming` the blob."""
        with self._store.located(self.name, str(blob.digest)):
            self._files.adopt(blob.digest, path)
