"""The memory of a spec's mirror: opened for one run, told what the run does, and never a reason for it to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mirrorsync.app.process import process_environment
from mirrorsync.environment import Environment
from mirrorsync.errors import StorageError
from mirrorsync.events import Noticed, Observer
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import Spec
from mirrorsync.state import Memory, open_memory, state_path
from mirrorsync.sync.remember import intended, told
from mirrorsync.sync.run.report import Report

_SUBJECT: Final = "memory"


class RunMemory:
    """The memory during one run. memory: None = there is none. warn: is told, once, if it cannot be used."""

    def __init__(self, memory: Memory | None, warn: Callable[[str], None]) -> None:
        self._memory = memory
        self._warn = warn

    def intend(self, plan: Plan) -> None:
        """Remember the tags that a plan sets, before it is applied."""
        self._try(lambda memory: memory.intend(intended(plan)))

    def record(self, report: Report) -> None:
        """Remember what a run did."""
        self._try(lambda memory: self._record(memory, report))

    def _record(self, memory: Memory, report: Report) -> None:
        first = memory.is_new
        known = memory.owned()
        found = told(report, known, memory.intended())
        memory.record(found)
        adopted = sum(owned.adopted for key, owned in found.present.items() if key not in known)
        if first and adopted:
            images = "1 image was" if adopted == 1 else f"{adopted} images were"
            self._warn(
                f"this is the first run that is remembered, and {images} at the destination before: they are adopted, "
                "not owned. If there were runs before, the state file was lost: `mirrorsync state import` restores an "
                "export"
            )

    def _try(self, work: Callable[[Memory], None]) -> None:
        if self._memory is None:
            return
        try:
            work(self._memory)
        except StorageError as error:
            self._memory = None
            self._warn(f"{error.message}; this run is not remembered")


@contextmanager
def remembering(spec: Spec, environment: Environment | None) -> Iterator[RunMemory]:
    """Open the memory of a spec while the block runs; without a directory for it, or a file of the spec, there is none.

    If it cannot be opened, that is a notice: a mirror is worth more than its history.
    """
    given = environment or process_environment()
    warn = _warner(given.observer)
    path = memory_path(spec, given)
    try:
        memory = open_memory(path, warn) if path else None
    except StorageError as error:
        warn(f"{error.message}; this run is not remembered")
        memory = None
    try:
        yield RunMemory(memory, warn)
    finally:
        if memory is not None:
            memory.close()


def memory_path(spec: Spec, environment: Environment) -> Path | None:
    """Return the path of the state file of a spec, None if nothing is remembered."""
    directory = environment.state_directory
    return state_path(directory, Path(spec.source)) if directory and Path(spec.source).is_file() else None


def _warner(observer: Observer) -> Callable[[str], None]:
    return lambda message: observer(Noticed(_SUBJECT, message))
