"""Lists of images in files (`--only-from`, `--failed`), as `spec/image_list.py` reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mirrorsync.app.outputs import STANDARD_OUTPUT, write_output
from mirrorsync.app.reading import absolute, read_file
from mirrorsync.errors import GrammarError
from mirrorsync.oci.reference import Reference
from mirrorsync.problems import Problem
from mirrorsync.spec.image_list import list_lines

MAX_LIST_BYTES: Final = 16 * 1024 * 1024


def read_image_list(path: str | os.PathLike[str]) -> tuple[Reference, ...]:
    """Return the images in a list; path: `-` for standard input.

    Raises: GrammarError with the line of a word that is not a reference, UsageError, StorageError.
    """
    file = Path("/dev/stdin" if os.fspath(path) == STANDARD_OUTPUT else path)
    images = []
    for line in list_lines(read_file(file, MAX_LIST_BYTES, "list of images"), str(absolute(".")), patterns=True):
        if isinstance(line, Problem):
            raise GrammarError(f"{path}:{line.line}: {line.message}", remedy=line.remedy)
        images.append(line.reference)
    return tuple(images)


def write_image_list(path: str | os.PathLike[str], images: Iterable[str]) -> None:
    """Write a list of images, an empty file if there are none; path: as for `write_output`. Raises: StorageError."""
    write_output(path, (f"{image}\n" for image in images))
