"""Read specs, and read and write saved plans."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirrorsync.app.outputs import write_output
from mirrorsync.app.reading import absolute, read_file
from mirrorsync.errors import UsageError
from mirrorsync.spec.load import load
from mirrorsync.spec.model import Spec

if TYPE_CHECKING:
    from mirrorsync.plan.model import Plan

_MAX_SPEC_BYTES: Final = 16 * 1024 * 1024
_MAX_PLAN_BYTES: Final = 1024 * 1024 * 1024


def load_spec(path: str | os.PathLike[str], variables: Mapping[str, str] | None = None) -> Spec:
    """Read a spec.

    path: of the YAML file; paths in it are relative to its directory. variables: for `${VARIABLE}` in it; None = the
    process's. Raises: SpecError with all problems, UsageError if it does not exist, StorageError if it cannot be read.
    """
    file = absolute(path)
    text = read_file(file, _MAX_SPEC_BYTES, "spec")
    known = os.environ if variables is None else variables
    return load(text, source=str(file), environment=known, base=str(file.parent))


def save_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan as JSON (schemas/plan.schema.json); path: as for `write_output`. Raises: StorageError."""
    from mirrorsync.documents.plan import plan_text  # imported here: only saved plans need it

    write_output(path, plan_text(plan))


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a saved plan. Raises: UsageError if it is damaged or not a plan, StorageError if it cannot be read."""
    found = find_plan(path, "plan")
    if found is None:
        raise UsageError(f"{path} is not a plan", remedy="make one with `mirrorsync plan --output`")
    return found


def find_plan(path: str | os.PathLike[str], what: str = "spec") -> Plan | None:
    """Return the saved plan in a file, None if the file is not one, but for example a spec.

    what: the noun for the file in messages. Raises: UsageError if it is a damaged plan, StorageError.
    """
    from mirrorsync.documents.plan import read_plan

    return read_plan(read_file(Path(path), _MAX_PLAN_BYTES, what), str(path))
