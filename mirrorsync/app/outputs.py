"""Write output files. Only a regular file is replaced: a rename over /dev/null makes a file of the device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mirrorsync.app.reading import absolute
from mirrorsync.errors import StorageError
from mirrorsync.files.disk import replace_file
from mirrorsync.text import printable

STANDARD_OUTPUT: Final = "-"
_STDOUT_FD: Final = 1


def is_standard_output(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is standard output: `-`, or a name of it such as /dev/stdout."""
    if os.fspath(path) == STANDARD_OUTPUT:
        return True
    try:
        return os.path.samestat(os.stat(path), os.fstat(_STDOUT_FD))  # noqa: PTH116 - beside fstat
    except OSError:
        return False


def writable_directory(path: Path, remedy: str) -> Path:
    """Return the directory that is at an absolute path or above it already. Raises: StorageError if it is read-only."""
    there = next(one for one in (path, *path.parents) if one.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise StorageError(f"{printable(os.fspath(there))} cannot be written", remedy=remedy)
    return there


def write_output(path: str | os.PathLike[str], text: Iterable[str]) -> None:
    """Write text to a file, completely or not at all; to a device, a pipe or `-` (standard output), as it comes.

    The target of a symbolic link is replaced, and the link is kept; so is the mode of the file. Raises: StorageError.
    """
    try:
        if is_standard_output(path):
            _write_through(_STDOUT_FD, text)
        elif _is_special(path):
            _write_through(path, text)
        else:
            _replace(Path(os.path.realpath(path)), text)
    except OSError as error:
        raise StorageError(f"{printable(os.fspath(path))} cannot be written: {error.strerror}") from error


def existing_directory(output: str) -> Path | None:
    """Return the nearest directory of an output that exists already; None for standard output.

    Raises: StorageError if nothing can be written there, which otherwise would be noticed after all the work.
    """
    if output == STANDARD_OUTPUT:
        return None
    return writable_directory(absolute(output), "mount it writable, or choose another directory")


def _is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether there is something other than a regular file."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - follows links, as Path.stat does
    except FileNotFoundError:
        return False


def _write_through(target: int | str | os.PathLike[str], text: Iterable[str]) -> None:
    with open(target, "w", encoding="utf-8", closefd=target != _STDOUT_FD) as output:
        output.writelines(text)


def _replace(file: Path, text: Iterable[str]) -> None:
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else None
    replace_file(file, (part.encode() for part in text), mode=mode)
