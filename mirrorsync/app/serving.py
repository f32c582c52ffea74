"""Being a registry over an OCI layout."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirrorsync.environment import Environment
from mirrorsync.oci.reference import Location
from mirrorsync.serve import serving
from mirrorsync.stores.open import opener


@asynccontextmanager
async def serving_layout(
    place: Location, host: str, port: int, *, read_only: bool, environment: Environment
) -> AsyncIterator[int]:
    """Serve a layout while the block runs; yields the port. port: 0 = any free one.

    Raises: StorageError when it is no layout, or the address cannot be listened on; IntegrityError.
    """
    store = opener(environment)(place.store)
    async for _ in store.repositories():
        break  # what is no layout is refused now, and not to whoever asks it for something
    async with serving(store, host, port, read_only=read_only, observer=environment.observer) as actual:
        yield actual
