"""The files of an OCI layout: write content durably, and read it without trusting the directory.

A file is written under a temporary name, verified, fsynced, and renamed to its digest; the directory is fsynced
before index.json names it. So no incomplete file is ever visible, and a crash leaves only unreferenced files.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

from mirrorsync.errors import ContentNotFound, GrammarError, StorageError, StoreChanged
from mirrorsync.files.disk import (
    discard_file,
    grow_file,
    make_directory,
    open_regular,
    regular_size,
    reject_link,
    storage_error,
    sync_directory,
    translated,
)
from mirrorsync.files.locks import FileLock
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Where
from mirrorsync.stores.layout.anchor import Anchor
from mirrorsync.stores.layout.backend import NOTHING, Dropped, Written
from mirrorsync.stores.layout.index_file import IndexFile
from mirrorsync.stores.layout.small_files import (
    INDEX_FILE,
    LAYOUT_CONTENT,
    LAYOUT_FILE,
    check_version,
    no_version,
    read_small,
)

# The directory in which files are staged; no other tool reads it.
_INCOMING: Final = ".incoming"


class LayoutFiles:
    """The directory of a layout, by its path: a LayoutBackend with a file for each blob."""

    # index.json is written at the end of a run, and this often in between: a killed run then keeps most of its tags.
    flush_seconds = 1.0

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = f"oci:{root}"
        self.index_path = str(root / INDEX_FILE)
        self._index = IndexFile(root / INDEX_FILE)
        self._new_directories: set[Path] = set()
        self._lock: FileLock | None = None
        self._anchor: Anchor | None = None  # from the moment that there is a layout
        self._staged: dict[Digest, Path] = {}
        self._locking = threading.Lock()  # blobs are put from several threads

    @property
    def incoming(self) -> Path:
        """The directory in which files are staged, on the file system of the blobs."""
        return self.root / _INCOMING

    @property
    def blobs(self) -> Path:
        """The directory of all content."""
        return self.root / "blobs"

    def blob_path(self, digest: Digest) -> Path:
        """Return the path of content. A digest is valid by its type, so this is inside the layout."""
        return self.blobs / digest.algorithm / digest.encoded

    def exists(self) -> bool:
        """Return whether there is a layout; False if the directory is absent or empty.

        Raises: StorageError if it has other content; StoreChanged if it is not the layout that it was before.
        """
        self.check()
        try:
            raw = read_small(self.root / LAYOUT_FILE)
        except FileNotFoundError:
            if self.lacks_version():
                self._open_anchor()
                return True
            self._reject_foreign()
            return False
        except NotADirectoryError as error:
            raise StorageError(f"{self.root} is not a directory", remedy="name a new or an empty directory") from error
        except OSError as error:
            raise storage_error(error, f"reading {self.root / LAYOUT_FILE}") from error
        check_version(raw, str(self.root))
        self._open_anchor()
        return True

    def lacks_version(self) -> bool:
        """Return whether there is an index.json and blobs, but no oci-layout file."""
        found = regular_size(self.root / INDEX_FILE) is not None and self.blobs.is_dir()
        # Another run may have made it a layout since; its first file comes before all others.
        return found and not (self.root / LAYOUT_FILE).exists()

    def _open_anchor(self) -> None:
        if self._anchor is None:
            with translated(f"opening {self.root}"):
                self._anchor = Anchor(self.root)

    def check(self) -> None:
        """Raise StoreChanged if the path no longer leads to the layout that was opened or locked."""
        problem = self._anchor.problem() if self._anchor else ""
        if not problem and self._lock is not None and not self._lock.is_of(self.root / LAYOUT_FILE):
            problem = f"its {LAYOUT_FILE} file was removed or replaced while it was in use"
        if problem:
            raise StoreChanged(f"the layout has changed: {problem}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Check before a write, and after a failed one, to report that as the reason."""
        self.check()
        try:
            yield
        except StorageError:
            self.check()
            raise

    def _reject_foreign(self) -> None:
        with translated(f"reading {self.root}"), suppress(FileNotFoundError), os.scandir(self.root) as entries:
            foreign = any(entry.name not in ("lost+found", _INCOMING) for entry in entries)
            # Another run may have made it a layout since; its first file comes before all others.
            if foreign and not (self.root / LAYOUT_FILE).exists():
                raise StorageError(
                    f"{self.root} is not empty and not an OCI layout: it has no {LAYOUT_FILE} file",
                    remedy="name a new or an empty directory",
                )

    def check_writable(self) -> None:
        """Do nothing: `lock` finds out whether the directory can be written."""

    def lock(self) -> None:
        """Create the layout if it does not exist, and lock it. Raises: Locked, StorageError."""
        with self._locking:
            if self._lock is not None:
                self.check()
                return
            if not self.exists():
                self._create()
                self._open_anchor()
            elif self.lacks_version():
                raise no_version(str(self.root))
            lock = FileLock(self.root / LAYOUT_FILE, str(self.root))
            try:
                self.check()
                self._complete()
            except BaseException:
                lock.release()
                raise
            self._lock = lock

    def _create(self) -> None:
        """Create the directory with its oci-layout file, if it is not a layout yet, so that it can be locked.

        The rest is created under the lock, so that a run that is killed at any moment leaves a valid layout for the
        next one, and of two runs that start together only one works.
        """
        with translated(f"making an OCI layout in {self.root}"):
            make_directory(self.root)
            if not (self.root / LAYOUT_FILE).exists():
                self.incoming.mkdir(exist_ok=True)
                self._publish(LAYOUT_FILE, LAYOUT_CONTENT, _keep_first)

    def _complete(self) -> None:
        """Create what a layout needs, and remove incomplete files of a killed run. Only the holder of the lock may."""
        with translated(f"making an OCI layout in {self.root}"):
            self.incoming.mkdir(exist_ok=True)
            for entry in list(self.incoming.iterdir()):
                entry.unlink(missing_ok=True)  # a run that did not get the lock removes its own
            self.blobs.mkdir(exist_ok=True)
            (self.blobs / "sha256").mkdir(exist_ok=True)
            # A killed run may have stored blobs whose names are not durable yet; they are not stored again.
            self._new_directories.update(self.blobs.iterdir())
            if not (self.root / INDEX_FILE).exists():
                self._index.reject_lost()
                empty = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
                self._publish(INDEX_FILE, json.dumps(empty).encode())
            sync_directory(self.root)

    def holds(self, content: Descriptor) -> bool:
        """Return whether the layout has the content, by name and size."""
        return self.size(content.digest) == content.size

    def size(self, digest: Digest) -> int | None:
        """Return the size of content in bytes, None if it is missing. Raises: StoreChanged."""
        size = regular_size(self.blob_path(digest))
        if size is None:
            self.check()
        return size

    def reject_link(self, digest: Digest) -> None:
        """Raise StorageError if content is a symbolic link, as bazel writes layouts (rules_oci#560)."""
        reject_link(self.blob_path(digest))

    def open(self, content: Descriptor, offset: int = 0) -> FileIO:
        """Open content for reading. Symbolic links are not followed: they lead out of the layout (ggcr#2306).

        Raises: ContentNotFound, StorageError.
        """
        try:
            return open_regular(self.blob_path(content.digest), offset)
        except FileNotFoundError as error:
            self.check()
            raise ContentNotFound("the layout has no such blob", place=Where(ref=content.digest)) from error

    def store(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write content that is verified by its chunks (VerifiedChunks), durably; after an error no file is left."""
        self.adopt(content.digest, self._grown(content, chunks))

    def stage(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write content as `store` does, under a temporary name: `publish` makes it visible, or `close` removes it."""
        self._staged[content.digest] = self._grown(content, chunks)

    def publish(self, digest: Digest) -> bool:
        """Publish staged content; return whether there was some. After an error no file is left."""
        path = self._staged.pop(digest, None)
        if path is not None:
            self.adopt(digest, path)
        return path is not None

    def _grown(self, content: Descriptor, chunks: Iterable[bytes]) -> Path:
        with self._writing():
            return grow_file(self.incoming, chunks, f"writing blob {content.digest.short} to {self.root}")

    def adopt(self, digest: Digest, path: Path) -> None:
        """Publish a complete and fsynced file under its final name; after an error it is removed."""
        final = self.blob_path(digest)
        try:
            with self._writing(), translated(f"writing blob {digest.short} to {self.root}"):
                final.parent.mkdir(exist_ok=True)  # for the first blob of its digest algorithm
                path.rename(final)
        except BaseException:
            discard_file(path)
            raise
        self._new_directories.add(final.parent)

    def _sync(self) -> None:
        """Make the names of all stored content durable."""
        directories, self._new_directories = self._new_directories, set()
        try:
            with translated(f"writing to {self.root}"):
                for directory in (*directories, *({self.blobs} if directories else ())):
                    sync_directory(directory)
        except StorageError:
            self._new_directories |= directories
            raise

    def read_index(self) -> bytes | None:
        """Return the bytes of index.json, None if it does not exist yet. Raises: StorageError."""
        return self._index.read(may_lack=self._lock is None)

    def index_signature(self) -> Hashable | None:
        """Return a signature that changes whenever index.json is written, None if there is no such file."""
        return self._index.signature()

    def write_index(
        self,
        data: bytes,
        keep: Callable[[], Set[Digest] | None],  # noqa: ARG002 - all content stays
        based_on: Hashable | None,
    ) -> Written:
        """Replace index.json, after all content that it names is durable. Raises: IndexChanged."""
        with self._writing():
            self._sync()
            path = grow_file(self.incoming, [data], f"writing {self.index_path}")
            try:
                with translated(f"writing {self.index_path}"):
                    return Written(self._index.replace(path, based_on))
            except BaseException:
                discard_file(path)
                raise

    def drop(self, keep: Set[Digest]) -> Dropped:
        """Remove the files of content that is not in `keep`. Files whose names are not digests stay."""
        dropped = NOTHING
        with self._writing(), translated(f"removing blobs from {self.root}"):
            for directory in list(self.blobs.iterdir()):
                for path in list(directory.iterdir()):
                    if _is_digest(directory.name, path.name) and f"{directory.name}:{path.name}" not in keep:
                        dropped = dropped.plus(Dropped(1, path.lstat().st_size))
                        path.unlink()
                sync_directory(directory)
        return dropped

    def _publish(self, name: str, data: bytes, move: Callable[[Path, Path], object] = Path.rename) -> None:
        """Write a file of the layout itself, durably, and publish it when it is complete."""
        path = grow_file(self.incoming, [data], f"writing {self.root / name}")
        try:
            move(path, self.root / name)
        except BaseException:
            discard_file(path)
            raise

    def close(self) -> None:
        """Release the lock, and remove the staging directory, so that the layout has only what the OCI spec names."""
        if self._lock is not None:
            while self._staged:
                discard_file(self._staged.popitem()[1])
            with suppress(OSError, StoreChanged):
                self.check()
                self.incoming.rmdir()  # fails if another program has a file in it
            self._lock.release()
            self._lock = None
        if self._anchor is not None:
            self._anchor.release()
            self._anchor = None
            self._index.forget()


def _is_digest(algorithm: str, encoded: str) -> bool:
    try:
        Digest(f"{algorithm}:{encoded}")
    except GrammarError:
        return False
    return True


def _keep_first(path: Path, final: Path) -> None:
    """Rename a file, unless another run was faster: its file may already be locked, and must keep the name."""
    try:
        final.hardlink_to(path)
    except OSError:
        if not final.exists():
            path.rename(final)  # a file system without hard links
            return
    path.unlink(missing_ok=True)
