"""Serve an OCI layout as a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirrorsync.environment import Environment
from mirrorsync.oci.reference import Location
from mirrorsync.serve import serving
from mirrorsync.stores.open import opener


@asynccontextmanager
async def serving_layout(
    location: Location, host: str, port: int, *, read_only: bool, environment: Environment
) -> AsyncIterator[int]:
    """Serve a layout while the block runs; yields the port. port: 0 = any free port.

    Raises: StorageError if it is not a layout, or the address cannot be listened on; IntegrityError.
    """
    store = opener(environment)(location.store)
    async for _ in store.repositories():
        break  # reject a directory that is not a layout now, and not at the first request
    async with serving(store, host, port, read_only=read_only, observer=environment.observer) as actual:
        yield actual
