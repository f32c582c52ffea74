"""What a mirror remembers: its runs, and all the rest for another machine. No network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.app.memory import memory_path
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import read_file
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.events import Noticed
from mirrorsync.files.locks import FileLock
from mirrorsync.spec.model import Spec
from mirrorsync.state import Generation, Memory, PastImport, PastImports, Remembered, Run, RunTag, open_memory

_MAX_BYTES: Final = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Past:
    """One remembered run. changes: what it did to tags, if that was asked for."""

    run: Run
    changes: tuple[RunTag, ...] = ()


def read_history(
    spec: Spec, *, limit: int | None = None, changes: bool = False, environment: Environment | None = None
) -> list[Past]:
    """Return the runs of a spec, the latest first.

    limit: how many at most, None = all that are remembered. changes: also what each did to tags. Raises: UsageError if
    no run is remembered, StorageError.
    """
    with existing_memory(spec, environment) as memory:
        runs = memory.runs(limit)
        return [Past(run, tuple(memory.changes(run.number)) if changes else ()) for run in runs]


def read_imports(*, limit: int | None = None, environment: Environment | None = None) -> list[PastImport]:
    """Return the bundles that were imported on this machine, the latest first. limit: as for `read_history`.

    Raises: UsageError if no import is remembered, StorageError.
    """
    given = environment or process_environment()
    found = PastImports(given.state_directory, lambda message: given.observer(Noticed("memory", message))).every()
    if not found:
        where = f" in {given.state_directory}" if given.state_directory else ""
        remedy = "`mirrorsync bundle apply` remembers imports in STATE_DIRECTORY, else in ~/.local/state/mirrorsync"
        raise UsageError(f"no import of a bundle is remembered{where}", remedy=remedy)
    return found[:limit]


def read_generation(spec: Spec, number: int, *, environment: Environment | None = None) -> Generation:
    """Return a generation with its tags. Raises: UsageError if there is no such generation, StorageError."""
    with existing_memory(spec, environment) as memory:
        found = memory.generation(number)
        if found is None:
            known = [one.number for one in memory.generations()]
            named = f"there are 1 to {known[0]}" if known else "no generation is remembered"
            raise UsageError(f"there is no generation {number}: {named}", remedy="`mirrorsync history` shows them")
    return found


def export_state(spec: Spec, *, environment: Environment | None = None) -> Remembered:
    """Return the first sightings and the owned tags that are remembered of a spec.

    Raises: UsageError if no run is remembered, StorageError.
    """
    with existing_memory(spec, environment) as memory:
        return memory.remembered()


def import_state(spec: Spec, path: str | os.PathLike[str], *, environment: Environment | None = None) -> Remembered:
    """Add an exported state to the memory of a spec, and return what was in it.

    path: of the file, `-` for standard input. Raises: UsageError if it is not an exported state, or if nothing can be
    remembered; Locked if a run of the spec is at work; StorageError.
    """
    from mirrorsync.documents.state import read_state

    given = environment or process_environment()
    where = memory_path(spec, given)
    if where is None:
        raise UsageError("there is no directory to remember in", remedy="set STATE_DIRECTORY")
    data = sys.stdin.buffer.read(_MAX_BYTES) if os.fspath(path) == "-" else read_file(Path(path), _MAX_BYTES, "state")
    found = read_state(data, os.fspath(path))
    with FileLock(Path(spec.source), spec.source):
        memory = open_memory(where, lambda message: given.observer(Noticed("memory", message)))
        try:
            memory.merge(found)
        finally:
            memory.close()
    return found


@contextmanager
def existing_memory(spec: Spec, environment: Environment | None) -> Iterator[Memory]:
    """Open the memory of a spec. Raises: UsageError if there is none, StorageError."""
    given = environment or process_environment()
    path = memory_path(spec, given)
    if path is None or not path.exists():
        where = f" in {path.parent}" if path else ""
        raise UsageError(
            f"no run of {spec.source} is remembered{where}",
            remedy="`mirrorsync apply` remembers its runs in STATE_DIRECTORY, else in ~/.local/state/mirrorsync",
        )
    memory = open_memory(path, lambda message: given.observer(Noticed("memory", message)))
    try:
        yield memory
    finally:
        memory.close()
