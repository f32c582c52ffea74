"""Files on a local disk: make content and names durable, and translate failed system calls into errors."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self
from uuid import uuid4

from mirrorsync.errors import OutOfFiles, StorageError
from mirrorsync.files.chunks import CHUNK_BYTES

# Instead of a file there may be a pipe, and opening a pipe for reading waits for a writer, unless O_NONBLOCK is set.
READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
# Write-back starts every so many bytes, so that little is left for the fsync at the end. With one fsync after 1 GiB the
# disk idles while the network works, and the network while the disk works.
WRITE_BACK_BYTES: Final = 16 * 1024 * 1024

_REASONS: Final = {
    errno.ENOSPC: ("the disk is full", "free some space, and run again: what is complete is not copied twice"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, and run again: what is complete is not copied twice"),
    errno.EFBIG: (
        "the file would exceed the size limit",
        "raise the file size limit (ulimit -f)",
    ),
    errno.EROFS: ("the file system is read-only", "mount it writable, or choose another directory"),
    errno.EACCES: ("permission denied", "give this user the right to write there, or choose another directory"),
    errno.EPERM: ("permission denied", "give this user the right to write there, or choose another directory"),
}


class Readable(Protocol):
    """Content that is open for reading, as a context manager that closes it."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` more bytes; empty at the end. Raises: OSError."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


def storage_error(error: OSError, doing: str) -> StorageError:
    """Return the error for a failed system call; `doing` says what was tried, such as "writing blob x"."""
    number = error.errno or errno.EIO
    if number in (errno.EMFILE, errno.ENFILE):
        return OutOfFiles(f"{doing}: too many open files")
    reason, remedy = _REASONS.get(number, (os.strerror(number), ""))
    return StorageError(f"{doing}: {reason}", remedy=remedy)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn OSError into StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing) from error


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents, durably. Raises: OSError."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in missing:
        sync_directory(one.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable (fsync), if its file system can do that. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of folders that a virtual machine shares (vboxsf, 9p)
            raise
    finally:
        os.close(descriptor)


def grow_file(incoming: Path, chunks: Iterable[bytes], doing: str) -> Path:
    """Write a new file in the directory `incoming` and make its content durable; return its path there.

    After an error nothing is left; exceptions of the chunks pass through. Raises: StorageError.
    """
    with translated(doing):
        path = new_file(incoming)
        file = path.open("ab", buffering=0)
    try:
        with file:
            for offset in _grow(file, chunks, doing):
                # DONTNEED starts the write-back of dirty pages and releases the clean ones (mm/fadvise.c).
                os.posix_fadvise(file.fileno(), 0, offset, os.POSIX_FADV_DONTNEED)
            with translated(doing):
                os.fsync(file.fileno())
    except BaseException:
        discard_file(path)
        raise
    return path


def replace_file(path: Path, chunks: Iterable[bytes], *, mode: int | None = None) -> None:
    """Write a small file, completely or not at all, and durably: it is renamed to its name when it is on disk.

    mode: of the file, None = as the umask says. After an error the file is as before, and nothing is left; exceptions
    of the chunks pass through. Raises: OSError.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            if mode is not None:
                with suppress(PermissionError):  # FAT and network drives have no modes to set
                    os.fchmod(file.fileno(), mode)
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        discard_file(partial)
        raise
    with suppress(PermissionError):  # of a directory that may be written, and not listed
        sync_directory(path.parent)


def new_file(directory: Path, prefix: str = "new-") -> Path:
    """Create an empty file with a unique name, whose mode follows the umask: those of tempfile are private.

    Raises: OSError.
    """
    path = directory / f"{prefix}{uuid4().hex}"
    path.touch(exist_ok=False)
    return path


def discard_file(path: Path) -> None:
    """Remove a file that is not needed; errors are ignored."""
    with suppress(OSError):
        path.unlink()


def _grow(file: Any, chunks: Iterable[bytes], doing: str) -> Iterator[int]:
    """Write the chunks, and yield the offset whenever enough bytes are dirty to start their write-back."""
    offset = begun = 0
    for chunk in chunks:
        view = memoryview(chunk)
        with translated(doing):
            while view:
                view = view[file.write(view) :]
        offset += len(chunk)
        if offset - begun >= WRITE_BACK_BYTES:
            begun = offset
            yield offset


def regular_size(path: Path) -> int | None:
    """Return the size in bytes of a regular file, None if there is no such file. Symbolic links do not count."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def reject_link(path: Path) -> None:
    """Raise StorageError if there is a symbolic link at the path: it could lead to any file of this machine."""
    if path.is_symlink():
        raise StorageError(
            f"{path} is a symbolic link, which is not followed", remedy="copy the directory with its files: cp -rL"
        )


def open_regular(path: Path, offset: int = 0) -> FileIO:
    """Open a regular file for reading from `offset` on; symbolic links are not followed.

    Raises: FileNotFoundError; StorageError for every other failure.
    """
    try:
        descriptor = os.open(path, READ | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        reject_link(path)
        raise storage_error(error, f"reading {path}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{path} is not a regular file")
    os.lseek(descriptor, offset, os.SEEK_SET)
    return FileIO(descriptor, "rb")


def read_chunks(file: Readable, doing: str) -> Iterator[bytes]:
    """Yield the rest of an open file, in chunks. Raises: StorageError, and what the file itself raises."""
    while True:
        with translated(doing):
            chunk = file.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk
