"""Write the parts of a bundle: each into a file under a temporary name, in order, or as a stream."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from mirrorsync.bundle.layout import END, Entry, Layout, padding
from mirrorsync.errors import StorageError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import WRITE_BACK_BYTES, translated
from mirrorsync.files.hashing import Behind
from mirrorsync.sync.bundle.reading import Contents, Slice

PARTIAL: Final = ".partial"
# Bytes up to which a thread for the hash costs more than it saves.
_INLINE_BYTES: Final = 256 * 1024


class Output(Protocol):
    """Where the bytes of a part go. All methods block."""

    def write(self, data: bytes) -> None:
        """Append bytes. Raises: StorageError."""

    def restart(self, offset: int) -> bool:
        """Remove all bytes from an offset on. False = they cannot be removed, because they were sent."""


class PartFile:
    """The file of a part, which is new. size: that it will have, for messages."""

    def __init__(self, path: Path, size: int) -> None:
        self._doing = f"writing {path.name.removesuffix(PARTIAL)} of {size} bytes to {path.parent}"
        with translated(self._doing):
            path.unlink(missing_ok=True)
            self._file = path.open("xb", buffering=0)
        self._hash = Behind(hashlib.sha256())
        self._marked = (0, hashlib.sha256())
        self._offset = self._begun = 0

    def mark(self) -> None:
        """Remember the present offset, for `restart`."""
        self._marked = (self._offset, self._hash.settled().copy())

    def write(self, data: bytes) -> None:
        """Append bytes. Raises: StorageError."""
        with translated(self._doing):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        if len(data) > _INLINE_BYTES:
            self._hash.update(data)
        else:
            self._hash.settled().update(data)
        self._offset += len(data)
        if self._offset - self._begun >= WRITE_BACK_BYTES:
            # Starts the write-back of dirty pages and releases the clean ones, as `files.disk.grow_file` does.
            os.posix_fadvise(self._file.fileno(), 0, self._offset, os.POSIX_FADV_DONTNEED)
            self._begun = self._offset

    def restart(self, offset: int) -> bool:
        """Remove all bytes from the marked offset on."""
        marked, hasher = self._marked
        if offset != marked:
            return False
        with translated(self._doing):
            self._file.seek(offset)
            self._file.truncate()
        self._hash.end()
        self._hash, self._offset = Behind(hasher.copy()), offset
        self._begun = min(self._begun, offset)
        return True

    def finish(self) -> str:
        """Make the file durable and close it; return the hex SHA-256 of its bytes. Raises: StorageError."""
        with translated(self._doing):
            os.fsync(self._file.fileno())
            self._file.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file, whatever is in it."""
        self._hash.end()
        self._file.close()


class PartStream:
    """A part that is sent as it is made: to standard output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0

    def mark(self) -> None:
        """Do nothing."""

    def write(self, data: bytes) -> None:
        """Send bytes. Raises: StorageError, also if the reader has ended."""
        with translated("writing the part to standard output"):
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._offset += len(data)

    def restart(self, offset: int) -> bool:
        """Return whether nothing was sent since."""
        return offset == self._offset


class PartWriter:
    """Writes the members of one part, with content from its sources."""

    def __init__(self, contents: Contents, output: PartFile | PartStream) -> None:
        self._contents = contents
        self._output = output

    async def write(self, layout: Layout, known: Mapping[str, Slice]) -> None:
        """Write all of a part. known: the content of members by name. Raises: MirrorsyncError."""
        small = bytearray()
        async for entry, data in self._contents.ahead(layout.entries, known):
            if data is None:
                await self._flush(small)
                part = known[entry.member.name]
                await self._contents.retried(part.one.digest, self._streaming(entry, part))
                continue
            small += entry.header + data + padding(entry.member.size)
            if len(small) >= CHUNK_BYTES:
                await self._flush(small)
        await self._flush(small + END)

    async def _flush(self, small: bytearray) -> None:
        """Write what has gathered: to wait for a thread takes longer than to write a few KiB."""
        data = bytes(small)
        small.clear()
        await asyncio.to_thread(self._output.write, data)

    def _streaming(self, entry: Entry, part: Slice) -> Callable[[], asyncio.Future[None]]:
        self._output.mark()
        loop = asyncio.get_running_loop()
        return lambda: loop.run_in_executor(None, self._stream, entry, part)

    def _stream(self, entry: Entry, part: Slice) -> None:
        if not self._output.restart(entry.offset):
            raise StorageError(
                "a blob broke off after a part of it was sent, and what was sent cannot be taken back",
                remedy="run again; with --output DIR a blob that breaks off is read again",
            )
        self._output.write(entry.header)
        _copy(self._contents.stream(part), self._output)
        self._output.write(padding(entry.member.size))


def _copy(chunks: Iterable[bytes], output: Output) -> None:
    for chunk in chunks:
        output.write(chunk)
