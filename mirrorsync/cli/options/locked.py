"""--locked and --lock: a run takes its images from a lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from mirrorsync.app.locking import load_locked, load_locked_of
from mirrorsync.cli.completers import complete_file
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import Spec

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class LockChoice:
    """Whether images are taken from a lock. file: "" for the one next to the spec."""

    locked: bool = False
    file: str = ""

    @property
    def words(self) -> list[str]:
        """The options as they are written."""
        return ["--lock", self.file] if self.file else ["--locked"] * self.locked

    def of(self, spec: Spec) -> Spec:
        """Return a spec, with the images of the lock if that is chosen. Raises: SpecError, UsageError, StorageError."""
        return load_locked(spec, self.file or None) if self.words else spec

    def of_plan(self, plan: Plan, spec: Spec) -> Spec:
        """Return the spec of a saved plan. Raises: as `of`."""
        return load_locked_of(plan, spec, self.file or None)


def locked_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add --locked and --lock to a command, which gets them as `lock`."""

    @wraps(function)
    def run(*words: Any, locked: bool, lock_file: str | None, **values: Any) -> R:
        return function(*words, lock=LockChoice(locked, lock_file or ""), **values)

    added = click.option(
        "--lock",
        "lock_file",
        type=click.Path(dir_okay=False, allow_dash=True),
        metavar="FILE",
        shell_complete=complete_file,
        help="As --locked, with another lock.",
    )(run)
    return click.option(
        "--locked", is_flag=True, help="Mirror exactly the images of mirror.lock, which `mirrorsync lock` writes."
    )(added)
