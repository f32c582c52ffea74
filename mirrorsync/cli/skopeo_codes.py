"""`--skopeo-exit-codes`, for scripts that were written for skopeo."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from mirrorsync.errors import ExitCode, NotFound

R = TypeVar("R")

NOT_FOUND: Final = ExitCode.USAGE  # skopeo's number; here it means something else


def skopeo_option(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--skopeo-exit-codes`; it gets `skopeo_exit_codes`, and says `NOT_FOUND` itself."""
    return click.option(
        "--skopeo-exit-codes", is_flag=True, help="Exit with 2, as skopeo does, if the image is not found."
    )(function)


def skopeo_codes(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--skopeo-exit-codes`, with which an image that is not there is 2 as skopeo has it, and not 1.

    It stands below `@verb`, which writes the error's document.
    """

    @wraps(function)
    def run(*words: Any, skopeo_exit_codes: bool, **options: Any) -> R:
        try:
            return function(*words, **options)
        except NotFound as error:
            if skopeo_exit_codes:  # the class says 1; only the option can tell
                raise error.with_(exit_code=NOT_FOUND) from error.__cause__
            raise

    return skopeo_option(run)
