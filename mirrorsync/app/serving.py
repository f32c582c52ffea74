"""Serve an OCI layout as a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mirrorsync.environment import Environment
from mirrorsync.errors import StorageError
from mirrorsync.oci.reference import Location
from mirrorsync.serve import serving
from mirrorsync.stores.open import opener


@asynccontextmanager
async def serving_layout(
    location: Location, host: str, port: int, *, writable: bool, environment: Environment
) -> AsyncIterator[int]:
    """Serve a layout while the block runs; yields the port. port: 0 = any free port.

    writable: whether pushes and deletes are accepted; the first push creates a missing directory. Without, a missing
    one is an error: it is a typo, or a disk that is not mounted, and would look like a mirror without images.

    Raises: StorageError if it is not a layout, or the address cannot be listened on; IntegrityError.
    """
    store = opener(environment)(location.store)
    async for _ in store.repositories():
        break  # reject a directory that is not a layout now, and not at the first request
    if location.transport.has_path and not writable:
        _check_exists(location)
    async with serving(store, host, port, writable=writable, observer=environment.observer) as actual:
        yield actual


def _check_exists(location: Location) -> None:
    if not Path(location.store.removeprefix(location.transport.scheme)).exists():
        raise StorageError(
            f"{location.store} does not exist", remedy="check the path; with --writable, the first push creates it"
        )
