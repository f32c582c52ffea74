"""The files of an OCI layout: how content gets in durably, and how it is read without trusting the directory.

A file is written under a temporary name, verified, fsynced, and renamed to its digest; the directory is fsynced
before index.json names it. So nothing half-written is ever visible, and a crash leaves only files that nothing names.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from mirrorsync.errors import ContentNotFound, StorageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
LAYOUT_VERSION: Final = "1.0.0"
# Where files grow until they are complete; a name that no other tool reads.
_INCOMING: Final = ".incoming"
# Write-back begins every so many bytes, so that the fsync at the end finds little left to do. With one fsync after
# 1 GiB the disk idles while the network works, and the network while the disk works.
_WRITE_BACK_BYTES: Final = 16 * 1024 * 1024
_MAX_SMALL_FILE: Final = 256 * 1024 * 1024  # index.json of 100,000 tags has 40 MiB
# What stands where a file is expected may be a pipe: opening one for reading waits for a writer, unless told not to.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

_REASONS: Final = {
    errno.ENOSPC: ("the disk is full", "make room there, and run again: what is complete is not copied twice"),
    errno.EDQUOT: ("the disk quota is used up", "make room there, and run again: what is complete is not copied twice"),
    errno.EFBIG: ("a file would be larger than is allowed here", "raise the file size limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "mount it writable, or choose another directory"),
    errno.EACCES: ("there is no permission", "give this user the right to write there, or choose another directory"),
    errno.EPERM: ("there is no permission", "give this user the right to write there, or choose another directory"),
}


def storage_error(error: OSError, doing: str) -> StorageError:
    """Return what a failed system call means; `doing` says what was tried, such as "writing blob x"."""
    number = error.errno or errno.EIO
    reason, remedy = _REASONS.get(number, (os.strerror(number), ""))
    return StorageError(f"{doing}: {reason}", remedy=remedy)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn OSError into StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing) from error


class LayoutFiles:
    """The directory of a layout, by its path. Methods block; those that write raise StorageError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._new_directories: set[Path] = set()

    @property
    def incoming(self) -> Path:
        """The directory where files grow; it is on the file system of the blobs."""
        return self.root / _INCOMING

    @property
    def blobs(self) -> Path:
        """The directory of all content."""
        return self.root / "blobs"

    def blob_path(self, digest: Digest) -> Path:
        """Return where content stands. A digest is valid by its type, so this is inside the layout."""
        return self.blobs / digest.algorithm / digest.encoded

    def exists(self) -> bool:
        """Tell whether there is a layout; False when the directory is absent or empty.

        Raises: StorageError when there is something else.
        """
        try:
            raw = self._read_small(LAYOUT_FILE)
        except FileNotFoundError:
            self._refuse_foreign()
            return False
        except NotADirectoryError as error:
            raise StorageError(f"{self.root} is not a directory", remedy="name a new or an empty directory") from error
        except OSError as error:
            raise storage_error(error, f"reading {self.root / LAYOUT_FILE}") from error
        try:
            version = json.loads(raw)["imageLayoutVersion"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StorageError(
                f"{self.root} is not an OCI layout: its {LAYOUT_FILE} file is damaged",
                remedy=f'write {{"imageLayoutVersion": "{LAYOUT_VERSION}"}} into it, or name a new directory',
            ) from error
        if version != LAYOUT_VERSION:
            raise StorageError(
                f"{self.root} is an OCI layout of another version than {LAYOUT_VERSION}",
                remedy="name a new directory",
            )
        return True

    def _refuse_foreign(self) -> None:
        with translated(f"reading {self.root}"), suppress(FileNotFoundError), os.scandir(self.root) as entries:
            foreign = any(entry.name not in ("lost+found", _INCOMING) for entry in entries)
            # Another run may have made it a layout since; its first file comes before all others.
            if foreign and not (self.root / LAYOUT_FILE).exists():
                raise StorageError(
                    f"{self.root} is not empty and not an OCI layout: it has no {LAYOUT_FILE} file",
                    remedy="name a new or an empty directory",
                )

    def found(self) -> None:
        """Make a directory a layout where it is none yet: one that says so and has nothing, and can be locked.

        The rest is made under the lock, so that a run that is killed at any moment leaves what the next one takes for
        a layout, and of two that begin together only one works.
        """
        with translated(f"making an OCI layout in {self.root}"):
            missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
            self.root.mkdir(parents=True, exist_ok=True)
            for path in missing:
                _sync_directory(path.parent)
            if not (self.root / LAYOUT_FILE).exists():
                self.incoming.mkdir(exist_ok=True)
                self._place(LAYOUT_FILE, json.dumps({"imageLayoutVersion": LAYOUT_VERSION}).encode(), _keep_first)

    def complete(self) -> None:
        """Make what a layout needs, and remove what a killed run left growing. Only the holder of the lock may."""
        with translated(f"making an OCI layout in {self.root}"):
            self.incoming.mkdir(exist_ok=True)
            for entry in list(self.incoming.iterdir()):
                entry.unlink(missing_ok=True)  # a run that lost the race for the lock removes its own
            self.blobs.mkdir(exist_ok=True)
            (self.blobs / "sha256").mkdir(exist_ok=True)
            # A killed run may have stored blobs whose names are not durable yet, and nobody stores them again.
            self._new_directories.update(self.blobs.iterdir())
            if not (self.root / INDEX_FILE).exists():
                empty = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
                self._place(INDEX_FILE, json.dumps(empty).encode())
            _sync_directory(self.root)

    def holds(self, content: Descriptor) -> bool:
        """Tell whether the content is there, by name and size."""
        try:
            status = self.blob_path(content.digest).lstat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == content.size

    def size(self, digest: Digest) -> int | None:
        """Return the size of content in bytes, None when it is not there."""
        try:
            status = self.blob_path(digest).lstat()
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def open(self, content: Descriptor) -> BinaryIO:
        """Open content for reading. Symbolic links are not followed: they lead out of the layout (ggcr#2306).

        Raises: ContentNotFound, StorageError.
        """
        path = self.blob_path(content.digest)
        try:
            descriptor = os.open(path, _READ | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise ContentNotFound("the layout has no such blob", reference=str(content.digest)) from error
        except OSError as error:
            raise storage_error(error, f"reading {path}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StorageError(f"{path} is not a regular file")
        return os.fdopen(descriptor, "rb", buffering=0)

    def store(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write content that is verified by its chunks (VerifiedChunks), durably; an error leaves nothing behind."""
        doing = f"writing blob {content.digest.short} to {self.root}"
        with translated(doing):
            file = tempfile.NamedTemporaryFile(dir=self.incoming, buffering=0, delete=False)  # noqa: SIM115 - renamed below
        path = Path(file.name)
        try:
            with file:
                for offset in self._grow(file, chunks, doing):
                    # DONTNEED starts the write-back of dirty pages and gives the clean ones back (mm/fadvise.c).
                    os.posix_fadvise(file.fileno(), 0, offset, os.POSIX_FADV_DONTNEED)
                with translated(doing):
                    os.fchmod(file.fileno(), 0o644)
                    os.fsync(file.fileno())
            self.adopt(content.digest, path)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    @staticmethod
    def _grow(file: Any, chunks: Iterable[bytes], doing: str) -> Iterator[int]:
        """Write the chunks, and yield the offset whenever enough is dirty to begin its write-back."""
        offset = begun = 0
        for chunk in chunks:
            view = memoryview(chunk)
            with translated(doing):
                while view:
                    view = view[file.write(view) :]
            offset += len(chunk)
            if offset - begun >= _WRITE_BACK_BYTES:
                begun = offset
                yield offset

    def adopt(self, digest: Digest, path: Path) -> None:
        """Give a complete and fsynced file its final name."""
        final = self.blob_path(digest)
        with translated(f"writing blob {digest.short} to {self.root}"):
            try:
                path.rename(final)
            except FileNotFoundError:
                final.parent.mkdir(parents=True, exist_ok=True)
                path.rename(final)
        self._new_directories.add(final.parent)

    def sync(self) -> None:
        """Make the names of all stored content durable."""
        directories, self._new_directories = self._new_directories, set()
        try:
            with translated(f"writing to {self.root}"):
                for directory in (*directories, *({self.blobs} if directories else ())):
                    _sync_directory(directory)
        except StorageError:
            self._new_directories |= directories
            raise

    def read_index(self) -> bytes | None:
        """Return the bytes of index.json, None when there is none. Raises: StorageError."""
        try:
            return self._read_small(INDEX_FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, f"reading {self.root / INDEX_FILE}") from error

    def write_index(self, data: bytes) -> None:
        """Replace index.json, after everything that it names is durable."""
        self.sync()
        with translated(f"writing {self.root / INDEX_FILE}"):
            self._place(INDEX_FILE, data)
            _sync_directory(self.root)

    def index_signature(self) -> tuple[int, int, int] | None:
        """Return what changes whenever somebody writes index.json, None when there is none."""
        try:
            status = (self.root / INDEX_FILE).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read_small(self, name: str) -> bytes:
        with os.fdopen(os.open(self.root / name, _READ), "rb") as file:
            data = file.read(_MAX_SMALL_FILE + 1)
        if len(data) > _MAX_SMALL_FILE:
            raise StorageError(f"{self.root / name} is larger than {_MAX_SMALL_FILE} bytes")
        return data

    def _place(self, name: str, data: bytes, move: Callable[[Path, Path], object] = Path.rename) -> None:
        """Write a file of the layout itself, durably, and give it its name when it is complete."""
        with tempfile.NamedTemporaryFile(dir=self.incoming, delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
                move(Path(file.name), self.root / name)
            except BaseException:
                with suppress(OSError):
                    Path(file.name).unlink()
                raise

    def close(self) -> None:
        """Remove the directory of growing files when it is empty, so that the layout holds what the spec names."""
        with suppress(OSError):
            self.incoming.rmdir()


def _keep_first(path: Path, final: Path) -> None:
    """Rename a file, unless another run was faster: its file is locked by now, and must stay the one with the name."""
    try:
        final.hardlink_to(path)
    except OSError:
        if not final.exists():
            path.rename(final)  # a file system without hard links
            return
    path.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
