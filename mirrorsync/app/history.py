"""What a mirror remembers of its runs. Reads the state file only: no network, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mirrorsync.app.memory import memory_path
from mirrorsync.app.process import process_environment
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.events import Noticed
from mirrorsync.spec.model import Spec
from mirrorsync.state import Memory, Run, RunTag, open_memory


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
