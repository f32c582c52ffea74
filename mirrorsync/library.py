"""mirrorsync for Python programs: load a spec, plan, apply. Blocking; call it from a thread, not from an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, StorageError, UsageError
from mirrorsync.events import Observer, ignore
from mirrorsync.files.locks import FileLock
from mirrorsync.plan.model import Plan
from mirrorsync.spec.load import load
from mirrorsync.spec.model import Spec
from mirrorsync.stores.open import opener
from mirrorsync.sync import road, saved
from mirrorsync.sync.manifest_cache import ManifestCache
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session

T = TypeVar("T")

_MAX_SPEC_BYTES = 16 * 1024 * 1024
_MAX_PLAN_BYTES = 1024 * 1024 * 1024


def load_spec(path: str | os.PathLike[str], environment: Mapping[str, str] | None = None) -> Spec:
    """Read a spec.

    path: of the YAML file; relative paths in it start from its directory. environment: what `${VARIABLE}` in it may
    name; None = the process's. Raises: SpecError with all its problems, StorageError when it cannot be read.
    """
    file = absolute(path)
    text = read_file(file, _MAX_SPEC_BYTES, "spec")
    variables = os.environ if environment is None else environment
    return load(text, source=str(file), environment=variables, base=str(file.parent))


def make_plan(
    spec: Spec,
    *,
    only: Sequence[str] = (),
    deep: bool = False,
    environment: Mapping[str, str] | None = None,
    observer: Observer = ignore,
) -> Plan:
    """Return what would have to change for the destinations to hold what `spec` wants today. Nothing is changed.

    only: globs on the source repository; the other mirrors are left out. deep: ask for every blob and manifest, instead
    of believing that a tag with the right digest is complete. environment: where credentials and proxies are looked up;
    None = the process's. observer: is called with events (mirrorsync.events), also from threads. What failed for
    single images is in `plan.failures`. Raises: UsageError when `only` matches nothing.
    """

    async def work(session: Session) -> Plan:
        return await road.make_plan(spec, session, only=only, deep=deep)

    return in_session(work, spec, environment=environment, observer=observer)


def apply_plan(
    plan: Plan, spec: Spec, *, environment: Mapping[str, str] | None = None, observer: Observer = ignore
) -> Report:
    """Do what the plan says, and return what became of every image.

    plan: just made, or loaded; it is checked again that it does what `spec` asks for and that no tag has moved.
    environment, observer: as for `make_plan`. Raises: StalePlan, Locked when another run works on the same spec or
    destination. What failed for single images is in `report.failures`.
    """

    async def work(session: Session) -> Report:
        saved.check_against(plan, spec)
        await saved.check_fresh(plan, session)
        return await apply(plan, session)

    with FileLock(Path(spec.source), spec.source):
        return in_session(work, spec, environment=environment, observer=observer)


def save_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan as JSON (schemas/plan.schema.json), whole or not at all. Raises: StorageError."""
    from mirrorsync.documents.plan import plan_text  # only a saved plan is worth its time

    file = Path(path)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as output:
            output.writelines(plan_text(plan))
        partial.rename(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{file} cannot be written: {error.strerror}") from error


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a saved plan. Raises: UsageError if it is damaged or not a plan, StorageError if it cannot be read."""
    from mirrorsync.documents.plan import read_plan

    plan = read_plan(read_file(Path(path), _MAX_PLAN_BYTES, "plan"), str(path))
    if plan is None:
        raise UsageError(f"{path} is not a plan", remedy="make one with `mirrorsync plan --output`")
    return plan


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return a path from the root on. Raises: UsageError when it starts from a directory that was removed."""
    try:
        return Path(path).absolute()
    except FileNotFoundError as error:
        raise UsageError("the current directory was removed", remedy="change to one that is there") from error


def read_file(path: Path, limit: int, what: str) -> bytes:
    """Return a file's bytes, at most `limit`. Raises: StorageError, UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise UsageError(f"there is no {what} {path}", remedy="name the file, or run this where it is") from error
    except OSError as error:
        raise StorageError(f"{what} {path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise UsageError(f"{what} {path} is larger than {limit} bytes")
    return data


def in_session(
    work: Callable[[Session], Coroutine[Any, Any, T]],
    spec: Spec,
    *,
    environment: Mapping[str, str] | None = None,
    observer: Observer = ignore,
    cache: ManifestCache | None = None,
) -> T:
    """Run `work` with a session over the stores of a spec, on an event loop of its own."""

    async def run() -> T:
        variables = os.environ if environment is None else environment
        around = Environment(spec.registries, variables, observer=observer)
        async with Session(opener(around), cache=cache, observer=observer) as session:
            return await work(session)

    return run_once(run())


def run_once(work: Awaitable[T]) -> T:
    """Run a coroutine on a fresh event loop; an error that several tasks raised together comes out as one."""

    results: list[T] = []

    async def awaited() -> None:
        asyncio.get_running_loop().set_exception_handler(_abandoned)
        # Not returned: asyncio's runner makes a text of the finished task on its way out, with all of a result in it.
        results.append(await work)

    try:
        asyncio.run(awaited())
    except BaseExceptionGroup as group:
        error = first_error(group)
        if error is None:
            raise
        raise error from group
    return results[0]


def _abandoned(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take a failure that nobody waits for: of a question that others shared, and that was given up with them."""
    if not isinstance(context.get("exception"), MirrorsyncError):
        loop.default_exception_handler(context)


def first_error(group: BaseExceptionGroup[BaseException]) -> MirrorsyncError | None:
    """Return the first of our errors among several, None when there is a bug among them."""
    ours, others = group.split(MirrorsyncError)
    error: BaseException | None = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if others is None and isinstance(error, MirrorsyncError) else None
