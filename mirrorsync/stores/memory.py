"""A store in memory: for programs that use the library, and the reference implementation of the protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mirrorsync.errors import ContentNotFound, NotFound, RepositoryNotFound
from mirrorsync.files.chunks import CHUNK_BYTES, VerifiedChunks, verified
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Pick, Ref, Tag
from mirrorsync.oci.reference import Where


class MemoryStore:
    """Repositories in memory. Each blob belongs to one repository, as in a registry, so that mounts have an effect."""

    shares_blobs = False

    def __init__(self, address: str = "memory") -> None:
        self.address = address
        self._contents: dict[str, _Contents] = {}

    def repository(self, name: str) -> MemoryRepository:
        """Return the repository of that name."""
        return MemoryRepository(self, name)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories with content, sorted."""
        for name in sorted(self._contents):
            yield name

    def lock(self) -> None:
        """Do nothing: no other process can write here."""

    async def flush(self) -> None:
        """Do nothing: nothing is durable."""

    async def close(self) -> None:
        """Do nothing: the content lives as long as the store object."""

    def contents(self, name: str) -> _Contents | None:
        """Return the content of a repository, None if it does not exist."""
        return self._contents.get(name)

    def made(self, name: str) -> _Contents:
        """Return the content of a repository, which is created if it does not exist."""
        return self._contents.setdefault(name, _Contents())


@dataclass(slots=True)
class _Contents:
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    tags: dict[Tag, Digest] = field(default_factory=dict)


class MemoryRepository:
    """One repository of a MemoryStore."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.name = name
        self._store = store

    @property
    def _contents(self) -> _Contents:
        return self._store.contents(self.name) or _Contents()

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the descriptor that a tag or digest names, None if it is missing."""
        if isinstance(ref, Pick):
            return None  # every image has a name in this store
        digest = ref if isinstance(ref, Digest) else self._contents.tags.get(ref)
        manifest = self._contents.manifests.get(digest) if digest else None
        return manifest.descriptor if manifest else None

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, sorted. Raises: RepositoryNotFound."""
        if self._store.contents(self.name) is None:
            raise self._located(RepositoryNotFound("the store has no such repository"))
        for tag in sorted(self._contents.tags):
            yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Return whether this repository has the blob."""
        data = self._contents.blobs.get(blob.digest)
        return data is not None and len(data) == blob.size

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None if it is missing."""
        data = self._contents.blobs.get(digest)
        return Descriptor(media_types.ANY_BYTES, digest, len(data)) if data is not None else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest. Raises: ContentNotFound."""
        manifest = self._contents.manifests.get(content.digest)
        if manifest is None:
            raise self._located(ContentNotFound("the repository has no such manifest"), content.digest)
        return manifest

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject has that digest."""
        return [
            manifest.as_referrer()
            for manifest in self._contents.manifests.values()
            if manifest.subject is not None and manifest.subject.digest == subject
        ]

    async def read(self, blob: Descriptor) -> bytes:
        """Return a blob. Raises: ContentNotFound, IntegrityError."""
        return verified(blob, self._blob(blob))

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob from `offset` on. Raises: ContentNotFound."""
        data = memoryview(self._blob(blob))
        yield (bytes(data[start : start + CHUNK_BYTES]) for start in range(offset, len(data), CHUNK_BYTES))

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        """Share a blob of another repository; False if that does not have it."""
        contents = self._store.contents(origin)
        if contents is None or blob.digest not in contents.blobs:
            return False
        self._store.made(self.name).blobs[blob.digest] = contents.blobs[blob.digest]
        return True

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a blob. Raises: IntegrityError."""
        self._store.made(self.name).blobs[blob.digest] = verified(blob, data)

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks. Raises: IntegrityError."""
        data = b"".join(VerifiedChunks.of(blob, chunks))
        self._store.made(self.name).blobs[blob.digest] = data

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest under its digest."""
        self._store.made(self.name).manifests[manifest.digest] = manifest

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Store a manifest and let `tag` name it."""
        await self.put_manifest(manifest)
        self._store.made(self.name).tags[tag] = manifest.digest

    async def delete(self, ref: Tag | Digest) -> None:
        """Remove a tag, or a manifest with its tags. Raises: ContentNotFound."""
        contents = self._contents
        if isinstance(ref, Tag):
            if contents.tags.pop(ref, None) is None:
                raise self._located(ContentNotFound("the repository has no such tag"), ref)
            return
        if contents.manifests.pop(ref, None) is None:
            raise self._located(ContentNotFound("the repository has no such manifest"), ref)
        for tag in [tag for tag, named in contents.tags.items() if named == ref]:
            del contents.tags[tag]

    def _blob(self, blob: Descriptor) -> bytes:
        data = self._contents.blobs.get(blob.digest)
        if data is None:
            raise self._located(ContentNotFound("the repository has no such blob"), blob.digest)
        return data

    def _located(self, error: NotFound, ref: Ref | None = None) -> NotFound:
        return error.at(Where(self._store.address, self.name, ref))
