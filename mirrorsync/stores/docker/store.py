"""What a docker archive and a daemon have in common as stores: when they begin to write, write, and give back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from mirrorsync.events import Noticed, Observer
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.docker.cache import KnownImage, LayerCache
from mirrorsync.stores.docker.outgoing import Layers
from mirrorsync.stores.docker.staging import Incoming
from mirrorsync.stores.located import located_at


class DockerStore(ABC):
    """The part of a store that does not depend on where images are.

    temporary: an existing directory for layers on their way. cache_directory: where the digests of layers are
    remembered for the next run, None for nowhere.
    """

    shares_blobs = True

    def __init__(self, address: str, temporary: Path, cache_directory: Path | None, observer: Observer) -> None:
        self.address = address
        self.cache = LayerCache(cache_directory, lambda message: observer(Noticed(address, message)))
        self.layers = Layers(address, temporary, self.cache, observer)
        self.incoming = Incoming(temporary, self.cache)
        self.made: dict[Digest, KnownImage] = {}  # what was looked at, by the digests of the manifests

    @abstractmethod
    def begin(self) -> None:
        """Get ready to write. Blocking."""

    @abstractmethod
    def write_pending(self) -> None:
        """Write what was kept and is not written yet. Blocking."""

    @abstractmethod
    def give_back(self) -> None:
        """Give back files and locks. Blocking."""

    def lock(self) -> None:
        """Get ready to write, and keep other runs out where the place does not do that itself."""
        with self.located():
            self.begin()

    async def flush(self) -> None:
        """Write what is new, all of it at once."""
        with self.located():
            await asyncio.to_thread(self.write_pending)

    async def close(self) -> None:
        """Flush, and give back files and the lock."""
        try:
            await self.flush()
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.layers.close()
        self.incoming.clear()
        self.give_back()

    def located(self) -> AbstractContextManager[None]:
        """Say in errors that they are this store's."""
        return located_at(self.address)
