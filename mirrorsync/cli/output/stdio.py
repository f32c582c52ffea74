"""Write to stdout and stderr even if they are closed, full, or a closed pipe: that must not change what a run does."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final, Literal, TextIO

import click

from mirrorsync.errors import StorageError

# Names and messages come from servers; longer lines are of no use. All output goes through `printable`, although
# untrusted text passed it on input already: forgetting it once must not be enough for an escape sequence.
LINE_LIMIT: Final = 4000

LogFormat = Literal["text", "json"]


def prepare_streams() -> None:
    """Make stdin, stdout and stderr usable."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by the parent process. Its file descriptor must not go to the next file that is opened.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - open until the end
        elif mode == "w":
            # Characters that the terminal's encoding lacks are shown as escapes.
            stream.reconfigure(errors="backslashreplace")


def release_streams() -> None:
    """Flush stdout and stderr; if that fails, do not let Python report it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _silence(stream)


def write_stderr(text: str) -> None:
    """Write a line to stderr. An error of the stream is ignored."""
    with suppress(OSError):
        click.echo(text, err=True)


def write_stdout(text: str) -> None:
    """Write a result to stdout. Raises: StorageError if it cannot be written, except to a closed pipe."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _silence(sys.stdout)  # the reader (head, less) has finished; the exit code stays the command's
    except OSError as error:
        _silence(sys.stdout)
        raise StorageError(f"the result cannot be written to stdout: {error.strerror}") from error


def _silence(stream: TextIO) -> None:
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
