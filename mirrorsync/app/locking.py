"""Locks and snapshots: which digest each image of a spec, or of a location, has.

environment: None = the process's. stop: stops the work, which then raises Interrupted; None = it is not stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mirrorsync.app.memory import looking_back, remembering
from mirrorsync.app.outputs import STANDARD_OUTPUT, write_output
from mirrorsync.app.reading import absolute, read_file, read_scope
from mirrorsync.app.session import query
from mirrorsync.app.specs import FROM_STDIN, read_stdin
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure, Plan
from mirrorsync.spec.lock import Lock, LockChange, Name, changes, kept, lock_text
from mirrorsync.spec.lock_source import MAX_BYTES, read_lock
from mirrorsync.spec.locked import locked
from mirrorsync.spec.model import STANDARD_INPUT, Mirror, Spec
from mirrorsync.sync import road
from mirrorsync.sync.locking import Resolved, resolve_for_lock, resolve_location
from mirrorsync.sync.verify.scope import Scope
from mirrorsync.text import printable

_SUFFIX: Final = ".lock"
NO_LOCK: Final = Lock({})


@dataclass(frozen=True, slots=True)
class Locking:
    """A new lock, and how it was made.

    changes: since the old one. waiting: images that `min_age` keeps out for now, with the reason. failures: what could
    not be resolved; `kept` of its images are still in the lock as they were.
    """

    lock: Lock
    changes: tuple[LockChange, ...] = ()
    waiting: Mapping[Name, str] | None = None
    failures: tuple[Failure, ...] = ()
    kept: int = 0


async def make_lock(
    spec: Spec,
    old: Lock = NO_LOCK,
    *,
    update: Sequence[str] = (),
    check: bool = False,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Locking:
    """Return the lock of what `spec` wants now. Only sources are contacted.

    old: the lock until now. update: globs on the source repository; if given, the images of other sources stay as they
    are. check: it is only compared, and first sightings are not remembered. What fails, and what its source has dropped
    and that is acknowledged, stays as it is in `old`.
    Raises: UsageError if `update` matches nothing.
    """
    mirrors = road.select(spec, update)
    with (looking_back if check else remembering)(spec, environment) as memory:
        found = await query(
            lambda session: resolve_for_lock(mirrors, session, old, memory),
            environment,
            stop,
            spec.registries,
            signers=spec.signers,
        )
    lock = new_lock(old, found, mirrors, whole=not update)
    return Locking(lock, changes(old, lock), found.waiting, found.failures, len(_kept(old, found)))


def new_lock(old: Lock, found: Resolved, mirrors: Iterable[Mirror], *, whole: bool) -> Lock:
    """Return a lock with the images that were found for some mirrors. whole: those of others are left out."""
    others = {} if whole else {name: one for name, one in old.images.items() if not _is_of(name[0], mirrors)}
    waiting = {name: old.images[name] for name in found.waiting if name in old.images}
    return Lock({**others, **_kept(old, found), **waiting, **found.images})


def _kept(old: Lock, found: Resolved) -> dict[Name, Digest]:
    """Return the images that stay as they were: what the sources have now is not known, or is known to be gone."""
    failures = (*found.failures, *found.dropped)
    lost = [(failure.source, failure.ref) for failure in failures if failure.source is not None]
    return {name: digest for name, digest in kept(old, lost).items() if name not in found.images}


def _is_of(location: Location, mirrors: Iterable[Mirror]) -> bool:
    return any(mirror.covers(location) for mirror in mirrors)


async def make_snapshot(
    scope: str | Scope, *, environment: Environment | None = None, stop: Stop | None = None
) -> Locking:
    """Return the images that a location has now, as a lock.

    scope: as for `verify_location`. Raises: GrammarError; UsageError if it is not a location; NotFound if it has no
    images; Denied if a registry does not list its repositories.
    """
    read = read_scope(scope) if isinstance(scope, str) else scope
    if read is None:
        raise UsageError(
            f"{printable(str(scope))} is not a location", remedy="write host/repository, host/prefix/, oci:DIR..."
        )
    found = await query(lambda session: resolve_location(session, read), environment, stop)
    lock = Lock(found.images)
    return Locking(lock, changes(NO_LOCK, lock), None, found.failures)


def lock_path(spec: Spec) -> Path:
    """Return where the lock of a spec is: `mirror.lock` next to `mirror.yaml`. Raises: UsageError."""
    if spec.source == STANDARD_INPUT:
        raise UsageError("a spec from standard input has no lock next to it", remedy="name the file of the lock")
    return Path(spec.source).with_suffix(_SUFFIX)


def load_lock(path: str | os.PathLike[str]) -> Lock:
    """Read a lock or a snapshot; `-` is standard input. Raises: SpecError, UsageError, StorageError."""
    if os.fspath(path) == FROM_STDIN:
        return read_lock(read_stdin(MAX_BYTES, "lock"), source=STANDARD_INPUT, base=str(absolute(".")))
    file = absolute(path)
    try:
        text = read_file(file, MAX_BYTES, "lock")
    except UsageError as error:
        if file.exists():
            raise
        raise error.with_(remedy="write it with `mirrorsync lock`") from error
    return read_lock(text, source=str(file), base=str(file.parent))


def load_locked(spec: Spec, path: str | os.PathLike[str] | None = None) -> Spec:
    """Return a spec with exactly the images of its lock. path: of another lock. Raises: as `load_lock`."""
    return locked(spec, load_lock(lock_path(spec) if path is None else path))


def save_lock(lock: Lock, path: str | os.PathLike[str], kind: Literal["spec", "snapshot"]) -> None:
    """Write a lock; path: as for `write_output`. Raises: StorageError."""
    base = "" if os.fspath(path) == STANDARD_OUTPUT else str(absolute(path).parent)
    write_output(path, lock_text(lock, kind, base))


def compare_locks(old: Lock, new: Lock) -> tuple[LockChange, ...]:
    """Return the images that differ, sorted."""
    return changes(old, new)


def load_locked_of(plan: Plan, spec: Spec, path: str | os.PathLike[str] | None = None) -> Spec:
    """Return the spec of a saved plan, with the images of the lock that the plan was made with.

    path: of the lock, if it has been moved since. Raises: as `load_lock`; UsageError if the plan was made without one.
    """
    stamp = plan.spec.lock
    if stamp is None and path is not None:
        raise UsageError("the plan was made without a lock", remedy="make one with `mirrorsync plan --locked`")
    if stamp is None:
        return spec
    if path is None and stamp.path == STANDARD_INPUT:
        raise UsageError("the lock of this plan was read from standard input", remedy="name its file: --lock FILE")
    return load_locked(spec, path or stamp.path)
