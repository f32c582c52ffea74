"""Read specs, and read and write saved plans."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mirrorsync.app.image_lists import MAX_LIST_BYTES
from mirrorsync.app.named_files import file_problems, key_problems, package_problems, signers_problems
from mirrorsync.app.outputs import write_output
from mirrorsync.app.reading import absolute, read_file
from mirrorsync.errors import StorageError, UsageError
from mirrorsync.problems import Problem, SpecError
from mirrorsync.spec.load import invalid, load
from mirrorsync.spec.model import STANDARD_INPUT, Spec
from mirrorsync.spec.yaml_source import read
from mirrorsync.text import printable

if TYPE_CHECKING:
    from mirrorsync.plan.model import Plan

FROM_STDIN: Final = "-"
# A spec of ours has it, however wrong the rest is.
_MIRRORS: Final = re.compile(rb"""^[\s{]*["']?mirrors["']?\s*:""", re.MULTILINE)
_MAX_SPEC_BYTES: Final = 16 * 1024 * 1024
_MAX_PLAN_BYTES: Final = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StandardInput:
    """What standard input had: it can be read only once."""

    text: bytes = field(repr=False)


def given(path: str) -> str | StandardInput:
    """Return a path as it is, and for `-` the bytes of standard input. Raises: StorageError."""
    return StandardInput(read_stdin(_MAX_PLAN_BYTES, "spec")) if path == FROM_STDIN else path


def read_stdin(limit: int, what: str) -> bytes:
    """Return the bytes of standard input, at most `limit`. what: their noun in messages.

    Raises: StorageError, UsageError.
    """
    try:
        text = sys.stdin.buffer.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is closed"
        raise StorageError(f"{what} in {STANDARD_INPUT} cannot be read: {reason}") from error
    if len(text) > limit:
        raise UsageError(f"{what} in {STANDARD_INPUT} is larger than {limit} bytes")
    return text


def load_spec(path: str | os.PathLike[str] | StandardInput, variables: Mapping[str, str] | None = None) -> Spec:
    """Read a spec.

    path: of the YAML file, and paths in it are relative to its directory; `-` is standard input, and the current
    directory. variables: for `${VARIABLE}` in it; None = the process's. Raises: SpecError with all problems, UsageError
    if it does not exist, StorageError if it cannot be read.
    """
    return _load(_spec_text(path), variables)


def check_spec(path: str | os.PathLike[str] | StandardInput, variables: Mapping[str, str] | None = None) -> Spec:
    """Read a spec as `load_spec`, and check that the files that it names exist and can be read.

    Raises: as `load_spec`.
    """
    found = _spec_text(path)
    spec = _load(found, variables)
    source = read(found.text)
    problems = [
        *file_problems(source, spec.registries),
        *key_problems(source, spec.mirrors),
        *signers_problems(source, spec.signers),
    ]
    if problems:
        raise invalid(found.source, problems, found.text)
    return spec


class _SpecText(NamedTuple):
    text: bytes
    source: str
    base: str


def _spec_text(path: str | os.PathLike[str] | StandardInput) -> _SpecText:
    """Return the text of a spec, its name, and the directory that its paths start from."""
    if isinstance(path, str) and path == FROM_STDIN:
        path = StandardInput(read_stdin(_MAX_SPEC_BYTES, "spec"))
    if isinstance(path, StandardInput):
        return _SpecText(path.text, STANDARD_INPUT, str(absolute(".")))
    file = absolute(path)
    return _SpecText(_read(file, _MAX_SPEC_BYTES, "spec"), str(file), str(file.parent))


def _load(found: _SpecText, variables: Mapping[str, str] | None) -> Spec:
    """Read a spec. Raises: SpecError; with one problem if it is the spec of another tool."""
    known = os.environ if variables is None else variables
    try:
        spec = load(
            found.text,
            source=found.source,
            environment=known,
            base=found.base,
            files=lambda path: read_file(Path(path), MAX_LIST_BYTES, "list of images"),
        )
    except SpecError as error:
        title = "" if _MIRRORS.search(found.text) else _tool_of(found.text)
        if not title:
            raise
        name = "-" if found.source == STANDARD_INPUT else Path(found.source).name
        remedy = f"make one of it: mirrorsync init --from {printable(name)}"
        problem = Problem(f"this is not a spec of mirrorsync, but another file: {title}", line=1, remedy=remedy)
        raise SpecError(found.source, [problem]) from error
    problems = package_problems(found.text, spec.mirrors)
    if problems:
        raise invalid(found.source, problems, found.text)
    return spec


def _tool_of(text: bytes) -> str:
    from mirrorsync.foreign.formats import tool_of  # imported here: specs of ours do not need it

    return tool_of(text)


def load_spec_of(plan: Plan, path: str | None) -> Spec:
    """Read the spec of a saved plan. path: where it is now, None for where it was when the plan was made.

    Raises: as `load_spec`; UsageError if it was read from standard input, and no path is given.
    """
    if path is None and plan.spec.path == STANDARD_INPUT:
        raise UsageError("the spec of this plan was read from standard input", remedy="name its file: --spec FILE")
    return load_spec(path or plan.spec.path)


def _read(file: Path, limit: int, what: str) -> bytes:
    """Return a file's bytes. Raises: as `read_file`."""
    try:
        return read_file(file, limit, what)
    except UsageError as error:
        if what == "spec" and not file.exists():
            raise error.with_(remedy="give the path of the file, or write one with `mirrorsync init`") from error
        raise


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


def find_plan(path: str | os.PathLike[str] | StandardInput, what: str = "spec") -> Plan | None:
    """Return the saved plan in a file, None if the file is not one, but for example a spec.

    what: the noun for the file in messages. Raises: UsageError if it is a damaged plan, StorageError.
    """
    from mirrorsync.documents.plan import read_plan

    if isinstance(path, StandardInput):
        return read_plan(path.text, STANDARD_INPUT)
    return read_plan(_read(absolute(path), _MAX_PLAN_BYTES, what), str(path))
