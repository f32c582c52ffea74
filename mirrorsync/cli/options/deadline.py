"""The option --deadline of the verbs that write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mirrorsync.durations import seconds

R = TypeVar("R")


def deadline_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add `--deadline` to a command, which gets `deadline` in seconds, None if it was not given."""

    def read(_: click.Context, __: click.Parameter, value: str | None) -> Any:
        return None if value is None else seconds(value)

    return click.option(
        "--deadline",
        metavar="DURATION",
        callback=read,
        help="Stop in order after this time (90s, 30m, 2h): what is done stays, and the report lists the rest.",
    )(function)
