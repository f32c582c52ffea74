"""Hold a directory open, to detect that its path now leads elsewhere: a layout must not be recreated in part."""

from __future__ import annotations

import os
import weakref
from pathlib import Path


class Anchor:
    """An existing directory, by a descriptor. Raises: OSError.

    While it is open, no other directory can get its inode number, as a new one at the path of a deleted one could.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.release = weakref.finalize(self, os.close, self._descriptor)

    def problem(self) -> str:
        """Return what happened to the path since then, "" if it still leads to the same directory."""
        try:
            found = self._path.stat()
        except OSError:
            return "it was removed or moved while it was in use"
        same = os.path.samestat(os.fstat(self._descriptor), found)
        return "" if same else "it was replaced by another directory while it was in use"
