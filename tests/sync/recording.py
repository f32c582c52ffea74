"""A store that passes all calls to a real one, logs them in order, and can fail on demand."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.stores.base import Store, WritableRepository

# Called before an operation (`put`, `manifest`, `tag`, `mount`, `read`) with its name and object; can raise an error.
FaultHook = Callable[[str, str], None]


def no_faults(what: str, name: str) -> None:
    """Let every operation succeed."""


class RecordingStore:
    """A store around another one. done: its finished operations, `operation repository object`, in order."""

    def __init__(self, inner: Store, address: str, fault: FaultHook = no_faults) -> None:
        self.inner = inner
        self.address = address
        self.fault = fault
        self.done: list[str] = []
        self.flushed_after: list[int] = []
        self._lock = threading.Lock()

    @property
    def shares_blobs(self) -> bool:
        return self.inner.shares_blobs

    def repository(self, name: str) -> RecordingRepository:
        return RecordingRepository(self, self.inner.repository(name))

    def repositories(self) -> AsyncIterator[str]:
        return self.inner.repositories()

    def lock(self) -> None:
        self.inner.lock()

    async def flush(self) -> None:
        self.flushed_after.append(len(self.done))
        await self.inner.flush()

    async def close(self) -> None:
        await self.inner.close()

    def before(self, what: str, repository: str, name: str) -> None:
        """Call the fault hook before an operation."""
        self.fault(what, name)

    def record(self, what: str, repository: str, name: str) -> None:
        """Log a finished operation."""
        with self._lock:
            self.done.append(f"{what} {repository} {name}")


class RecordingRepository:
    """A repository of a RecordingStore."""

    def __init__(self, store: RecordingStore, inner: WritableRepository) -> None:
        self.name = inner.name
        self._store = store
        self._inner = inner

    async def resolve(self, ref: Ref) -> Descriptor | None:
        self._store.before("resolve", self.name, ref)
        return await self._inner.resolve(ref)

    def tags(self) -> AsyncIterator[Tag]:
        return self._inner.tags()

    async def has(self, blob: Descriptor) -> bool:
        return await self._inner.has(blob)

    async def blob(self, digest: Digest) -> Descriptor | None:
        return await self._inner.blob(digest)

    async def manifest(self, content: Descriptor) -> Manifest:
        self._store.before("read", self.name, content.digest)
        found = await self._inner.manifest(content)
        self._store.record("read", self.name, content.digest)
        return found

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        return await self._inner.referrers(subject)

    async def read(self, blob: Descriptor) -> bytes:
        self._store.before("read", self.name, blob.digest)
        self._store.record("read", self.name, blob.digest)
        return await self._inner.read(blob)

    def open(self, blob: Descriptor, offset: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        self._store.before("read", self.name, blob.digest)
        self._store.record("read", self.name, blob.digest)
        return self._inner.open(blob, offset)

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        self._store.before("mount", self.name, blob.digest)
        mounted = await self._inner.mount(blob, origin)
        self._store.record("mount" if mounted else "no mount", self.name, blob.digest)
        return mounted

    async def write(self, blob: Descriptor, data: bytes) -> None:
        self._store.before("put", self.name, blob.digest)
        await self._inner.write(blob, data)
        self._store.record("put", self.name, blob.digest)

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        self._store.before("put", self.name, blob.digest)
        self._inner.put(blob, chunks)
        self._store.record("put", self.name, blob.digest)

    async def put_manifest(self, manifest: Manifest) -> None:
        self._store.before("manifest", self.name, manifest.digest)
        await self._inner.put_manifest(manifest)
        self._store.record("manifest", self.name, manifest.digest)

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        self._store.before("tag", self.name, tag)
        await self._inner.tag(manifest, tag)
        self._store.record("tag", self.name, tag)

    async def delete(self, ref: Tag | Digest) -> None:
        await self._inner.delete(ref)
        self._store.record("delete", self.name, ref)
