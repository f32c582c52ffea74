"""A registry whose content is read at other addresses first (`endpoints:`), with the registry itself as the last one.

What counts is the digest: whatever an endpoint sends under one is verified. Which tags there are, and what they name,
has no digest; only endpoints with `tags: true` are asked for it, and everything else of that kind (referrers are lists,
too) comes from the registry. Each endpoint is a registry of its own, with its own settings and logins, and only read.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

from mirrorsync.errors import ContentNotFound, IntegrityError, Interrupted, MirrorsyncError, RepositoryNotFound
from mirrorsync.events import Noticed, Observer
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.hosts import Endpoint, Pulls
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.stores.base import Store
from mirrorsync.stores.registry.repository import RegistryRepository
from mirrorsync.stores.registry.store import RegistryStore

T = TypeVar("T")
# An endpoint that has failed so often is not asked any more in the run. A success makes up for a tenth of a failure: a
# HEAD may work where every GET fails, and one failure in a hundred is no reason to give it up.
_FAILURES: Final = 3
_SUCCESS: Final = 0.1
_ABSENT: Final = (ContentNotFound, RepositoryNotFound)


def with_endpoints(
    registry: RegistryStore,
    endpoints: Sequence[Endpoint],
    opened: Callable[[str], RegistryStore],
    observer: Observer,
) -> Store:
    """Return a registry that is read at its endpoints first; itself if it has none. opened: returns one by its host."""
    if not endpoints:
        return registry
    return EndpointStore(registry, [_Place(one, opened(one.host), registry.address, observer) for one in endpoints])


class _Place:
    """An endpoint in one run: whether it still works, and what it has that is damaged. For any thread."""

    def __init__(self, endpoint: Endpoint, store: RegistryStore, registry: str, observer: Observer) -> None:
        self.tags = endpoint.tags
        self.store = store
        self._endpoint = endpoint
        self._registry = registry
        self._observer = observer
        self._failures = 0.0
        self._left = False
        self._told = False
        self._damaged: set[Digest] = set()
        self._lock = threading.Lock()

    def repository(self, name: str) -> RegistryRepository:
        """Return the repository that is called `name` at the registry."""
        prefix = self._endpoint.prefix
        return self.store.repository(f"{prefix}/{name}" if prefix else name)

    def is_asked(self, ref: Ref | None) -> bool:
        """Return whether it is asked for a ref, or for a list (None)."""
        return not self._left and (self.tags or isinstance(ref, Digest)) and ref not in self._damaged

    def worked(self) -> None:
        """Record that it has answered."""
        if self._failures:
            with self._lock:
                self._failures = max(0.0, self._failures - _SUCCESS)

    def failed(self, error: MirrorsyncError) -> None:
        """Record a failure, which is reported the first time, and if it is the last one."""
        with self._lock:
            self._failures += 1
            told, self._told = self._told, True
            if not told:
                self._report(f"{error.message}; its content is read at the next address")
            if self._failures >= _FAILURES and not self._left:
                self._left = True
                self._report("it failed repeatedly, and is not asked any more in this run")

    def sent_wrong(self, digest: Digest, error: MirrorsyncError) -> None:
        """Record that what it has under a digest is something else; it is not asked for that again."""
        self._damaged.add(digest)
        self._report(f"{error.message}; its content is read at the next address")
        with self._lock:
            self._told = True
        self.failed(error)

    def _report(self, message: str) -> None:
        self._observer(Noticed(self._registry, f"endpoint {self._endpoint}: {message}"))


class EndpointStore:
    """A registry with endpoints. places: in the order in which they are asked."""

    shares_blobs = False

    def __init__(self, registry: RegistryStore, places: Sequence[_Place]) -> None:
        self.address = registry.address
        self._registry = registry
        self._places = places

    def repository(self, name: str) -> EndpointRepository:
        """Return the repository of that name, to be read."""
        return EndpointRepository(self._registry.repository(name), self._places)

    def destination(self, name: str) -> RegistryRepository:
        """Return the repository of that name, to be written: at the registry itself."""
        return self._registry.destination(name)

    @property
    def pulls(self) -> Pulls:
        """The pulls of this run at the registry itself, and what it said last about its limit."""
        return self._registry.pulls

    def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, from the registry itself."""
        return self._registry.repositories()

    def lock(self) -> None:
        """Do nothing: a registry coordinates its writers itself."""

    async def flush(self) -> None:
        """Do nothing: a registry stores content when it accepts it."""

    async def close(self) -> None:
        """Close all connections, those to the endpoints, too."""
        for place in self._places:
            await place.store.close()
        await self._registry.close()


class EndpointRepository:
    """One repository of a registry with endpoints. What is written goes to the registry itself."""

    def __init__(self, registry: RegistryRepository, places: Sequence[_Place]) -> None:
        self.name = registry.name
        self._registry = registry
        self._places = [(place, place.repository(registry.name)) for place in places]
        self.mount = registry.mount
        self.write = registry.write
        self.put = registry.put
        self.put_manifest = registry.put_manifest
        self.tag = registry.tag
        self.delete = registry.delete
        self.kept = registry.kept
        self.login = registry.login

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the descriptor that a tag or digest names, None if it is missing everywhere."""
        found = await self._first(ref, lambda repository: repository.resolve(ref))
        self._doubt(found)
        return found

    async def confirm(self, ref: Ref) -> Descriptor | None:
        """Ask again, and more thoroughly, for a ref that `resolve` did not find."""
        return await self._first(ref, lambda repository: repository.confirm(ref))

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag of the first address that has the repository. Raises: RepositoryNotFound."""
        for place, repository in self._asked(None):
            begun = False
            try:
                async for tag in repository.tags():
                    begun = True
                    yield tag
            except Interrupted:
                raise
            except MirrorsyncError as error:
                # The rest of a list cannot come from another one, and half a list would be wrong.
                if begun:
                    raise
                if not isinstance(error, _ABSENT):
                    place.failed(error)
                continue
            if begun:
                place.worked()
                return
        async for tag in self._registry.tags():
            yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Return whether one of the addresses has the blob, with the right size."""
        return await self._first(blob.digest, lambda repository: repository.has(blob))

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return a blob's descriptor by its digest, None if it is missing or its size is unknown."""
        return await self._first(digest, lambda repository: repository.blob(digest))

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest, whole and verified. Raises: ContentNotFound, IntegrityError."""
        return await self._first(content.digest, lambda repository: repository.manifest(content))

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject has that digest, of the first address that has some."""
        return await self._first(None, lambda repository: repository.referrers(subject))

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob, whole and verified. Raises: ContentNotFound, IntegrityError."""
        return await self._first(blob.digest, lambda repository: repository.read(blob))

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob's chunks from `offset` on; one that breaks off is continued at the next address. Blocking.

        Raises: ContentNotFound, on entry; Mismatch before the last chunk if an endpoint sent something else, which is
        not asked for that blob again.
        """
        with ExitStack() as opened:
            stream = _Stream(blob, offset, [*self._asked(blob.digest), (None, self._registry)], opened)
            yield stream.chunks()

    def _asked(self, ref: Ref | None) -> list[tuple[_Place, RegistryRepository]]:
        return [(place, repository) for place, repository in self._places if place.is_asked(ref)]

    async def _first(self, ref: Ref | None, ask: Callable[[RegistryRepository], Awaitable[T]]) -> T:
        """Return the first answer that is not empty: of an endpoint, or any of the registry. ref: as for `is_asked`."""
        for place, repository in self._asked(ref):
            try:
                found = await ask(repository)
            except Interrupted:
                raise
            except _ABSENT:
                place.worked()
            except IntegrityError as error:
                place.sent_wrong(ref, error) if isinstance(ref, Digest) else place.failed(error)
            except MirrorsyncError as error:
                place.failed(error)
            else:
                place.worked()
                if found:
                    return found
        return await ask(self._registry)

    def _doubt(self, found: Descriptor | None) -> None:
        """Tell the other addresses that of this descriptor only the digest is certain."""
        if found is not None:
            for repository in (self._registry, *(repository for _, repository in self._places)):
                repository.doubt(found)


class _Stream:
    """A blob that is read at one address after the other. sources: with None for the registry, which comes last."""

    def __init__(
        self,
        blob: Descriptor,
        offset: int,
        sources: Iterable[tuple[_Place | None, RegistryRepository]],
        opened: ExitStack,
    ) -> None:
        self._blob = blob
        self._at = offset
        self._sources = iter(sources)
        self._opened = opened
        self._used: list[_Place] = []
        self._place, self._chunks = self._next()
        self._whole = offset == 0

    def _next(self) -> tuple[_Place | None, Iterator[bytes]]:
        self._opened.close()
        for place, repository in self._sources:
            try:
                chunks = self._opened.enter_context(repository.open(self._blob, self._at))
            except MirrorsyncError as error:
                if place is None or isinstance(error, Interrupted):
                    raise
                if not isinstance(error, _ABSENT):
                    place.failed(error)
                continue
            if place is not None:
                self._used.append(place)
            return place, chunks
        raise ContentNotFound("the repository has no such blob")  # not reached: the registry raises

    def chunks(self) -> Iterator[bytes]:
        """Return the chunks; verified, if an endpoint sends some of them."""
        return self._verified() if self._used and self._whole else self._joined()

    def _verified(self) -> Iterator[bytes]:
        try:
            yield from VerifiedChunks(self._blob, self._joined())
        except IntegrityError as error:
            for place in self._used:
                place.sent_wrong(self._blob.digest, error)
            raise

    def _joined(self) -> Iterator[bytes]:
        while True:
            try:
                for chunk in self._chunks:
                    self._at += len(chunk)
                    yield chunk
            except MirrorsyncError as error:
                if self._place is None or isinstance(error, Interrupted):
                    raise
                self._place.failed(error)
                self._place, self._chunks = self._next()
                continue
            if self._place is not None:
                self._place.worked()
            return
