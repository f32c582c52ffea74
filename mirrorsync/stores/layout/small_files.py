"""The two small files that every layout has, in a directory or in an archive: oci-layout and index.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from mirrorsync.errors import StorageError
from mirrorsync.files.disk import READ

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
LAYOUT_VERSION: Final = "1.0.0"
LAYOUT_CONTENT: Final = json.dumps({"imageLayoutVersion": LAYOUT_VERSION}).encode()
MAX_SMALL_FILE: Final = 256 * 1024 * 1024  # index.json of 100,000 tags has 40 MiB


def read_small(path: Path) -> bytes:
    """Return the bytes of one of these files in a directory. Raises: OSError; StorageError if it is too large."""
    with os.fdopen(os.open(path, READ), "rb") as file:
        data = file.read(MAX_SMALL_FILE + 1)
    if len(data) > MAX_SMALL_FILE:
        raise StorageError(f"{path} exceeds the limit of {MAX_SMALL_FILE} bytes")
    return data


def check_version(raw: bytes, path: str) -> None:
    """Check the content of an oci-layout file. path: of the layout, for messages. Raises: StorageError."""
    try:
        version = json.loads(raw)["imageLayoutVersion"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StorageError(
            f"{path} is not an OCI layout: its {LAYOUT_FILE} file is damaged",
            remedy=f'write {{"imageLayoutVersion": "{LAYOUT_VERSION}"}} into it, or name a new directory',
        ) from error
    if version != LAYOUT_VERSION:
        raise StorageError(
            f"{path} is an OCI layout of an unsupported version (not {LAYOUT_VERSION})", remedy="name a new directory"
        )


def no_version(path: str) -> StorageError:
    """Return the error for a layout that cannot be written, because its oci-layout file is missing."""
    return StorageError(
        f"{path} cannot be written: it has no {LAYOUT_FILE} file",
        remedy=f'add the file {LAYOUT_FILE} with {{"imageLayoutVersion": "{LAYOUT_VERSION}"}}, or name a new path',
    )
