"""Temporary files without a name, for content that has to be read more than once: a killed run leaves none behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO, Final

# Of the size of a layer: /tmp is often in memory, /var/tmp is on disk (file-hierarchy(7)).
_DEFAULT: Final = Path("/tmp")  # noqa: S108 - compared, not written to
_ON_DISK: Final = Path("/var/tmp")  # noqa: S108 - the files have no names


def large_directory() -> Path:
    """Return the directory for large temporary files: $TMPDIR, else /var/tmp, else that of Python."""
    chosen = Path(tempfile.gettempdir())
    return _ON_DISK if chosen == _DEFAULT and os.access(_ON_DISK, os.W_OK) else chosen


def unnamed_file(directory: Path | None = None) -> IO[bytes]:
    """Open an empty file without a name. directory: None = `large_directory`. Raises: OSError."""
    return tempfile.TemporaryFile(dir=directory or large_directory())
