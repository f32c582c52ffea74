"""Serve an OCI layout as a registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from mirrorsync.environment import Environment
from mirrorsync.errors import StorageError, UsageError
from mirrorsync.events import Noticed, Observer
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.serve import Snapshot, serving
from mirrorsync.state import Generation
from mirrorsync.stores.base import Store
from mirrorsync.stores.open import opener
from mirrorsync.text import some_of

_GONE_SHOWN: Final = 10


@asynccontextmanager
async def serving_layout(
    location: Location,
    host: str,
    port: int,
    *,
    writable: bool,
    environment: Environment,
    generation: Generation | None = None,
) -> AsyncIterator[int]:
    """Serve a layout while the block runs; yields the port. port: 0 = any free port.

    writable: whether pushes and deletes are accepted; the first push creates a missing directory. Without, a missing
    one is an error: it is a typo, or a disk that is not mounted, and would look like a mirror without images.
    generation: the only images to show, each with the digest that its tag named then; None = all of the layout.

    Raises: StorageError if it is not a layout, or the address cannot be listened on; IntegrityError; UsageError if the
    generation has nothing at this layout.
    """
    store = opener(environment)(location.store)
    async for _ in store.repositories():
        break  # reject a directory that is not a layout now, and not at the first request
    if location.transport.has_path and not writable:
        _check_exists(location)
    observer = environment.observer
    shown = None if generation is None else await _shown(store, generation, observer)
    async with serving(store, host, port, writable=writable, observer=observer, shown=shown) as actual:
        yield actual


async def _shown(store: Store, generation: Generation, observer: Observer) -> Snapshot:
    """Return the images of a generation at a store; those that it lacks are a notice. Raises: UsageError if none."""
    tags: defaultdict[str, dict[Tag, Digest]] = defaultdict(dict)
    for (target, tag), owned in generation.tags.items():
        if target.store == store.address:
            tags[target.repository][tag] = owned.digest
    if not tags:
        others = sorted({target.store for target, _ in generation.tags})
        raise UsageError(
            f"generation {generation.number} has no images at {store.address}",
            remedy=f"it has images at {', '.join(others)}" if others else "it is empty",
        )
    day, _, rest = generation.created.partition("T")
    shown = Snapshot(store, f"generation {generation.number} ({day} {rest[:5]} UTC)", tags)
    gone = await shown.missing()
    if gone:
        images = "1 image is" if len(gone) == 1 else f"{len(gone)} images are"
        observer(Noticed(shown.label, f"{images} not in {store.address} any more: {some_of(gone, _GONE_SHOWN)}"))
    return shown


def _check_exists(location: Location) -> None:
    if not Path(location.store.removeprefix(location.transport.scheme)).exists():
        raise StorageError(
            f"{location.store} does not exist", remedy="check the path; with --writable, the first push creates it"
        )
