"""What is compared by `mirrorsync diff`: locks, snapshots, saved plans and reports, and what the memory has of runs."""

from __future__ import annotations

import os
import re
from typing import Final

from mirrorsync.app.history import existing_memory, read_generation
from mirrorsync.app.reading import absolute, read_file
from mirrorsync.app.specs import FROM_STDIN, load_spec, read_stdin
from mirrorsync.documents.held import read_held
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.spec.lock import Lock
from mirrorsync.spec.lock_source import read_lock
from mirrorsync.spec.model import STANDARD_INPUT, Spec
from mirrorsync.state import Generation

_REMEMBERED: Final = re.compile(r"(run|generation):([1-9][0-9]{0,17})")
_MAX_BYTES: Final = 1024 * 1024 * 1024


def load_images(
    written: str | os.PathLike[str], spec: str | os.PathLike[str], *, environment: Environment | None = None
) -> Lock:
    """Return the images, by name and digest, that a file or the memory of a spec has.

    written: the path of a lock, a snapshot, a saved plan (what destinations have once it is applied) or a report (what
    they have after the run), `-` for standard input; or `generation:N`, `run:N` (what the mirror had after
    it). spec: the path of the spec whose memory is meant. Raises: UsageError, SpecError, StorageError.
    """
    remembered = _REMEMBERED.fullmatch(os.fspath(written))
    if remembered is not None:
        word, number = remembered[1], int(remembered[2])
        found = _HELD[word](load_spec(spec), number, environment)
        return Lock({key: owned.digest for key, owned in found.tags.items()})
    if os.fspath(written) == FROM_STDIN:
        data, source, base = read_stdin(_MAX_BYTES, "document"), STANDARD_INPUT, absolute(".")
    else:
        file = absolute(written)
        data, source, base = read_file(file, _MAX_BYTES, "file"), str(file), file.parent
    images = read_held(data, source)
    return read_lock(data, source=source, base=str(base)) if images is None else Lock(images)


def _generation(spec: Spec, number: int, environment: Environment | None) -> Generation:
    return read_generation(spec, number, environment=environment)


def _after_run(spec: Spec, number: int, environment: Environment | None) -> Generation:
    with existing_memory(spec, environment) as memory:
        runs = memory.runs(1)
        found = memory.generation_after(number)
        if not runs or runs[0].number < number:
            known = f"the last one is {runs[0].number}" if runs else "no run is remembered"
            raise UsageError(f"there is no run {number}: {known}", remedy="`mirrorsync history --json` numbers them")
        if found is None:
            raise UsageError(
                f"run {number} is not remembered, or nothing was mirrored until then",
                remedy="`mirrorsync history --json` numbers the runs",
            )
    return found


_HELD: Final = {"generation": _generation, "run": _after_run}
