"""A layout in a tar file: what is new grows beside it, and replaces it together with what is still needed."""

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
from mirrorsync.files.tar.writer import ArchiveLock, ArchiveWriter
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Where
from mirrorsync.stores.layout.files import INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE, MAX_SMALL_FILE, check_version
from mirrorsync.stores.layout.places import NOTHING, Dropped, Written

_BLOBS: Final = "blobs"
# Image spec 1.1, image-layout.md and descriptor.md ("Digests"). docker save (25 and newer) adds its own manifest.json
# and repositories, so that old daemons load it.
OCI_ARCHIVE: Final = Grammar(
    "an OCI archive",
    files=re.compile(r"oci-layout|index\.json|manifest\.json|repositories|blobs/[a-z0-9]+(?:[+._-][a-z0-9]+)*/[\w=-]+"),
    directories=re.compile(r"blobs(?:/[a-z0-9]+(?:[+._-][a-z0-9]+)*)?"),
)


class LayoutArchive:
    """The archive of a layout, by its path: a LayoutPlace that is written as a whole.

    path: absolute. temporary: a directory for what cannot be read in place.
    """

    flush_seconds = math.inf

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path = path
        self.address = f"oci-archive:{path}"
        self.index_place = f"{INDEX_FILE} of {path}"
        self._archive = ArchiveFile(path, OCI_ARCHIVE, temporary)
        self._lock: ArchiveLock | None = None
        self._writer: ArchiveWriter | None = None
        self._changing = threading.RLock()  # blobs are put from several threads

    def exists(self) -> bool:
        """Tell whether there is an archive. Raises: IntegrityError, StorageError when it holds no layout."""
        if not self._archive.exists():
            return False
        version = self._archive.members().get(LAYOUT_FILE)
        if version is None:
            raise StorageError(
                f"{self.path} is not an OCI archive: it has no {LAYOUT_FILE} file",
                remedy="name a new file, or read it as docker-archive: when docker wrote it",
            )
        check_version(self._archive.read(version, MAX_SMALL_FILE), str(self.path))
        return True

    def lock(self) -> None:
        """Lock the place of the archive. Raises: Locked, IntegrityError, StorageError."""
        with self._changing:
            if self._lock is None:
                self.exists()
                self._lock = ArchiveLock(self.path)

    def holds(self, content: Descriptor) -> bool:
        """Tell whether the content is there, by name and size."""
        return self.size(content.digest) == content.size

    def size(self, digest: Digest) -> int | None:
        """Return the size of content in bytes, None when it is not there."""
        name, writer = _name(digest), self._writer
        member = (writer.member(name) if writer else None) or self._archive.members().get(name)
        return member.size if member else None

    def open(self, content: Descriptor, offset: int = 0) -> Part:
        """Open content for reading. Raises: ContentNotFound, IntegrityError, StorageError."""
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
        """Write content into the archive that is to come; an error leaves nothing of it."""
        with self._started().filling(_name(content.digest), content.size) as filling:
            for chunk in chunks:
                filling.write(chunk)

    def _started(self) -> ArchiveWriter:
        """Return the archive that is to come, with its first members."""
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
        """Return the bytes of index.json, None when there is none. Raises: IntegrityError, StorageError."""
        member = self._archive.members().get(INDEX_FILE)
        return self._archive.read(member, MAX_SMALL_FILE) if member else None

    def write_index(
        self,
        data: bytes,
        keep: Callable[[], Set[Digest] | None],
        based_on: Hashable | None = None,  # noqa: ARG002 - an archive is replaced as a whole
    ) -> Written:
        """Replace the archive: what is new, and what is needed of the old one."""
        needed = keep()
        with self._changing:
            writer = self._started()
            # What came for an image that failed has no place in the result either.
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
        """Write the archive anew without the content that is not in `keep`, if it has such."""
        index = self.read_index()
        if index is None or all(_is_needed(name, keep) for name in self._archive.members()):
            return NOTHING
        return self.write_index(index, lambda: keep).dropped

    def index_signature(self) -> Signature | None:
        """Return what changes whenever somebody replaces the archive, None when there is none."""
        return self._archive.signature()

    def close(self) -> None:
        """Give back the file and the lock; what was stored and not written with an index is discarded."""
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
    """Tell whether a member stays: every one that is no blob by a digest that we know, and what is needed of those."""
    with suppress(GrammarError):
        directory, _, digest = name.partition("/")
        return needed is None or directory != _BLOBS or Digest(digest.replace("/", ":", 1)) in needed
    return True
