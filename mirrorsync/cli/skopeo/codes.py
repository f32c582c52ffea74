"""`--skopeo-exit-codes`, for scripts that were written for skopeo."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from mirrorsync.errors import ExitCode, NotFound

R = TypeVar("R")

NOT_FOUND: Final = ExitCode.USAGE  # skopeo's exit code; elsewhere 2 means a usage error


def skopeo_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add `--skopeo-exit-codes` to a command, which gets `skopeo_exit_codes` and returns `NOT_FOUND` itself."""
    return click.option(
        "--skopeo-exit-codes", is_flag=True, help="Exit with 2, as skopeo does, if the image is not found."
    )(function)


def skopeo_codes(function: Callable[..., R]) -> Callable[..., R]:
    """Add `--skopeo-exit-codes` to a command: exit code 2, as skopeo, instead of 1 if an image is not found.

    Goes below `@verb`, which prints the error document.
    """

    @wraps(function)
    def run(*words: Any, skopeo_exit_codes: bool, **options: Any) -> R:
        try:
            return function(*words, **options)
        except NotFound as error:
            if skopeo_exit_codes:  # the class has 1
                raise error.with_(exit_code=NOT_FOUND) from error.__cause__
            raise

    return skopeo_option(run)
