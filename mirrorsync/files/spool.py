"""Temporary content, in any number of pieces, in a few unnamed files: nothing is left behind if a run is killed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import translated

if TYPE_CHECKING:
    from hashlib import _Hash


class Piece(NamedTuple):
    """Content in a spool: file, start offset and size in bytes. Several threads may read it at a time."""

    file: BinaryIO
    begin: int
    size: int

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield its bytes from `offset` on. Raises: StorageError."""
        for position in range(offset, self.size, CHUNK_BYTES):
            with translated("reading a temporary file"):
                yield os.pread(self.file.fileno(), min(CHUNK_BYTES, self.size - position), self.begin + position)


class Spool:
    """Stores content from several threads; each appends to a file that no other thread writes to meanwhile.

    A file for each content would need more open files than a process may have. directory: where to create the files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: list[BinaryIO] = []
        self._free: list[BinaryIO] = []
        self._lock = threading.Lock()

    def store(self, chunks: Iterable[bytes]) -> Piece:
        """Write chunks and return where they are. An exception of the chunks passes through, and nothing is kept.

        Raises: StorageError.
        """
        doing = f"writing a temporary file to {self._directory}"
        with translated(doing):
            file = self._taken()
            begin = file.seek(0, os.SEEK_END)
        size = 0
        try:
            for chunk in chunks:
                size += len(chunk)
                with translated(doing):
                    view = memoryview(chunk)
                    while view:
                        view = view[file.write(view) :]
            return Piece(file, begin, size)
        except BaseException:
            file.truncate(begin)
            raise
        finally:
            with self._lock:
                self._free.append(file)

    def close(self) -> None:
        """Delete all content and close the files."""
        with self._lock:
            for file in self._files:
                file.close()
            self._files, self._free = [], []

    def _taken(self) -> BinaryIO:
        with self._lock:
            if self._free:
                return self._free.pop()
            file: BinaryIO = TemporaryFile(dir=self._directory, prefix="mirrorsync-", buffering=0)  # noqa: SIM115 - kept
            self._files.append(file)
            return file


def hashed(chunks: Iterable[bytes], hasher: _Hash) -> Iterator[bytes]:
    """Yield the chunks, and add each to `hasher`."""
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
