"""A session: the stores of one run, each opened once, and the manifests that it has fetched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from mirrorsync.errors import ContentNotFound, MirrorsyncError, Side
from mirrorsync.events import Noticed, Observer, ignore
from mirrorsync.hosts import Pulls
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import (
    Confirming,
    Converting,
    LogsIn,
    Metered,
    OpensDestinations,
    ReadsBack,
    Store,
    WritableRepository,
)
from mirrorsync.stores.located import located_at
from mirrorsync.sync.manifest_cache import DiskCache, ManifestCache, Recent
from mirrorsync.sync.pool import Answers, MemoryBudget

# A hostile index may list thousands of manifests of 4 MiB. Only the most recent ones are in memory, in bytes as they
# are sent; the others are on disk. The second limit is for manifests that are being fetched at a time.
_RECENT_BYTES: Final = 4 * 1024 * 1024
_FETCHED_BYTES: Final = 16 * 1024 * 1024
# The remedy if a source lacks content that its own manifests name.
INCOMPLETE: Final = "the image is incomplete at its source; report this to its publisher"


class Session:
    """The stores and manifests that the engine's verbs share in one run. Use it as `async with Session(...)`.

    opener: returns the store of an address; called once for each. cache: manifests of earlier runs; None = only those
    of this run. observer: is called with the events.
    """

    def __init__(
        self, opener: Callable[[str], Store], *, cache: ManifestCache | None = None, observer: Observer = ignore
    ) -> None:
        self._opener = opener
        self._stores: dict[str, Store] = {}
        self._repositories: dict[Location, WritableRepository] = {}
        self._destinations: dict[Location, WritableRepository] = {}
        self._confirming: dict[Location, Confirming | None] = {}
        self._converting: dict[Location, Converting | None] = {}
        self._cache = cache or DiskCache(None, lambda message: observer(Noticed("cache", message)))
        self._recent = Recent(_RECENT_BYTES)
        self._made: dict[Digest, Manifest] = {}
        self._fetch_budget = MemoryBudget(_FETCHED_BYTES)
        self._asked: Answers[Digest, Manifest] = Answers()
        self._asked_at: dict[Digest, Location] = {}
        self._asked_elsewhere: Answers[tuple[Location, Digest], Manifest] = Answers()
        self.announce = observer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cache.close()
        failures = []
        for store in self._stores.values():
            try:
                await store.close()
            except MirrorsyncError as failure:
                failures.append(failure)
        if failures and error is None:
            raise failures[0]

    def store(self, address: str) -> Store:
        """Return the store at `address`. Raises: the errors of opening it, such as StorageError."""
        if address not in self._stores:
            self._stores[address] = self._opener(address)
        return self._stores[address]

    def repository(self, location: Location) -> WritableRepository:
        """Return the repository at `location`."""
        if location not in self._repositories:
            self._repositories[location] = self.store(location.store).repository(location.repository)
        return self._repositories[location]

    def destination(self, location: Location) -> WritableRepository:
        """Return the repository at `location` for writing; it may also be a source of the same run."""
        if location not in self._destinations:
            store = self.store(location.store)
            if isinstance(store, OpensDestinations):
                self._destinations[location] = store.destination(location.repository)
            else:
                self._destinations[location] = self.repository(location)
        return self._destinations[location]

    def converting(self, location: Location) -> Converting | None:
        """Return the destination at `location` if it keeps images in another form, otherwise None."""
        # Cached: a check for a protocol takes a tenth of the time of a request, for each tag.
        if location not in self._converting:
            repository = self.destination(location)
            self._converting[location] = repository if isinstance(repository, Converting) else None
        return self._converting[location]

    def confirming(self, location: Location) -> Confirming | None:
        """Return the destination at `location` if its answers can be wrong and can be confirmed, otherwise None."""
        if location not in self._confirming:
            repository = self.destination(location)
            self._confirming[location] = repository if isinstance(repository, Confirming) else None
        return self._confirming[location]

    def reads_back(self, location: Location) -> ReadsBack | None:
        """Return the destination at `location` if its content is read where it is stored, otherwise None."""
        repository = self.destination(location)
        return repository if isinstance(repository, ReadsBack) else None

    def login(self, location: Location) -> str | None:
        """Return a name for the account that a source was read with, "" without one, None if that is not known."""
        repository = self.repository(location)
        return repository.login() if isinstance(repository, LogsIn) else None

    def pulls(self, addresses: Iterable[str]) -> dict[str, Pulls]:
        """Return the pulls of this run at those of some stores that are registries."""
        registries = [address for address in sorted(addresses) if Location(address, "").transport.is_registry]
        stores = {address: self.store(address) for address in registries}
        return {address: store.pulls for address, store in stores.items() if isinstance(store, Metered)}

    def blobs_of(self, location: Location) -> Location:
        """Return where the blobs of `location` are: the store, if its repositories share their blobs."""
        return Location(location.store, "") if self.store(location.store).shares_blobs else location

    def known(self, content: Descriptor) -> Manifest | None:
        """Return a manifest that is available without a request, otherwise None."""
        found = self._recent.get(content.digest) or self._made.get(content.digest) or self._cache.get(content)
        if found is not None:
            self._recent.add(found)
        return found

    def cached(self, digest: Digest) -> Manifest | None:
        """Return a manifest that an earlier run has read, by its digest alone; None if the cache does not have it."""
        return self._cache.find(digest)

    def remember(self, manifest: Manifest) -> None:
        """Remember a manifest that was made here, and that no source has."""
        self._cache.add(manifest)
        if self._cache.get(manifest.descriptor) is None:
            self._made[manifest.digest] = manifest  # the cache cannot be used, and no source can send it again

    def creations(self, digests: Collection[Digest]) -> Mapping[Digest, str]:
        """Return when images say they were created, of those that earlier runs have read: "" if one does not say."""
        return self._cache.created(digests)

    def remember_creation(self, digest: Digest, time: str) -> None:
        """Remember when an image says it was created, for later runs."""
        self._cache.add_created(digest, time)

    async def manifest(self, source: Location, content: Descriptor) -> Manifest:
        """Return a manifest: from memory, from the cache, or from `source`. Raises: MirrorsyncError.

        It is read once, wherever it is asked for first. If that fails, each other repository is asked for itself: the
        destination may have whole what the source has damaged.
        """
        found = self.known(content)
        if found is not None:
            return found
        first = self._asked_at.setdefault(content.digest, source)
        try:
            return await self._asked.get(content.digest, lambda: self._fetch(source, content))
        except MirrorsyncError:
            if first == source:
                raise
        return await self._asked_elsewhere.get((source, content.digest), lambda: self._fetch(source, content))

    async def _fetch(self, source: Location, content: Descriptor) -> Manifest:
        try:
            async with self._fetch_budget.reserve(content.size):
                manifest = await self.repository(source).manifest(content)
        except ContentNotFound as error:
            remedy = error.remedy or INCOMPLETE
            raise error.with_(remedy=remedy) from error.__cause__
        self._cache.add(manifest)
        self._recent.add(manifest)
        self._asked.forget(content.digest)
        self._asked_at.pop(content.digest, None)
        return manifest


def located(side: Side, location: Location, ref: Ref | None = None) -> located_at:
    """Add the side and the location to every MirrorsyncError of the block, as `located_at` does."""
    return located_at(location.store, location.repository, ref, side)
