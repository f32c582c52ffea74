"""Locks between processes: two runs with the same spec or store would do work twice and race for the same tags."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from mirrorsync.errors import Locked, StorageError


class FileLock:
    """A lock on an existing file, from construction until `release`, or as a context manager.

    It is the kernel's (flock), so it ends with its process, however that ends, and leaves nothing to clean up.
    what: names the locked thing in the message. Raises: Locked at once if another process has the lock; StorageError if
    the file cannot be opened, or its file system does not support locks.
    """

    def __init__(self, path: Path, what: str) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"cannot open {path} to lock it: {os.strerror(error.errno or errno.EIO)}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise Locked(f"another run is working on {what}") from error
            reason = os.strerror(error.errno or errno.EIO)
            raise StorageError(f"cannot lock {path}: {reason}", remedy="put it on a local file system") from error

    def is_of(self, path: Path) -> bool:
        """Return whether `path` still names the locked file: it was neither removed nor replaced."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
