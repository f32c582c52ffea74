"""Lists of images in files: one reference on a line, and `#` before a comment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mirrorsync.app.outputs import STANDARD_OUTPUT, write_output
from mirrorsync.app.reading import read_file, read_reference
from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.oci.reference import Reference

_MAX_BYTES: Final = 16 * 1024 * 1024


def read_image_list(path: str | os.PathLike[str]) -> tuple[Reference, ...]:
    """Return the images in a list; path: `-` for standard input.

    Raises: GrammarError with the line of a word that is not a reference, UsageError, StorageError.
    """
    file = Path("/dev/stdin" if os.fspath(path) == STANDARD_OUTPUT else path)
    data = read_file(file, _MAX_BYTES, "list of images")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a list of images: it is not UTF-8 text") from error
    images = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0] if line.lstrip().startswith("#") else line.partition(" #")[0]
        if words.strip():
            try:
                images.append(read_reference(words.strip()))
            except GrammarError as error:
                message = f"{path}:{number}: {error.message}"
                raise GrammarError(message, remedy="write one image on each line, and # before a comment") from error
    return tuple(images)


def write_image_list(path: str | os.PathLike[str], images: Iterable[str]) -> None:
    """Write a list of images, an empty file if there are none; path: as for `write_output`. Raises: StorageError."""
    write_output(path, (f"{image}\n" for image in images))
