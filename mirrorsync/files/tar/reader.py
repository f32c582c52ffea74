"""Read a tar archive: it is opened and scanned once, on first use; members are then read in place, by their offsets.

Input that is not a regular file (a pipe such as /dev/stdin), or is compressed as a whole (`docker save app | gzip`,
also xz, bzip2 and zstd), is first spooled into an unnamed temporary file, a chunk at a time.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import BinaryIO, Final, Self

from isal import igzip, igzip_lib

from mirrorsync.errors import Malformed, StorageError, StoreChanged
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import translated
from mirrorsync.files.tar.scan import Grammar, Member, scan
from mirrorsync.files.unpack import MAGIC_BYTES, compression_of, unpacked

# Compressions that are not read, by their magic bytes: the name, and the command that decompresses.
_UNREAD: Final = {b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"), b"\x5d\0\0": ("lzma", "xz -d")}

# Changes whenever a file is replaced or written: inode, mtime in ns, size in bytes.
Signature = tuple[int, int, int]


class Part:
    """A member of an open archive, for one thread that reads it in order; it has its own file descriptor.

    descriptor: of the archive; it is duplicated. member: what to read, from `offset` bytes on.
    """

    def __init__(self, descriptor: int, member: Member, offset: int = 0) -> None:
        self._position = member.offset + offset
        self._end = member.offset + member.size
        self.descriptor = os.dup(descriptor)

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; empty at the end. Raises: StoreChanged if the file has become shorter."""
        size = min(size, self._end - self._position)
        if size <= 0:
            return b""
        data = os.pread(self.descriptor, size, self._position)
        if not data:
            raise StoreChanged("the archive was truncated while it was read")
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the file descriptor."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()


class ArchiveFile:
    """The archive at a path. The file is opened by the first method call, which blocks until all headers are read.

    path: absolute. grammar: which members it may have. temporary: an existing directory, for spooled content.
    Every method may be called from any thread, and raises Malformed for an archive that breaks the grammar, and
    StorageError for one that cannot be read.
    """

    def __init__(self, path: Path, grammar: Grammar, temporary: Path) -> None:
        self.path = path
        self._grammar = grammar
        self._temporary = temporary
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._members: Mapping[str, Member] = {}
        self._signature: Signature | None = None
        self._seekable = True  # a pipe can be read only once

    def exists(self) -> bool:
        """Return whether there is an archive at the path; False if there is no file, or an empty one (from mktemp)."""
        with self._lock:
            return self._opened()

    def members(self) -> Mapping[str, Member]:
        """Return the regular files in it by name; empty if there is no archive."""
        with self._lock:
            self._opened()
            return self._members

    def open(self, member: Member, offset: int = 0) -> Part:
        """Open a member for reading from `offset` on."""
        with self._lock, translated(f"reading {self.path}"):
            if not self._opened() or self._file is None:
                raise StorageError(f"{self.path} is gone")
            return Part(self._file.fileno(), member, offset)

    def read(self, member: Member, limit: int) -> bytes:
        """Return a small member, whole. Raises: Malformed also if it has more than `limit` bytes."""
        if member.size > limit:
            raise Malformed(f"{self.path}: member is {member.size} bytes; the limit is {limit}")
        with self.open(member) as part, translated(f"reading {self.path}"):
            data = b""
            while more := part.read(member.size - len(data)):
                data += more
        return data

    def signature(self) -> Signature | None:
        """Return the archive's signature, which changes whenever the archive does; None if there is no archive.

        A file that was replaced or written since it was opened is opened again by the next call.
        """
        with self._lock:
            if self._file is not None and self._seekable and self._signature != signature_of(self.path):
                self._forget()
            return self._signature if self._opened() else None

    def close(self) -> None:
        """Close the file. Open parts stay open; the next call opens the path again."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._members, self._signature = None, {}, None

    def _opened(self) -> bool:
        if self._file is None:
            with translated(f"reading {self.path}"):
                try:
                    file: BinaryIO = self.path.open("rb", buffering=0)
                except FileNotFoundError:
                    return False
                try:
                    if _is_empty(file):
                        file.close()
                        return False
                    self._take(file)
                except BaseException:
                    file.close()
                    raise
        return True

    def has_members(self, grammar: Grammar) -> bool:
        """Return whether the archive has members of another grammar, to say what it is instead of what it should be."""
        with self._lock, suppress(Malformed):
            return self._opened() and self._file is not None and bool(scan(self._file, grammar))
        return False

    def _take(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        self._seekable = stat.S_ISREG(status.st_mode)
        spooled = file if self._seekable else self._spool(_chunks(file))
        try:
            if compression := compression_of(_start(spooled)):
                packed, spooled = spooled, self._spool(self._unpacked(spooled, compression))
                packed.close()
            self._refuse(_start(spooled))
            try:
                self._members = scan(spooled, self._grammar)
            except Malformed as error:
                raise error.with_(message=f"{self.path}: {error.message}") from error.__cause__
        except BaseException:
            spooled.close()
            raise
        if spooled is not file:
            file.close()
        self._file = spooled
        self._signature = status.st_ino, status.st_mtime_ns, status.st_size

    def _refuse(self, start: bytes) -> None:
        if not start:
            raise StorageError(f"{self.path} is empty", remedy="remove it, or name another file")
        if again := compression_of(start):
            raise StorageError(f"{self.path} is compressed twice, also with {again}", remedy="unpack it first")
        for magic, (name, program) in _UNREAD.items():
            if start.startswith(magic):
                raise StorageError(f"{self.path} is compressed with {name}", remedy=f"unpack it first: {program}")

    def _spool(self, chunks: Iterator[bytes]) -> BinaryIO:
        with translated(f"unpacking {self.path} into {self._temporary}"):
            spool = TemporaryFile(dir=self._temporary, prefix="mirrorsync-", buffering=0)  # noqa: SIM115 - returned
            try:
                for chunk in chunks:
                    view = memoryview(chunk)
                    while view:
                        view = view[spool.write(view) :]
            except BaseException:
                spool.close()
                raise
            return spool

    def _unpacked(self, file: BinaryIO, compression: str) -> Iterator[bytes]:
        file.seek(0)
        if compression != "gzip":
            yield from unpacked(_chunks(file), compression, str(self.path))
            return
        try:
            with igzip.IGzipFile(fileobj=file, mode="rb") as unpacking:  # type: ignore[no-untyped-call]  # isal's stub
                yield from _chunks(unpacking)
        except (EOFError, igzip_lib.IsalError, igzip.BadGzipFile) as error:  # type: ignore[misc]  # isal's stub
            raise Malformed(f"{self.path} is damaged gzip data: {error}") from error


def _is_empty(file: BinaryIO) -> bool:
    status = os.fstat(file.fileno())
    return stat.S_ISREG(status.st_mode) and not status.st_size


def _start(file: BinaryIO) -> bytes:
    return os.pread(file.fileno(), MAGIC_BYTES, 0)


def signature_of(path: Path) -> Signature | None:
    """Return the signature of a file, which changes whenever it is written or replaced; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _chunks(file: BinaryIO | igzip.IGzipFile) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
