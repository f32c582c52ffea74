"""Files of JSON lines to which runs append, several at a time, and of which the older half is dropped some day."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from mirrorsync.files.disk import replace_file, translated

# Some thousand lines.
MOST_BYTES: Final = 1024 * 1024


def append_line(path: Path, value: Any) -> None:
    """Append a JSON value to a file as a line, durably. Raises: StorageError."""
    line = json.dumps(value, sort_keys=True).encode() + b"\n"
    with translated(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            lines = path.read_bytes().splitlines(keepends=True)
            replace_file(path, lines[len(lines) // 2 :], mode=0o600)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)  # in one call: two runs at a time each have their line
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
