"""From a spec's path to an open session: what the verbs that talk to stores begin with."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from mirrorsync.cli.options.access import Reach
from mirrorsync.cli.output.console import Console
from mirrorsync.cli.stop import Stop
from mirrorsync.events import Noticed, Observer
from mirrorsync.hosts import HostSettings
from mirrorsync.library import load_spec
from mirrorsync.spec.model import Spec
from mirrorsync.stores.open import StoreEnvironment, opener
from mirrorsync.sync.manifest_cache import DiskCache
from mirrorsync.sync.session import Session

T = TypeVar("T")

DEFAULT_SPEC: Final = "mirror.yaml"
_CACHE_FILE: Final = "manifests.sqlite"


def read_spec(path: str) -> Spec:
    """Read the spec at `path`, with this process's environment. Raises: SpecError, UsageError, StorageError."""
    return load_spec(path, os.environ)


def in_session(
    console: Console,
    registries: Mapping[str, HostSettings],
    work: Callable[[Session, Stop], Coroutine[Any, Any, T]],
    ways: Reach | None = None,
    retries: int | None = None,
    deadline: float | None = None,
) -> tuple[T, Stop]:
    """Run `work` with a session, show what happens meanwhile, and listen for signals; return also who listened.

    registries: settings by host. ways: how places are reached beyond that. retries: how often a request is tried again,
    None = as usual. deadline: seconds after which it is told to stop, None = never. Raises: Interrupted where `work`
    does.
    """
    stop = Stop(console.say, deadline)
    with console.watching() as observer:

        async def inside() -> T:
            directory = _cache_directory()
            around = StoreEnvironment(
                registries,
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
                return await work(session, stop)

        return stop.run(inside), stop


def asked(
    console: Console,
    registries: Mapping[str, HostSettings],
    work: Callable[[Session], Coroutine[Any, Any, T]],
    ways: Reach | None = None,
    retries: int | None = None,
) -> T:
    """Return what `work` finds out in a session; it only asks, and is given up at a signal. Raises: Interrupted."""
    return in_session(console, registries, lambda session, stop: stop.unless(work(session)), ways, retries)[0]


def _cache_directory() -> Path | None:
    """Return where caches are: systemd's CACHE_DIRECTORY, else XDG's; without a home there is none."""
    home = os.environ.get("HOME")
    xdg = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    directory = os.environ.get("CACHE_DIRECTORY") or (f"{xdg}/mirrorsync" if xdg else "")
    return Path(directory) if directory else None


def _cache(directory: Path | None, observer: Observer) -> DiskCache:
    return DiskCache(
        directory / _CACHE_FILE if directory else None, lambda message: observer(Noticed("cache", message))
    )
