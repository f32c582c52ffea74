"""Manifests on disk: they are immutable, so each is fetched only once, in this run and later ones.

Also the time at which an image says it was created, which would cost its config.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from mirrorsync.errors import IntegrityError, Malformed
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest

_SCHEMA = """
CREATE TABLE IF NOT EXISTS manifests (digest TEXT PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS created (digest TEXT PRIMARY KEY, time TEXT NOT NULL, seal TEXT NOT NULL) WITHOUT ROWID;
"""
_AT_ONCE: Final = 500  # values of one query; SQLite allowed 999 for long


class ManifestCache(Protocol):
    """Remembers manifests by digest, and when images were created."""

    def get(self, content: Descriptor) -> Manifest | None:
        """Return the manifest, verified, or None."""

    def find(self, digest: Digest) -> Manifest | None:
        """Return a manifest of which only the digest is known, verified, or None."""

    def add(self, manifest: Manifest) -> None:
        """Remember a manifest."""

    def created(self, digests: Collection[Digest]) -> Mapping[Digest, str]:
        """Return when images say they were created, "" if one does not say; without those of which it is not known."""

    def add_created(self, digest: Digest, time: str) -> None:
        """Remember when an image says it was created."""

    def close(self) -> None:
        """Write all that was added."""


class DiskCache:
    """A SQLite file of manifests. It is a hint: a damaged file makes a run slower, never wrong, and never stops it.

    One file and no fsync: manifests that a crash loses are fetched again, and damaged ones do not match their digest.
    """

    def __init__(self, path: Path | None, warn: Callable[[str], None]) -> None:
        """Open or create the file at `path`; `warn` is called once if it cannot be used.

        path: None = a temporary file that is removed by `close`, and created only for more than a few MiB of manifests.
        A temporary file is also the fallback if `path` cannot be used.
        """
        self._warn = warn
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> None:
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite's name of a temporary database on disk is empty (sqlite.org/inmemorydb.html).
            self._connection = sqlite3.connect(self._path or "", timeout=1, isolation_level="DEFERRED")
            journal = "OFF" if self._path is None else "WAL"
            self._connection.executescript(f"PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; {_SCHEMA};")
        except (sqlite3.Error, OSError) as error:
            self._fall_back(error)

    def get(self, content: Descriptor) -> Manifest | None:
        """Return the manifest, verified against its descriptor, or None."""
        return self._read(content.digest, content.media_type, content.size)

    def find(self, digest: Digest) -> Manifest | None:
        """Return a manifest of which only the digest is known, verified, or None."""
        return self._read(digest, "", None)

    def _read(self, digest: Digest, media_type: str, size: int | None) -> Manifest | None:
        if self._connection is None:
            return None
        try:
            row = self._connection.execute("SELECT raw FROM manifests WHERE digest = ?", (digest,)).fetchone()
            return Manifest.parse(row[0], media_type, digest=digest, size=size) if row else None
        except sqlite3.Error as error:
            self._fall_back(error)
        except (IntegrityError, Malformed, TypeError):
            pass  # a damaged row is ignored: the manifest is fetched again and replaces it
        return None

    def add(self, manifest: Manifest) -> None:
        """Remember a manifest; it is on disk after `close`."""
        self._insert("manifests", manifest.digest, manifest.raw)

    def created(self, digests: Collection[Digest]) -> Mapping[Digest, str]:
        """Return when images say they were created, "" if one does not say; without those of which it is not known."""
        asked, found = iter(digests), dict[Digest, str]()
        try:
            while self._connection is not None and (some := {digest: digest for digest in islice(asked, _AT_ONCE)}):
                marks = ", ".join("?" * len(some))
                sql = f"SELECT digest, time, seal FROM created WHERE digest IN ({marks})"  # noqa: S608 - ours
                rows = self._connection.execute(sql, tuple(some))
                found |= {some[digest]: time for digest, time, seal in rows if seal == _seal(digest, time)}
        except sqlite3.Error as error:
            self._fall_back(error)
        return found

    def add_created(self, digest: Digest, time: str) -> None:
        """Remember when an image says it was created; it is on disk after `close`."""
        self._insert("created", digest, time, _seal(digest, time))

    def _insert(self, table: str, *values: str | bytes) -> None:
        if self._connection is None:
            return
        marks = ", ".join("?" * len(values))
        try:
            self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)  # noqa: S608 - ours
        except sqlite3.Error as error:
            self._fall_back(error)

    def close(self) -> None:
        """Commit and close the file."""
        if self._connection is None:
            return
        try:
            self._connection.commit()
            self._connection.close()
        except sqlite3.Error as error:
            self._path = None  # no fallback is needed any more
            self._fall_back(error)
        self._connection = None

    def _fall_back(self, error: Exception) -> None:
        """Fall back to a temporary file, or to no cache if that cannot be used either."""
        self._warn(f"the manifest cache cannot be used, and is skipped: {error}")
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._path is not None:
            self._path = None
            self._open()


def _seal(digest: str, time: object) -> str:
    """Return what shows that a row is not damaged: unlike a manifest it does not match its digest by itself."""
    return str(Digest.of(f"{digest} {time}".encode()))


class Recent:
    """The most recently used manifests, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        """limit: bytes of manifests as they are sent; parsed manifests take about six times as much memory."""
        self._limit = limit
        self._size = 0
        self._manifests: OrderedDict[Digest, Manifest] = OrderedDict()

    def get(self, digest: Digest) -> Manifest | None:
        """Return a manifest, None if it is not among the recent ones."""
        found = self._manifests.get(digest)
        if found is not None:
            self._manifests.move_to_end(digest)
        return found

    def add(self, manifest: Manifest) -> None:
        """Remember a manifest, and evict others to stay below the limit."""
        if manifest.digest in self._manifests:
            return
        self._manifests[manifest.digest] = manifest
        self._size += len(manifest.raw)
        while self._size > self._limit:
            _, evicted = self._manifests.popitem(last=False)
            self._size -= len(evicted.raw)
