"""An OCI image layout as a store, in a directory or in an archive: its repositories share their blobs."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mirrorsync.errors import ContentNotFound, Denied, MirrorsyncError, RepositoryNotFound, StorageError
from mirrorsync.events import Noticed, Observer, ignore
from mirrorsync.files.chunks import VerifiedChunks, prove, verified
from mirrorsync.files.disk import read_chunks, translated
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import THE_ONLY_ONE, Ref, Tag
from mirrorsync.stores.base import Unnamed
from mirrorsync.stores.layout.backend import NOTHING, Dropped, IndexChanged, LayoutBackend
from mirrorsync.stores.layout.files import LayoutFiles
from mirrorsync.stores.layout.names import LayoutNames
from mirrorsync.stores.located import located_at
from mirrorsync.text import some_of

_NAMES_SHOWN = 3
_COST_SHARE = 20  # flushes take at most a twentieth of the time: an index of many images is large
_ATTEMPTS = 100  # to replace an index.json that other programs write, too


class LayoutStore:
    """A layout as a store, in a directory or an archive.

    Nothing is written until content is stored; then the layout is created if it does not exist, and locked. clock:
    monotonic seconds. observer: gets a notice if other programs write the same names.
    """

    shares_blobs = True

    def __init__(
        self, files: LayoutBackend, *, clock: Callable[[], float] = time.monotonic, observer: Observer = ignore
    ) -> None:
        self.address = files.address
        self.files = files
        self.names = LayoutNames(files, lambda message: observer(Noticed(files.address, message)))
        self._locked = False
        self._clock = clock
        self._flushed_at = clock()
        self._flush_cost = 0.0  # seconds of the last flush
        self._writing = asyncio.Lock()

    def repository(self, name: str) -> LayoutRepository:
        """Return the repository of that name."""
        return LayoutRepository(self, name)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted; "" is that of images without a repository in their name."""
        with self.located():
            names = sorted(self.names.repositories())
        for name in names:
            yield name

    def destination(self, name: str) -> LayoutRepository:
        """Return the repository of that name for writing: its tags are only those written as mirrorsync writes them.

        Otherwise a tool that needs the name as written would not find an image that is there under another one. Raises:
        StorageError if it can never be written.
        """
        with self.located():
            self.files.check_writable()
        found = self.repository(name)
        found.other_spellings = False
        return found

    def is_published(self, repository: str, tag: Tag) -> bool:
        """Return whether index.json has a tag that was set."""
        return self.names.is_written(repository, tag)

    async def unnamed(self) -> Sequence[Unnamed]:
        """Return the images without a name."""
        with self.located():
            return [Unnamed(content.digest, text) for text, content in self.names.unnamed()]

    async def roots(self) -> Mapping[tuple[str, Ref], Descriptor]:
        """Return the root of every image in index.json, whether its manifest is present or not."""
        with self.located():
            return self.names.roots()

    def lock(self) -> None:
        """Create the layout if it does not exist, and lock it against other runs until `close`.

        Raises: Locked, StorageError; StoreChanged if it is already locked, but was removed or replaced.
        """
        with self.located():
            self.files.lock()
        self._locked = True

    async def flush(self) -> None:
        """Write index.json, if there are changes."""
        if self._locked:
            with self.located():
                await self._flush()

    async def _flush(self) -> Dropped:
        dropped = NOTHING
        async with self._writing:
            for _ in range(_ATTEMPTS):
                pending = self.names.pending()
                if pending is None:
                    break
                write = partial(self.files.write_index, pending.data, self._needed, pending.based_on)
                try:
                    signature, dropped = await asyncio.to_thread(write)
                except IndexChanged as changed:
                    if changed.replaced is not None:
                        self.names.overwritten(changed.replaced, changed.signature)
                else:
                    self.names.written(pending, signature)
                    break
            else:
                raise StorageError(
                    "another program keeps writing index.json", remedy="wait until it ends, and run again"
                )
        self._flushed_at = self._clock()
        return dropped

    def _needed(self) -> Set[Digest] | None:
        """Return the content that a rewritten archive must have; None for all content, if that cannot be determined."""
        try:
            return self.names.reachable()
        except MirrorsyncError:
            return None

    async def drop_unreferenced(self) -> tuple[int, int]:
        """Flush, and remove the blobs that are not reachable from index.json; return how many, and their bytes.

        Entries of other programs count too. No other program may write to the store meanwhile. Raises: Locked,
        StorageError; IntegrityError or StorageError, with nothing removed, if a manifest cannot be read.
        """
        self.lock()
        with self.located():
            dropped = await self._flush()
            needed = await asyncio.to_thread(self.names.reachable)
            return dropped.plus(await asyncio.to_thread(self.files.drop, needed))

    async def flush_if_due(self) -> None:
        """Flush if the last flush is long enough ago."""
        now = self._clock()
        if now - self._flushed_at >= max(self.files.flush_seconds, _COST_SHARE * self._flush_cost):
            self._flushed_at = now
            await self.flush()
            self._flush_cost = self._clock() - now

    async def close(self) -> None:
        """Flush, and release files and lock."""
        try:
            await self.flush()
        finally:
            self.files.close()
            self._locked = False

    def located(self, repository: str | None = None, ref: Ref | None = None) -> AbstractContextManager[None]:
        """Add this store's address to errors."""
        return located_at(self.address, repository, ref)


class LayoutDirectoryStore(LayoutStore):
    """An `oci:` directory as a store. directory: absolute."""

    def __init__(
        self, directory: Path, *, clock: Callable[[], float] = time.monotonic, observer: Observer = ignore
    ) -> None:
        self.files: LayoutFiles = LayoutFiles(directory)
        super().__init__(self.files, clock=clock, observer=observer)

    def repository(self, name: str) -> LayoutDirectoryRepository:
        """Return the repository of that name."""
        return LayoutDirectoryRepository(self, name)


class LayoutRepository:
    """One repository of a layout: the entries of index.json whose name begins with its name."""

    other_spellings = True  # whether its images are found under the other names that tools write for it

    def __init__(self, store: LayoutStore, name: str) -> None:
        self.name = name
        self._store = store
        self._files = store.files
        self._names = store.names

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the content of a tag, or a manifest that is reachable from an entry of this repository by its digest.

        The repository "" also has the entries without a name, and a pick there is the only image. Raises: UsageError if
        there are several.
        """
        with self._store.located(self.name, ref):
            if isinstance(ref, Tag):
                tagged = self._names.tagged if self.other_spellings else self._names.written_tag
                return tagged(self.name, ref)
            if isinstance(ref, Digest):
                return self._names.member(self._known_as, ref)
            return self._names.only_image() if ref == THE_ONLY_ONE and not self.name else None

    @property
    def _known_as(self) -> str:
        return self._names.known_as(self.name) if self.other_spellings else self.name

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, sorted. Raises: RepositoryNotFound."""
        with self._store.located(self.name):
            tags = self._names.tags(self._known_as)
            if tags is None:
                raise self._unknown()
        for tag in tags:
            yield tag

    def _unknown(self) -> RepositoryNotFound:
        if not self._files.exists():
            return RepositoryNotFound("the path does not exist or is empty", remedy="check the path")
        known = sorted(filter(None, self._names.repositories()))
        close = difflib.get_close_matches(self.name, known, _NAMES_SHOWN, 0.5) or known
        remedy = f"available: {some_of(close, _NAMES_SHOWN)}" if close else "it has no images with names"
        return RepositoryNotFound("the layout has no such repository", remedy=remedy)

    async def has(self, blob: Descriptor) -> bool:
        """Return whether the layout has the blob."""
        with self._store.located(self.name, blob.digest):
            return self._files.holds(blob)

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None if the layout does not have it."""
        with self._store.located(self.name, digest):
            size = self._files.size(digest)
        return Descriptor(media_types.ANY_BYTES, digest, size) if size is not None else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest. Raises: ContentNotFound, IntegrityError, StorageError."""
        with self._store.located(self.name, content.digest):
            return self._names.manifest(content)

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests of this repository whose subject has that digest."""
        with self._store.located(self.name):
            found = []
            for member in self._names.members(self._known_as):
                manifest = self._names.manifest(member)
                if manifest.subject is not None and manifest.subject.digest == subject:
                    found.append(manifest.as_referrer())
            return found

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob. Raises: ContentNotFound, IntegrityError, StorageError."""
        return await asyncio.to_thread(self._read, blob)

    def _read(self, blob: Descriptor) -> bytes:
        with self._store.located(self.name, blob.digest), self._files.open(blob) as file:
            with translated(f"reading blob {blob.digest.short}"):
                data = file.read(blob.size + 1)
            return verified(blob, data)

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob from `offset` on. Raises: ContentNotFound, StorageError."""
        with self._store.located(self.name, blob.digest), self._files.open(blob, offset) as file:
            yield read_chunks(file, f"reading blob {blob.digest.short}")

    def prove(self, content: Descriptor, watch: Callable[[int], object]) -> None:
        """Read a blob or manifest, and verify it. Raises: ContentNotFound, Mismatch, StorageError."""
        with self._store.located(self.name, content.digest), self._files.open(content) as file:
            prove(content, read_chunks(file, f"reading {content.digest.short}"), watch)

    async def mount(self, blob: Descriptor, origin: str) -> bool:  # noqa: ARG002 - the protocol's parameter
        """Return whether the layout has the blob: all its repositories share their blobs."""
        return await self.has(blob)

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError, StorageError."""
        await asyncio.to_thread(self.put, blob, [data])

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks. Raises: IntegrityError, StorageError."""
        with self._store.located(self.name, blob.digest):
            self._store.lock()
            self._files.store(blob, VerifiedChunks.of(blob, chunks))

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest; it gets an entry by digest, unless a tag or an index leads to it."""
        await self._store_manifest(manifest)
        with self._store.located(self.name):
            self._names.add(self.name, manifest)
        await self._store.flush_if_due()

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Store a manifest and set `tag` to it; other programs see it after the next flush."""
        await self._store_manifest(manifest)
        with self._store.located(self.name, tag):
            self._names.set_tag(self.name, tag, manifest)
        await self._store.flush_if_due()

    async def _store_manifest(self, manifest: Manifest) -> None:
        if await asyncio.to_thread(self._is_stored, manifest):
            with self._store.located(self.name):
                self._store.lock()
        else:
            await self.write(manifest.descriptor, manifest.raw)

    def _is_stored(self, manifest: Manifest) -> bool:
        """Return whether the layout has a manifest, byte for byte: a damaged one is written again."""
        if not self._files.holds(manifest.descriptor):
            return False
        with self._store.located(self.name, manifest.digest), self._files.open(manifest.descriptor) as file:
            return b"".join(read_chunks(file, f"reading {manifest.digest.short}")) == manifest.raw

    async def delete(self, ref: Tag | Digest) -> None:
        """Remove a tag, or all entries of a manifest by its digest. Raises: ContentNotFound, Denied."""
        with self._store.located(self.name, ref):
            self._store.lock()
            if isinstance(ref, Digest):
                self._delete_manifest(ref)
            elif not self._names.remove_tag(self.name, ref):
                raise ContentNotFound("the layout has no such tag")
        await self._store.flush_if_due()

    async def untag(self, tag: Tag) -> None:
        """Remove a tag; its manifest gets an entry by digest in the same write of index.json."""
        with self._store.located(self.name, tag):
            self._store.lock()
            if not self._names.remove_tag(self.name, tag, stays=True):
                raise ContentNotFound("the layout has no such tag")
        await self._store.flush_if_due()

    def _delete_manifest(self, digest: Digest) -> None:
        if self._names.remove_digest(self.name, digest):
            return
        if self._names.member(self.name, digest) is None:
            raise ContentNotFound("the layout has no such manifest")
        raise Denied("the manifest is part of an index", remedy="delete the index that names it")


class LayoutDirectoryRepository(LayoutRepository):
    """One repository of a layout directory, whose blobs are files of their own (BlobFiles)."""

    def __init__(self, store: LayoutDirectoryStore, name: str) -> None:
        super().__init__(store, name)
        self._directory = store.files

    @property
    def incoming(self) -> Path:
        """A directory for files to be adopted; it exists while the store is locked."""
        return self._directory.incoming

    def open_file(self, blob: Descriptor) -> BinaryIO:
        """Open a blob's file. Raises: ContentNotFound, StorageError."""
        with self._store.located(self.name, blob.digest):
            return self._directory.open(blob)

    def stage(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write a blob from its chunks, for `publish`. Raises: IntegrityError, Locked, StorageError."""
        with self._store.located(self.name, blob.digest):
            self._store.lock()
            self._directory.stage(blob, VerifiedChunks.of(blob, chunks))

    def publish(self, blob: Descriptor) -> bool:
        """Publish a blob that was staged; return whether it was."""
        with self._store.located(self.name, blob.digest):
            return self._directory.publish(blob.digest)

    def adopt(self, blob: Descriptor, path: Path) -> None:
        """Make a verified and fsynced file in `incoming` the blob."""
        with self._store.located(self.name, blob.digest):
            self._directory.adopt(blob.digest, path)
