"""From a spec's path to an open session: what the verbs that talk to stores begin with."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from mirrorsync.cli.output.console import Console
from mirrorsync.cli.stop import Stop
from mirrorsync.environment import Clock, Environment
from mirrorsync.events import Noticed, Observer
from mirrorsync.library import load_spec
from mirrorsync.spec.model import Spec
from mirrorsync.stores.open import opener
from mirrorsync.sync.manifest_cache import DiskCache
from mirrorsync.sync.session import Session

T = TypeVar("T")

DEFAULT_SPEC: Final = "mirror.yaml"
_CACHE_FILE: Final = "manifests.sqlite"


def read_spec(path: str) -> Spec:
    """Read the spec at `path`, with this process's environment. Raises: SpecError, UsageError, StorageError."""
    return load_spec(path, os.environ)


def environment_for(spec: Spec) -> Environment:
    """Return the environment of a command that works on a spec."""
    return Environment(spec.registries, os.environ)


def in_session(
    console: Console,
    environment: Environment,
    work: Callable[[Session, Stop], Coroutine[Any, Any, T]],
    deadline: float | None = None,
) -> tuple[T, Stop]:
    """Run `work` with a session, show what happens meanwhile, and listen for signals; return also who listened.

    deadline: seconds after which it is told to stop, None = never. Raises: Interrupted where `work` does.
    """
    stop = Stop(console.say, deadline)
    with console.watching() as observer:

        async def inside() -> T:
            directory = _cache_directory()
            clock = Clock(sleep=stop.sleep, asleep=stop.asleep)
            around = replace(environment, observer=observer, clock=clock, cache_directory=directory)
            async with Session(opener(around), cache=_cache(directory, observer), observer=observer) as session:
                return await work(session, stop)

        return stop.run(inside), stop


def asked(console: Console, environment: Environment, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
    """Return what `work` finds out in a session; it only asks, and is given up at a signal. Raises: Interrupted."""
    return in_session(console, environment, lambda session, stop: stop.unless(work(session)))[0]


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
