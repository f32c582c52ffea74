"""The common part of a docker archive and a daemon as stores: lock, flush and close."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from mirrorsync.events import Noticed, Observer
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.docker.cache import KnownImage, LayerCache
from mirrorsync.stores.docker.outgoing import Layers
from mirrorsync.stores.docker.repository import DockerRepository
from mirrorsync.stores.docker.staging import Incoming
from mirrorsync.stores.located import located_at


class DockerStore(ABC):
    """The part of a store that archives and daemons share.

    temporary: an existing directory for staged layers. cache_directory: for the digests of layers, which the next run
    uses; None = no cache.
    """

    shares_blobs = True

    def __init__(self, address: str, temporary: Path, cache_directory: Path | None, observer: Observer) -> None:
        self.address = address
        self.cache = LayerCache(cache_directory, lambda message: observer(Noticed(address, message)))
        self.layers = Layers(address, temporary, self.cache, observer)
        self.incoming = Incoming(temporary, self.cache)
        self.made: dict[Digest, KnownImage] = {}  # the images that were read, by the digests of their manifests

    def check_writable(self) -> None:  # noqa: B027 - a daemon has nothing to check
        """Raise StorageError if the store can never be written, whatever its content. Nothing is read."""

    @abstractmethod
    def begin(self) -> None:
        """Prepare for writing. Blocking."""

    async def flush_if_due(self) -> None:  # noqa: B027 - no store of this kind does more
        """Do nothing: all images are written at once."""

    @abstractmethod
    def is_published(self, repository: str, tag: Tag) -> bool:
        """Return whether a tag that was set is durable and visible to others."""

    @abstractmethod
    def write_pending(self) -> None:
        """Write the staged images. Blocking."""

    @abstractmethod
    def release(self) -> None:
        """Release files and locks. Blocking."""

    @abstractmethod
    def repository(self, name: str) -> DockerRepository:
        """Return the repository of that name."""

    def destination(self, name: str) -> DockerRepository:
        """Return the repository of that name for writing, in which an image has only the name that it is written as.

        Raises: StorageError if it can never be written.
        """
        with self.located():
            self.check_writable()
        found = self.repository(name)
        found.other_spellings = False
        return found

    def lock(self) -> None:
        """Prepare for writing, and lock the store against other runs, unless it coordinates writers itself."""
        with self.located():
            self.begin()

    async def flush(self) -> None:
        """Write the staged images, all at once."""
        with self.located():
            await asyncio.to_thread(self.write_pending)

    async def close(self) -> None:
        """Flush, and release files and the lock."""
        try:
            await self.flush()
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.layers.close()
        self.incoming.clear()
        self.release()

    def located(self) -> AbstractContextManager[None]:
        """Add this store's address to errors."""
        return located_at(self.address)
