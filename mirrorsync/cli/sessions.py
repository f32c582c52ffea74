"""From a spec's path to an open session: what the verbs that talk to stores begin with."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from mirrorsync.cli.access import Reach
from mirrorsync.cli.stop import Stop
from mirrorsync.events import Noticed, Observer
from mirrorsync.library import load_spec
from mirrorsync.spec.model import Spec
from mirrorsync.stores.open import StoreEnvironment, opener
from mirrorsync.sync.manifests import DiskCache, ManifestCache, NoCache
from mirrorsync.sync.session import Session

DEFAULT_SPEC: Final = "mirror.yaml"
_CACHE_FILE: Final = "manifests.sqlite"


def read_spec(path: str) -> Spec:
    """Read the spec at `path`, with this process's environment. Raises: SpecError, UsageError, StorageError."""
    return load_spec(path, os.environ)


@asynccontextmanager
async def opened(
    spec: Spec, stop: Stop, observer: Observer, ways: Reach | None = None, retries: int | None = None
) -> AsyncIterator[Session]:
    """Open a session over the stores of a spec; waiting in it ends when the run is told to stop.

    ways: how they are reached beyond what the spec says. retries: how often a request is tried again, None = as usual.
    """
    directory = _cache_directory()
    around = StoreEnvironment(
        spec.registries,
        os.environ,
        observer,
        stop.sleep,
        stop.asleep,
        access=ways.access if ways else {},
        daemon_host=ways.daemon_host if ways else None,
        cache_directory=directory,
        retries=retries,
    )
    async with Session(opener(around), cache=_cache(directory, observer), observer=observer) as session:
        yield session


def _cache_directory() -> Path | None:
    """Return where caches are: systemd's CACHE_DIRECTORY, else XDG's; without a home there is none."""
    home = os.environ.get("HOME")
    xdg = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    directory = os.environ.get("CACHE_DIRECTORY") or (f"{xdg}/mirrorsync" if xdg else "")
    return Path(directory) if directory else None


def _cache(directory: Path | None, observer: Observer) -> ManifestCache:
    if directory is None:
        return NoCache()
    return DiskCache(directory / _CACHE_FILE, lambda message: observer(Noticed("cache", message)))
