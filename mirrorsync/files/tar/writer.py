"""An archive that is written: it grows in a hidden file beside its target, and has its name when it is whole.

Two hidden files stand beside an archive while a run writes to it: `.NAME.lock`, which is locked, and `.NAME.incoming`,
which grows. The archive itself cannot be the locked file, because it is replaced. What a killed run left of them, the
next one that has the lock takes over and removes.
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

_MODE: Final = 0o644
_END: Final = bytes(2 * BLOCK)
# Where the kernel does not copy between two files itself, we do.
_NOT_BY_THE_KERNEL: Final = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class ArchiveLock:
    """The right to write the archive at a path, from its making until `release`.

    path: absolute; the directories above it are made, and a symbolic link is followed. Raises: Locked when another run
    has it, StorageError.
    """

    def __init__(self, path: Path) -> None:
        with translated(f"writing {path}"):
            self.path = path.resolve()
            if self.path.exists() and not stat.S_ISREG(self.path.stat().st_mode):
                raise StorageError(f"{path} is not a regular file", remedy="name a new file")
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
            self._file.touch(_MODE)
            try:
                lock = FileLock(self._file, what)
            except StorageError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    continue  # whoever had it has just removed the file
                raise
            # It may have been removed after we opened it, too: others lock another one then.
            if lock.is_of(self._file):
                return lock
            lock.release()

    def release(self) -> None:
        """Let others have it, and remove the file that was locked."""
        with suppress(OSError):
            self._file.unlink()
        self._lock.release()


def incoming_of(path: Path) -> Path:
    """Return where the archive at `path` grows."""
    return path.with_name(f".{path.name}.incoming")


@dataclass(slots=True, eq=False)
class _Region:
    """A place in the file for one member: from the first byte of its header to the end of its last block."""

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
    """A member that is being written, in order, by one thread. doing: what is done, for messages."""

    def __init__(self, descriptor: int, member: Member, doing: str) -> None:
        self.written = 0
        self._doing = doing
        self._descriptor = descriptor
        self._member = member
        self._begun = 0  # the bytes whose write-back has begun

    def write(self, data: bytes) -> None:
        """Write the next bytes. Raises: IntegrityError when they are more than was said, StorageError."""
        if self.written + len(data) > self._member.size:
            raise IntegrityError(f"there is more than the {self._member.size} bytes that were announced")
        with translated(self._doing):
            _write(self._descriptor, data, self._member.offset + self.written)
            self._advance(len(data))

    def copy(self, source: int, offset: int) -> None:
        """Copy all of it from an open file, at `offset` there.

        Raises: IntegrityError when that is too short, StorageError.
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
                raise IntegrityError(f"a file ended after {self.written} of {self._member.size} bytes")
            self._advance(moved)

    def _advance(self, count: int) -> None:
        self.written += count
        if self.written - self._begun >= WRITE_BACK_BYTES:
            # DONTNEED starts the write-back of dirty pages and gives the clean ones back (mm/fadvise.c).
            start = self._member.offset + self._begun
            os.posix_fadvise(self._descriptor, start, self.written - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.written


class ArchiveWriter:
    """A new archive for a path; `publish` gives it the path, `discard` leaves nothing of it.

    lock: of the path. Members may be written by several threads at a time; those that failed are not in the result.
    Headers tell nothing of the time, the user or the machine. Every method raises StorageError.
    """

    def __init__(self, lock: ArchiveLock) -> None:
        self._path = lock.path
        self._temporary = incoming_of(lock.path)
        self._doing = f"writing {lock.path}"
        with translated(self._doing):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._temporary, flags, _MODE)
        self._changed = threading.Condition()
        self._regions: list[_Region] = []  # in the order of the file
        self._holes: list[_Region] = []  # those of them that failed
        self._full: dict[str, _Region] = {}
        self._end = 0
        self._closed = False

    def members(self) -> dict[str, Member]:
        """Return the members that are written, by name."""
        with self._changed:
            return {name: region.member for name, region in self._full.items()}

    def member(self, name: str) -> Member | None:
        """Return a member that is written, None when there is no such one."""
        region = self._full.get(name)
        return region.member if region else None

    def open(self, member: Member, offset: int = 0) -> Part:
        """Open a member for reading from `offset` on."""
        with self._changed, translated(self._doing):
            if self._closed:
                raise StorageError(f"{self._path} is finished by now")
            return Part(self._descriptor, member, offset)

    def drop(self, name: str) -> None:
        """Leave a member out of the result; one that is not there is out already."""
        with self._changed:
            region = self._full.pop(name, None)
            if region is not None:
                self._leave(region)

    def directory(self, name: str) -> None:
        """Add a directory, which nothing needs but what expects an entry for each."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        with self._filling(name, 0, info):
            pass

    def add(self, name: str, data: bytes) -> None:
        """Add a small member."""
        with self.filling(name, len(data)) as filling:
            filling.write(data)

    def append(self, name: str, source: int, member: Member) -> None:
        """Add a member that is, or is part of, an open file (a descriptor), which the kernel copies."""
        with self.filling(name, member.size) as filling:
            filling.copy(source, member.offset)

    @contextmanager
    def filling(self, name: str, size: int) -> Iterator[Filling]:
        """Add a member of a known size, chunk by chunk. It is there when the block ends without an exception.

        Raises: IntegrityError when there were more or less bytes than that.
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
                raise IntegrityError(f"there are {filling.written} of the {size} bytes that were announced")
        except BaseException:
            self._settle(region, "hole")
            raise
        self._settle(region, "full")

    def _reserve(self, name: str, header: int, size: int) -> _Region:
        region = _Region(name, 0, header, size)
        with self._changed:
            if self._closed:
                raise StorageError(f"{self._path} was finished before all of it was written")
            # What failed is mostly tried again, and then fits where it was before.
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
        """Make a region a hole; at the end of the file there are none."""
        region.state = "hole"
        self._holes.append(region)
        while self._regions and self._regions[-1].state == "hole":
            last = self._regions.pop()
            self._holes.remove(last)
            self._end = last.start

    def publish(self) -> None:
        """Give the archive its name, durably, after the members that are being written now. It is closed after that.

        No part of it may be open for reading: members move to where others failed.
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
            return _MODE

    def _close_holes(self) -> None:
        self._regions = [region for region in self._regions if region.state == "full"]
        self._holes.clear()
        self._end = 0
        for region in self._regions:
            if region.start != self._end:
                self._move(region, self._end)
            self._end += region.length

    def _move(self, region: _Region, position: int) -> None:
        """Move a region towards the beginning of the file; where the two places overlap, chunks go in order."""
        for done in range(0, region.length, CHUNK_BYTES):
            count = min(CHUNK_BYTES, region.length - done)
            _write(self._descriptor, os.pread(self._descriptor, count, region.start + done), position + done)
        region.start = position

    def discard(self) -> None:
        """Remove what was written."""
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
