"""stdout and stderr as they come: closed, full, or left by their reader. None of that changes what a run does."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final, Literal, TextIO

import click

from mirrorsync.errors import StorageError

# Names and messages come from elsewhere; longer lines than this tell nobody anything. Whoever shows one sends it
# through `printable`, although foreign text was sent through it where it came in: once forgotten must not be enough.
LINE_LIMIT: Final = 4000

LogFormat = Literal["text", "json"]


def prepare_streams() -> None:
    """Make all three standard streams usable."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started us. Its number must not go to the next file that is opened.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - open until the end
        elif mode == "w":
            # A name that the terminal's encoding does not know is shown with escapes.
            stream.reconfigure(errors="backslashreplace")


def release_streams() -> None:
    """Write what is left; what cannot be written any more must not make Python complain at the end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _silence(stream)


def tell(text: str) -> None:
    """Say something on stderr. That nobody can hear it is no reason to stop."""
    with suppress(OSError):
        click.echo(text, err=True)


def give(text: str) -> None:
    """Write a result to stdout. Raises: StorageError when it cannot be written, unless the reader left."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _silence(sys.stdout)  # whoever read it (head, less) has enough; the exit code stays the command's
    except OSError as error:
        _silence(sys.stdout)
        raise StorageError(f"the result cannot be written to stdout: {error.strerror}") from error


def _silence(stream: TextIO) -> None:
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
