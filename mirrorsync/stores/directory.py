"""`dir:`, skopeo's directory of one image without a name: a manifest.json, and its content as files next to it.

The format is that of containers/image (directory/directory_transport.go): `version`, `manifest.json`, manifests of an
index as `<hex>.manifest.json`, configs and layers as `<hex>`, without the algorithm. A new image is written next to the
old one; then manifest.json is replaced atomically, and files that only the old image needed are removed.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from mirrorsync.errors import ContentNotFound, Denied, MirrorsyncError, RepositoryNotFound, StorageError
from mirrorsync.files.chunks import VerifiedChunks, prove, verified
from mirrorsync.files.disk import (
    discard_file,
    grow_file,
    make_directory,
    open_regular,
    read_chunks,
    regular_size,
    sync_directory,
    translated,
)
from mirrorsync.files.locks import FileLock
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.stores.located import located_at

_VERSION_FILE: Final = "version"
_VERSION: Final = b"Directory Transport Version: 1.1\n"
_VERSIONS: Final = re.compile(rb"Directory Transport Version: 1\.\d+\n")
_ROOT_FILE: Final = "manifest.json"
_BELOW: Final = ".manifest.json"
_INCOMING: Final = ".incoming"
# The files of an image; all other files in the directory are left alone. Signatures are those of the old image.
_OURS: Final = re.compile(r"[0-9a-f]{64,128}(?:\.manifest\.json)?|(?:[0-9a-f]{64}\.)?signature-\d+")


class DirStore:
    """A `dir:` as a store with the one repository "".

    Nothing is written until content is stored; then the directory is created if it does not exist. directory: absolute.
    """

    shares_blobs = True

    def __init__(self, directory: Path) -> None:
        self.address = f"dir:{directory}"
        self.directory = directory
        self._lock: FileLock | None = None
        self._locking = threading.Lock()  # blobs are put from several threads
        self._put: dict[Digest, Manifest] = {}
        self._chosen: Digest | None = None  # the image of this run

    def repository(self, name: str) -> DirRepository:
        """Return the one repository, whatever the name."""
        return DirRepository(self, name)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the name of the repository, which is "", if there is an image."""
        with self.located():
            has_image = self.root() is not None
        if has_image:
            yield ""

    def lock(self) -> None:
        """Create the directory if it does not exist, and lock it against other runs until `close`.

        Raises: Locked; StorageError, also for a directory with other content.
        """
        with self._locking, self.located():
            if self._lock is not None:
                return
            self.exists()
            with translated(f"writing to {self.directory}"):
                make_directory(self.directory)
            lock = FileLock(self.directory, str(self.directory))
            try:
                self._begin()
            except BaseException:
                lock.release()
                raise
            self._lock = lock

    def _begin(self) -> None:
        """Initialise an empty `dir:` if it is not one yet, and remove incomplete files of a killed run."""
        with translated(f"writing to {self.directory}"):
            self.incoming.mkdir(exist_ok=True)
            for path in list(self.incoming.iterdir()):
                path.unlink()
            if not self.exists():
                self._publish(_VERSION_FILE, [_VERSION])
                sync_directory(self.directory)

    def exists(self) -> bool:
        """Return whether this is a `dir:`; False if the directory is absent or empty.

        Raises: StorageError if it has other content.
        """
        with translated(f"reading {self.directory}"):
            try:
                with open_regular(self.directory / _VERSION_FILE) as file:
                    version = file.read(len(_VERSION) + 10)
            except FileNotFoundError:
                with suppress(FileNotFoundError):
                    if any(path.name not in (_INCOMING, "lost+found") for path in self.directory.iterdir()):
                        raise StorageError(
                            f"{self.directory} is not empty and not a dir: image: it has no {_VERSION_FILE} file",
                            remedy="name a new or an empty directory",
                        ) from None
                return False
        if _VERSIONS.fullmatch(version) is None:
            raise StorageError(
                f"{self.directory} is not a dir: image: its {_VERSION_FILE} file has other content",
                remedy="name a new or an empty directory",
            )
        return True

    @property
    def incoming(self) -> Path:
        """The directory in which files are staged."""
        return self.directory / _INCOMING

    def root(self) -> Manifest | None:
        """Return the manifest of the image, None without an image. Raises: IntegrityError, StorageError."""
        if not self.exists():
            return None
        raw = self._read(_ROOT_FILE)
        return Manifest.parse(raw, _media_type(raw)) if raw is not None else None

    def manifest(self, content: Descriptor) -> Manifest | None:
        """Return a manifest, None if it is missing. Raises: IntegrityError, StorageError."""
        raw = self._read(content.digest.encoded + _BELOW)
        if raw is None:
            raw = self._read(_ROOT_FILE)
            if raw is None or not content.digest.matches(raw):
                return None
        return Manifest.parse(raw, content.media_type, digest=content.digest, size=content.size)

    def others(self) -> Iterator[Manifest]:
        """Yield the manifests other than the image's own; damaged ones are skipped."""
        with translated(f"reading {self.directory}"):
            names = sorted(path.name for path in self.directory.glob(f"*{_BELOW}")) if self.exists() else []
        for name in names:
            with suppress(MirrorsyncError):
                raw = self._read(name)
                if raw is not None and Digest.of(raw).encoded + _BELOW == name:
                    yield Manifest.parse(raw, _media_type(raw))

    def _read(self, name: str) -> bytes | None:
        try:
            with open_regular(self.directory / name) as file, translated(f"reading {self.directory / name}"):
                return file.read(MAX_MANIFEST_BYTES + 1)
        except FileNotFoundError:
            return None

    def path(self, digest: Digest) -> Path:
        """Return the path of a blob. A digest is valid by its type, so this is inside the directory."""
        return self.directory / digest.encoded

    def store(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write a blob that is verified by its chunks, durably; after an error no file is left."""
        self.lock()
        self._publish(blob.digest.encoded, chunks)

    def put(self, manifest: Manifest) -> None:
        """Store a manifest next to the image's own."""
        self.lock()
        self._publish(manifest.digest.encoded + _BELOW, [manifest.raw])
        self._put[manifest.digest] = manifest

    def choose(self, manifest: Manifest) -> None:
        """Make a manifest the image of the directory. Raises: Denied if this run has already written another image."""
        self.lock()
        if self._chosen not in (None, manifest.digest):
            raise Denied("a dir: has room for one image only", remedy="use oci:DIRECTORY for several")
        with translated(f"writing to {self.directory}"):
            sync_directory(self.directory)  # the names of its blobs must be durable before the manifest
            self._publish(_ROOT_FILE, [manifest.raw])
            sync_directory(self.directory)
        self._put[manifest.digest] = manifest
        self._chosen = manifest.digest

    def _publish(self, name: str, chunks: Iterable[bytes]) -> None:
        doing = f"writing {name[:12]} to {self.directory}"
        path = grow_file(self.incoming, chunks, doing)
        try:
            with translated(doing):
                path.rename(self.directory / name)
        except BaseException:
            discard_file(path)
            raise

    async def flush(self) -> None:
        """Complete the image, and remove the files of the old one that it does not need."""
        with self.located():
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        put, self._put = self._put, {}
        root = self.root() if put else None
        needed = set(self._names_below(root)) if root is not None else set()
        if self._chosen is not None and root is not None and root.digest == self._chosen:
            self._remove_unneeded({_ROOT_FILE, *needed})
        elif any(digest.encoded + _BELOW not in needed for digest in put if root is None or digest != root.digest):
            # It is unknown which of them is the image: the run may have ended before their index was written.
            raise Denied("a dir: cannot store an image by digest alone", remedy="name a tag; it is not stored")

    def _remove_unneeded(self, needed: Set[str]) -> None:
        with translated(f"removing the old image from {self.directory}"):
            names = [path.name for path in self.directory.iterdir() if _OURS.fullmatch(path.name)]
            for name in names:
                if name not in needed:
                    (self.directory / name).unlink()
            sync_directory(self.directory)

    def _names_below(self, root: Manifest) -> Iterator[str]:
        """Yield the names of the files that an image needs, including the referrers of its manifests."""
        digests = {root.digest}
        waiting, others = [root], list(self.others())
        while waiting:
            manifest = waiting.pop()
            yield from (blob.digest.encoded for blob in (*manifest.blobs, *manifest.foreign))
            children = {child.digest for child in manifest.children}
            for one in others:
                refers = one.subject is not None and one.subject.digest == manifest.digest
                if one.digest not in digests and (refers or one.digest in children):
                    digests.add(one.digest)
                    waiting.append(one)
                    yield one.digest.encoded + _BELOW

    async def close(self) -> None:
        """Flush, and release the lock."""
        try:
            await self.flush()
        finally:
            if self._lock is not None:
                with suppress(OSError):
                    self.incoming.rmdir()
                self._lock.release()
                self._lock = None
                self._chosen = None

    def located(self, repository: str | None = None, ref: Ref | None = None) -> AbstractContextManager[None]:
        """Add this store's address to errors."""
        return located_at(self.address, repository, ref)


class DirRepository:
    """The image of a `dir:` with all its content."""

    def __init__(self, store: DirStore, name: str) -> None:
        self.name = name
        self._store = store

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the image for every tag, or the manifest with a digest; None if it is missing."""
        with self._store.located(self.name, ref):
            root = self._store.root()
            if not isinstance(ref, Digest):
                return root.descriptor if root else None
            manifests = (root, *self._store.others()) if root is None or root.digest != ref else (root,)
            return next((one.descriptor for one in manifests if one is not None and one.digest == ref), None)

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield nothing: the image has no name. Raises: RepositoryNotFound if there is no image."""
        with self._store.located(self.name):
            if self._store.root() is None:
                raise RepositoryNotFound("the directory has no image", remedy="check the path")
        nothing: tuple[Tag, ...] = ()
        for tag in nothing:
            yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Return whether the blob exists, by name and size."""
        return regular_size(self._store.path(blob.digest)) == blob.size

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None if it is missing."""
        size = regular_size(self._store.path(digest))
        return Descriptor(media_types.ANY_BYTES, digest, size) if size is not None else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest. Raises: ContentNotFound, IntegrityError, StorageError."""
        with self._store.located(self.name, content.digest):
            manifest = self._store.manifest(content)
            if manifest is None:
                raise ContentNotFound("the directory has no such manifest")
            return manifest

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject has that digest."""
        with self._store.located(self.name):
            return [
                one.as_referrer()
                for one in self._store.others()
                if one.subject is not None and one.subject.digest == subject
            ]

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob. Raises: ContentNotFound, IntegrityError, StorageError."""
        return await asyncio.to_thread(self._read, blob)

    def _read(self, blob: Descriptor) -> bytes:
        with self._opened(blob) as path, open_regular(path) as file, translated(f"reading blob {blob.digest.short}"):
            return verified(blob, file.read(blob.size + 1))

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob from `offset` on. Raises: ContentNotFound, StorageError."""
        with self._opened(blob) as path:
            file = open_regular(path, offset)
        with file, self._store.located(self.name, blob.digest):
            yield read_chunks(file, f"reading blob {blob.digest.short}")

    def prove(self, content: Descriptor, watch: Callable[[int], object]) -> None:
        """Read a blob or manifest, and verify it. Raises: ContentNotFound, Mismatch, StorageError."""
        if not content.is_manifest:
            with self.open(content) as chunks:
                prove(content, chunks, watch)
            return
        with self._store.located(self.name, content.digest):
            if self._store.manifest(content) is None:
                raise ContentNotFound("the directory has no such manifest")
            watch(content.size)

    @contextmanager
    def _opened(self, blob: Descriptor) -> Iterator[Path]:
        with self._store.located(self.name, blob.digest):
            try:
                yield self._store.path(blob.digest)
            except FileNotFoundError as error:
                raise ContentNotFound("the directory has no such blob") from error

    async def mount(self, blob: Descriptor, origin: str) -> bool:  # noqa: ARG002 - the protocol's parameter
        """Return whether the blob exists: there is only one repository."""
        return await self.has(blob)

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError, StorageError."""
        await asyncio.to_thread(self.put, blob, [data])

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks. Raises: IntegrityError, StorageError."""
        with self._store.located(self.name, blob.digest):
            self._store.store(blob, VerifiedChunks.of(blob, chunks))

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest next to the image's own: a child of it, or a referrer."""
        with self._store.located(self.name, manifest.digest):
            await asyncio.to_thread(self._store.put, manifest)

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Make a manifest the image of the directory; the tag is not stored. Raises: Denied for a second image."""
        with self._store.located(self.name, tag):
            await asyncio.to_thread(self._store.choose, manifest)

    async def delete(self, ref: Tag | Digest) -> None:
        """Refuse: the directory is the image. Raises: Denied."""
        with self._store.located(self.name, ref):
            raise Denied("a dir: image cannot be deleted", remedy="remove the directory")


def _media_type(raw: bytes) -> str:
    """Return the media type of a manifest without one, as containers/image guesses it; "" if the manifest has one."""
    with suppress(ValueError, RecursionError):
        document = json.loads(raw)
        if isinstance(document, dict) and not document.get("mediaType"):
            return media_types.OCI_INDEX if "manifests" in document else media_types.OCI_MANIFEST
    return ""
