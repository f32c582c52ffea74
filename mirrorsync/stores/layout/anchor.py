"""Holding on to a directory, to notice when its path leads elsewhere: a layout must not be half made again."""

from __future__ import annotations

import os
import weakref
from pathlib import Path


class Anchor:
    """An existing directory, by a descriptor. Raises: OSError.

    While it is held, no other directory can get its number, as one that is made at the path of a deleted one may.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.release = weakref.finalize(self, os.close, self._descriptor)

    def problem(self) -> str:
        """Return what has become of the path since then: "" when it leads to the same directory."""
        try:
            found = self._path.stat()
        except OSError:
            return "it was removed or moved away while it was in use"
        same = os.path.samestat(os.fstat(self._descriptor), found)
        return "" if same else "another directory was put in its place while it was in use"
