"""Write a tar archive: it is staged in a hidden file next to its final path, and published by a rename when complete.

While a run writes an archive, there are two hidden files next to it: `.NAME.lock`, which is locked, and
`.NAME.incoming`, which grows. The archive itself cannot be the locked file, because it is replaced. If a killed run has
left these files, the next run that gets the lock removes them.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.errors import IntegrityError, StorageError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import WRITE_BACK_BYTES, make_directory, sync_directory, translated
from mirrorsync.files.locks import FileLock
from mirrorsync.files.tar.reader import Part
from mirrorsync.files.tar.scan import BLOCK, Member

_MODE: Final = 0o644  # in the archive
_NEW_FILE: Final = 0o666  # less the umask
_END: Final = bytes(2 * BLOCK)
# Errors of copy_file_range that mean that the kernel does not copy between these two files; then we read and write.
_NOT_BY_THE_KERNEL: Final = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class ArchiveLock:
    """The lock for writing the archive at a path, from construction until `release`.

    path: absolute; its missing parent directories are created, and a symbolic link is followed. Raises: Locked if
    another run has the lock, StorageError.
    """

    def __init__(self, path: Path) -> None:
        with translated(f"writing {path}"):
            check_replaceable(path)
            self.path = path.resolve()
            make_directory(self.path.parent)
            self._file = self.path.with_name(f".{self.path.name}.lock")
            self._lock = self._locked(str(path))
            try:
                incoming_of(self.path).unlink(missing_ok=True)
            except BaseException:
                self.release()
                raise

    def _locked(self, what: str) -> FileLock:
        while True:
            self._file.touch(_NEW_FILE)
            try:
                lock = FileLock(self._file, what)
            except StorageError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    continue  # the process that had the lock has just removed the file
                raise
            # It may also have been removed after we opened it; then other processes lock a new file.
            if lock.is_of(self._file):
                return lock
            lock.release()

    def release(self) -> None:
        """Release the lock, and remove the lock file."""
        with suppress(OSError):
            self._file.unlink()
        self._lock.release()


def check_replaceable(path: Path) -> None:
    """Raise StorageError if an archive cannot be written to a path: it is a pipe, a device or a directory.

    An archive is staged in a file, and published by a rename when it is complete. Nothing is opened: who reads from a
    pipe that this process writes waits for itself.
    """
    with translated(f"writing {path}"), suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise StorageError(
                f"{path} is not a regular file, and an archive is published by renaming it when it is complete",
                remedy="write into a file and pass that on (docker load < FILE), or copy to docker-daemon:NAME:TAG",
            )


def incoming_of(path: Path) -> Path:
    """Return the path where the archive for `path` is staged."""
    return path.with_name(f".{path.name}.incoming")


@dataclass(slots=True, eq=False)
class _Region:
    """The part of the file for one member: from the first byte of its header to the end of its last block."""

    name: str
    start: int
    header: int
    size: int
    state: str = "open"  # until it is "full", or a "hole"

    @property
    def length(self) -> int:
        return self.header + self.size + -self.size % BLOCK

    @property
    def member(self) -> Member:
        return Member(self.start + self.header, self.size)


class Filling:
    """A member that one thread is writing, in order. doing: what is done, for messages."""

    def __init__(self, descriptor: int, member: Member, doing: str) -> None:
        self.written = 0
        self._doing = doing
        self._descriptor = descriptor
        self._member = member
        self._begun = 0  # bytes whose write-back has started

    def write(self, data: bytes) -> None:
        """Write the next bytes. Raises: IntegrityError if they exceed the announced size, StorageError."""
        if self.written + len(data) > self._member.size:
            raise IntegrityError(f"there are more than the {self._member.size} bytes that were announced")
        with translated(self._doing):
            _write(self._descriptor, data, self._member.offset + self.written)
            self._advance(len(data))

    def copy(self, source: int, offset: int) -> None:
        """Copy the whole member from an open file, starting at `offset` there.

        Raises: IntegrityError if that file is too short, StorageError.
        """
        with translated(self._doing):
            self._copy(source, offset)

    def _copy(self, source: int, offset: int) -> None:
        by_kernel = True
        while left := self._member.size - self.written:
            here = self._member.offset + self.written
            count = min(left, WRITE_BACK_BYTES)
            if by_kernel:
                try:
                    moved = os.copy_file_range(source, self._descriptor, count, offset + self.written, here)
                except OSError as error:
                    if error.errno not in _NOT_BY_THE_KERNEL:
                        raise
                    by_kernel = False
                    continue
            else:
                data = os.pread(source, min(count, CHUNK_BYTES), offset + self.written)
                _write(self._descriptor, data, here)
                moved = len(data)
            if not moved:
                raise IntegrityError(f"the file ended after {self.written} of {self._member.size} bytes")
            self._advance(moved)

    def _advance(self, count: int) -> None:
        self.written += count
        if self.written - self._begun >= WRITE_BACK_BYTES:
            # DONTNEED starts the write-back of dirty pages and releases the clean ones (mm/fadvise.c).
            start = self._member.offset + self._begun
            os.posix_fadvise(self._descriptor, start, self.written - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.written


class ArchiveWriter:
    """A new archive for a path; `publish` moves it to that path, `discard` removes it.

    lock: of the path. Members may be written by several threads at a time; failed ones are not in the result. Headers
    contain no time, user or machine. Every method raises StorageError.
    """

    def __init__(self, lock: ArchiveLock) -> None:
        self._path = lock.path
        self._temporary = incoming_of(lock.path)
        self._doing = f"writing {lock.path}"
        with translated(self._doing):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._temporary, flags, _NEW_FILE)
        self._changed = threading.Condition()
        self._regions: list[_Region] = []  # in the order of the file
        self._holes: list[_Region] = []  # the regions that failed
        self._full: dict[str, _Region] = {}
        self._end = 0
        self._closed = False

    def members(self) -> dict[str, Member]:
        """Return the completed members, by name."""
        with self._changed:
            return {name: region.member for name, region in self._full.items()}

    def member(self, name: str) -> Member | None:
        """Return a completed member, None if there is none of that name."""
        region = self._full.get(name)
        return region.member if region else None

    def open(self, member: Member, offset: int = 0) -> Part:
        """Open a member for reading from `offset` on."""
        with self._changed, translated(self._doing):
            if self._closed:
                raise StorageError(f"{self._path} is already finished")
            return Part(self._descriptor, member, offset)

    def drop(self, name: str) -> None:
        """Leave a member out of the result; a missing one is ignored."""
        with self._changed:
            region = self._full.pop(name, None)
            if region is not None:
                self._leave(region)

    def directory(self, name: str) -> None:
        """Add a directory entry, for readers that expect one for each directory."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        with self._filling(name, 0, info):
            pass

    def add(self, name: str, data: bytes) -> None:
        """Add a small member."""
        with self.filling(name, len(data)) as filling:
            filling.write(data)

    def append(self, name: str, source: int, member: Member) -> None:
        """Add a member from (a part of) an open file, given by its descriptor; the kernel copies it."""
        with self.filling(name, member.size) as filling:
            filling.copy(source, member.offset)

    @contextmanager
    def filling(self, name: str, size: int) -> Iterator[Filling]:
        """Add a member of a known size, chunk by chunk. It is complete when the block ends without an exception.

        Raises: IntegrityError if the bytes written are more or fewer than that.
        """
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, _MODE
        with self._filling(name, size, info) as filling:
            yield filling

    @contextmanager
    def _filling(self, name: str, size: int, info: tarfile.TarInfo) -> Iterator[Filling]:
        header = info.tobuf(tarfile.PAX_FORMAT, "utf-8")
        region = self._reserve(name, len(header), size)
        try:
            with translated(self._doing):
                _write(self._descriptor, header, region.start)
                _write(self._descriptor, bytes(-size % BLOCK), region.member.offset + size)
            filling = Filling(self._descriptor, region.member, self._doing)
            yield filling
            if filling.written != size:
                raise IntegrityError(f"there are only {filling.written} of the {size} bytes that were announced")
        except BaseException:
            self._settle(region, "hole")
            raise
        self._settle(region, "full")

    def _reserve(self, name: str, header: int, size: int) -> _Region:
        region = _Region(name, 0, header, size)
        with self._changed:
            if self._closed:
                raise StorageError(f"{self._path} was finished before all of it was written")
            # A failed member is usually retried, and then fits where it was before.
            hole = next((one for one in self._holes if one.length == region.length), None)
            if hole is not None:
                self._holes.remove(hole)
                region.start = hole.start
                self._regions[self._regions.index(hole)] = region
            else:
                region.start = self._end
                self._end += region.length
                self._regions.append(region)
        return region

    def _settle(self, region: _Region, state: str) -> None:
        with self._changed:
            if state == "full" and region.name not in self._full:  # the first of two equal members is as good
                region.state = state
                self._full[region.name] = region
            else:
                self._leave(region)
            self._changed.notify_all()

    def _leave(self, region: _Region) -> None:
        """Make a region a hole; holes at the end of the file are cut off."""
        region.state = "hole"
        self._holes.append(region)
        while self._regions and self._regions[-1].state == "hole":
            last = self._regions.pop()
            self._holes.remove(last)
            self._end = last.start

    def publish(self) -> None:
        """Wait for members that are being written, publish the archive under its final name, durably, and close it.

        No part of it may be open for reading: members are moved into the holes that failed ones left.
        """
        with self._changed:
            self._changed.wait_for(lambda: all(region.state != "open" for region in self._regions))
            with translated(self._doing):
                self._close_holes()
                _write(self._descriptor, _END, self._end)
                os.ftruncate(self._descriptor, self._end + len(_END))
                os.fchmod(self._descriptor, self._mode())
                os.fsync(self._descriptor)
                self._temporary.rename(self._path)
                sync_directory(self._path.parent)
            self._close()

    def _mode(self) -> int:
        try:
            return stat.S_IMODE(self._path.stat().st_mode)
        except FileNotFoundError:
            return stat.S_IMODE(os.fstat(self._descriptor).st_mode)

    def _close_holes(self) -> None:
        self._regions = [region for region in self._regions if region.state == "full"]
        self._holes.clear()
        self._end = 0
        for region in self._regions:
            if region.start != self._end:
                self._move(region, self._end)
            self._end += region.length

    def _move(self, region: _Region, position: int) -> None:
        """Move a region towards the beginning of the file; chunks are copied in order, since the two may overlap."""
        for done in range(0, region.length, CHUNK_BYTES):
            count = min(CHUNK_BYTES, region.length - done)
            _write(self._descriptor, os.pread(self._descriptor, count, region.start + done), position + done)
        region.start = position

    def discard(self) -> None:
        """Remove the staged file."""
        with self._changed:
            if not self._closed:
                with suppress(OSError):
                    self._temporary.unlink()
                self._close()

    def _close(self) -> None:
        self._closed = True
        os.close(self._descriptor)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view = view[count:]
        offset += count
