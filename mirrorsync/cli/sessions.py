"""From a spec's path to an open session: what the verbs that talk to stores begin with."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

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
async def opened(spec: Spec, stop: Stop, observer: Observer) -> AsyncIterator[Session]:
    """Open a session over the stores of a spec; waiting in it ends when the run is told to stop."""
    around = StoreEnvironment(spec.registries, os.environ, observer, stop.sleep, stop.asleep)
    async with Session(opener(around), cache=_cache(observer), observer=observer) as session:
        yield session


def _cache(observer: Observer) -> ManifestCache:
    """Return the cache of manifests: systemd's CACHE_DIRECTORY, else XDG's; without a home there is none."""
    home = os.environ.get("HOME")
    xdg = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    directory = os.environ.get("CACHE_DIRECTORY") or (f"{xdg}/mirrorsync" if xdg else "")
    if not directory:
        return NoCache()
    return DiskCache(Path(directory) / _CACHE_FILE, lambda message: observer(Noticed("cache", message)))
