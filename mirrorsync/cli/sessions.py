"""The one way from a command into the engine: the work is shown, and can be told to stop."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from mirrorsync.app.process import process_environment
from mirrorsync.cli.output.console import Console
from mirrorsync.cli.stop import Stop
from mirrorsync.environment import Environment

T_co = TypeVar("T_co", covariant=True)

DEFAULT_SPEC: Final = "mirror.yaml"


class Work(Protocol[T_co]):
    """A coroutine of `mirrorsync.app` whose other arguments are given already."""

    def __call__(self, *, environment: Environment, stop: Stop) -> Coroutine[Any, Any, T_co]:
        """Begin it."""


def run(
    console: Console,
    work: Work[T_co],
    environment: Environment | None = None,
    stop: Stop | None = None,
    *,
    ready: bool = False,
) -> T_co:
    """Return what `work` returns, show what happens meanwhile, and listen for signals.

    environment: None = the process's. stop: one whose exit code is wanted, or that has a deadline. ready: as
    `Console.watching` takes it. Raises: Interrupted where `work` does.
    """
    stop = stop or Stop(console.say)
    with console.watching(ready=ready) as observer:
        around = replace(environment or process_environment(), observer=observer)
        return stop.run(lambda: work(environment=around, stop=stop))
