"""A layout in a tar file: it is replaced by a new archive, with the old content that is still needed."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

from mirrorsync.errors import ContentNotFound, GrammarError, StorageError
from mirrorsync.files.tar.reader import ArchiveFile, Part, Signature
from mirrorsync.files.tar.scan import Grammar
from mirrorsync.files.tar.writer import ArchiveLock, ArchiveWriter, check_replaceable
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Where
from mirrorsync.stores.layout.backend import NOTHING, Dropped, Written
from mirrorsync.stores.layout.small_files import (
    INDEX_FILE,
    LAYOUT_CONTENT,
    LAYOUT_FILE,
    MAX_SMALL_FILE,
    check_version,
    no_version,
)

_BLOBS: Final = "blobs"
# Image spec 1.1, image-layout.md and descriptor.md ("Digests"). docker save (25 and newer) adds its own manifest.json
# and repositories, so that old daemons load it.
OCI_ARCHIVE: Final = Grammar(
    "an OCI archive",
    files=re.compile(r"oci-layout|index\.json|manifest\.json|repositories|blobs/[a-z0-9]+(?:[+._-][a-z0-9]+)*/[\w=-]+"),
)


class LayoutArchive:
    """The archive of a layout, by its path: a LayoutBackend that is written as a whole.

    path: absolute. temporary: a directory for content that cannot be read in place.
    """

    flush_seconds = math.inf

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path = path
        self.address = f"oci-archive:{path}"
        self.index_path = f"{INDEX_FILE} of {path}"
        self._archive = ArchiveFile(path, OCI_ARCHIVE, temporary)
        self._lock: ArchiveLock | None = None
        self._writer: ArchiveWriter | None = None
        self._changing = threading.RLock()  # blobs are put from several threads

    def exists(self) -> bool:
        """Return whether there is an archive. Raises: Malformed, StorageError if it is not a layout."""
        if not self._archive.exists():
            return False
        version = self._archive.members().get(LAYOUT_FILE)
        if version is None and self.lacks_version():
            return True
        if version is None:
            raise StorageError(
                f"{self.path} is not an OCI archive: it has no {LAYOUT_FILE} file",
                remedy="name a new file, or read it as docker-archive: if docker wrote it",
            )
        check_version(self._archive.read(version, MAX_SMALL_FILE), str(self.path))
        return True

    def lacks_version(self) -> bool:
        """Return whether there is an index.json and blobs, but no oci-layout file."""
        members = self._archive.members()
        return (
            LAYOUT_FILE not in members
            and INDEX_FILE in members
            and any(name.startswith(f"{_BLOBS}/") for name in members)
        )

    def check_writable(self) -> None:
        """Raise StorageError for a pipe or a device, such as /dev/stdout."""
        check_replaceable(self.path)

    def lock(self) -> None:
        """Lock the path of the archive. Raises: Locked, Malformed, StorageError."""
        with self._changing:
            if self._lock is None:
                if self.exists() and self.lacks_version():
                    raise no_version(str(self.path))
                self._lock = ArchiveLock(self.path)

    def holds(self, content: Descriptor) -> bool:
        """Return whether the archive has the content, by name and size."""
        return self.size(content.digest) == content.size

    def size(self, digest: Digest) -> int | None:
        """Return the size of content in bytes, None if it is missing."""
        name, writer = _name(digest), self._writer
        member = (writer.member(name) if writer else None) or self._archive.members().get(name)
        return member.size if member else None

    def reject_link(self, digest: Digest) -> None:
        """Do nothing: links in an archive are aliases of its members."""

    def open(self, content: Descriptor, offset: int = 0) -> Part:
        """Open content for reading. Raises: ContentNotFound, Malformed, StorageError."""
        name = _name(content.digest)
        with self._changing:
            new = self._writer.member(name) if self._writer else None
            if self._writer is not None and new is not None:
                return self._writer.open(new, offset)
            member = self._archive.members().get(name)
            if member is None:
                raise ContentNotFound("the archive has no such blob", place=Where(ref=content.digest))
            return self._archive.open(member, offset)

    def store(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write content into the new archive; content of a failed write is not kept."""
        with self._started().filling(_name(content.digest), content.size) as filling:
            for chunk in chunks:
                filling.write(chunk)

    def _started(self) -> ArchiveWriter:
        """Return the new archive, with its first members."""
        with self._changing:
            if self._writer is None:
                if self._lock is None:
                    raise StorageError(f"{self.path} is not locked for writing")
                writer = ArchiveWriter(self._lock)
                self._writer = writer
                writer.add(LAYOUT_FILE, LAYOUT_CONTENT)
                writer.directory(_BLOBS)
                writer.directory(f"{_BLOBS}/sha256")
            return self._writer

    def read_index(self) -> bytes | None:
        """Return the bytes of index.json, None if there is no such file. Raises: Malformed, StorageError."""
        member = self._archive.members().get(INDEX_FILE)
        return self._archive.read(member, MAX_SMALL_FILE) if member else None

    def write_index(
        self,
        data: bytes,
        keep: Callable[[], Set[Digest] | None],
        based_on: Hashable | None = None,  # noqa: ARG002 - an archive is replaced as a whole
    ) -> Written:
        """Replace the archive by one with the new content and what is needed of the old one."""
        needed = keep()
        with self._changing:
            writer = self._started()
            # Content of an image that failed is not published either.
            for name in list(writer.members()):
                if not _is_needed(name, needed):
                    writer.drop(name)
            dropped = self._carry_over(writer, needed)
            writer.drop(INDEX_FILE)  # of an attempt that failed
            writer.add(INDEX_FILE, data)
            writer.publish()
            self._writer = None
            self._archive.close()
            return Written(self.index_signature(), dropped)

    def _carry_over(self, writer: ArchiveWriter, needed: Set[Digest] | None) -> Dropped:
        dropped, written = NOTHING, writer.members()
        for name, member in self._archive.members().items():
            if not name.startswith(f"{_BLOBS}/") or name in written:
                continue
            if not _is_needed(name, needed):
                dropped = dropped.plus(Dropped(1, member.size))
                continue
            with self._archive.open(member) as part:
                writer.append(name, part.descriptor, member)
        return dropped

    def drop(self, keep: Set[Digest]) -> Dropped:
        """Rewrite the archive without the content that is not in `keep`, if there is any."""
        index = self.read_index()
        if index is None or all(_is_needed(name, keep) for name in self._archive.members()):
            return NOTHING
        return self.write_index(index, lambda: keep).dropped

    def index_signature(self) -> Signature | None:
        """Return a signature that changes whenever the archive is replaced, None if there is no archive."""
        return self._archive.signature()

    def close(self) -> None:
        """Release the file and the lock; content that was stored and not written with an index is discarded."""
        with self._changing:
            if self._writer is not None:
                self._writer.discard()
                self._writer = None
            self._archive.close()
            if self._lock is not None:
                self._lock.release()
                self._lock = None


def _name(digest: Digest) -> str:
    return f"{_BLOBS}/{digest.algorithm}/{digest.encoded}"


def _is_needed(name: str, needed: Set[Digest] | None) -> bool:
    """Return whether a member stays: every member that is not a blob with a known digest algorithm, or is needed."""
    with suppress(GrammarError):
        directory, _, digest = name.partition("/")
        return needed is None or directory != _BLOBS or Digest(digest.replace("/", ":", 1)) in needed
    return True
