"""index.json in a directory: other programs write it, too, some of them in place."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path

from mirrorsync.errors import StoreChanged
from mirrorsync.files.disk import storage_error, sync_directory
from mirrorsync.stores.layout.backend import IndexChanged
from mirrorsync.stores.layout.small_files import INDEX_FILE, MAX_SMALL_FILE, read_small


class IndexFile:
    """The index.json of one layout. Once it was read, it may not be missing until `forget`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = False

    def read(self, *, may_lack: bool) -> bytes | None:
        """Return its bytes, None if it does not exist yet.

        may_lack: whether it may be missing. Raises: StoreChanged if it may not; StorageError.
        """
        try:
            data = read_small(self._path)
        except FileNotFoundError:
            if self._seen or not may_lack:
                raise self._lost() from None
            return None
        except OSError as error:
            raise storage_error(error, f"reading {self._path}") from error
        self._seen = True
        return data

    def reject_lost(self) -> None:
        """Raise StoreChanged if the file, which is missing, was there before."""
        if self._seen:
            raise self._lost()

    def _lost(self) -> StoreChanged:
        return StoreChanged(
            f"{INDEX_FILE} was removed while the layout was in use",
            remedy="restore it, or mirror into a new directory",
        )

    def signature(self) -> Hashable | None:
        """Return a signature that changes whenever the file is written, None if there is no such file."""
        try:
            return _signature(self._path.stat())
        except OSError:
            return None

    def replace(self, staged: Path, based_on: Hashable | None) -> Hashable:
        """Publish a complete and fsynced file under its name; return its signature.

        based_on: the signature of the file that it is based on. Raises: IndexChanged, OSError.
        """
        ours = _signature(staged.stat())
        if self.signature() != based_on:
            raise IndexChanged
        with self._path.open("rb") as before:
            staged.rename(self._path)
            # Other tools write it in place (containers/image does): into the file that was just replaced.
            if _signature(os.fstat(before.fileno())) != based_on:
                raise IndexChanged(before.read(MAX_SMALL_FILE), ours)
        sync_directory(self._path.parent)
        return ours

    def forget(self) -> None:
        """Let the file be missing again: the layout was closed."""
        self._seen = False


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size
