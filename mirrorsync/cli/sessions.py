"""Run a coroutine of `mirrorsync.app` for a command: show its events, and stop it at a signal."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from mirrorsync.app.process import process_environment
from mirrorsync.cli.options.remedies import fitting, with_fitting
from mirrorsync.cli.output.console import Console
from mirrorsync.cli.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError

T_co = TypeVar("T_co", covariant=True)

DEFAULT_SPEC: Final = "mirror.yaml"


class Work(Protocol[T_co]):
    """A coroutine function of `mirrorsync.app` with its other arguments bound."""

    def __call__(self, *, environment: Environment, stop: Stop) -> Coroutine[Any, Any, T_co]:
        """Start the work."""


def run(
    console: Console,
    work: Work[T_co],
    environment: Environment | None = None,
    stop: Stop | None = None,
    *,
    ready: bool = False,
) -> T_co:
    """Run `work` and return its result; show its events, and handle signals.

    environment: None = the process's. stop: passed if the caller needs its exit code, or a deadline. ready: as for
    `Console.watching`. Raises: Interrupted if `work` does.
    """
    stop = stop or Stop(console.notice)
    with console.watching(ready=ready) as observer:
        settings = replace(environment or process_environment(), observer=observer)
        try:
            return with_fitting(stop.run(lambda: work(environment=settings, stop=stop)))
        except MirrorsyncError as error:
            fitted = fitting(error)
            if fitted is error:
                raise
            raise fitted from error
