"""Manifests on disk: they are immutable, so that none needs to be asked for twice, in this run or the next."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mirrorsync.errors import IntegrityError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest

_SCHEMA = "CREATE TABLE IF NOT EXISTS manifests (digest TEXT PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID"


class ManifestCache(Protocol):
    """Remembers manifests by digest."""

    def get(self, content: Descriptor) -> Manifest | None:
        """Return the manifest, verified, or None."""

    def add(self, manifest: Manifest) -> None:
        """Remember a manifest."""

    def close(self) -> None:
        """Write what is not written yet."""


class DiskCache:
    """A SQLite file of manifests. It is a hint: a damaged one makes a run slower, never wrong, and never stops it.

    One file and no fsync: what a crash loses is asked for again, and what it damages does not match its digest.
    """

    def __init__(self, path: Path | None, warn: Callable[[str], None]) -> None:
        """Open or create the file at `path`; `warn` is told, once, when it cannot be used.

        path: None = a temporary file that goes away with `close`, made when the manifests are more than a few MiB. That
        is also what is used where `path` cannot be.
        """
        self._warn = warn
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> None:
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The empty name is SQLite's for a temporary database on disk (sqlite.org/inmemorydb.html).
            self._connection = sqlite3.connect(self._path or "", timeout=1, isolation_level="DEFERRED")
            journal = "OFF" if self._path is None else "WAL"
            self._connection.executescript(f"PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; {_SCHEMA};")
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def get(self, content: Descriptor) -> Manifest | None:
        """Return the manifest, verified against its descriptor, or None."""
        if self._connection is None:
            return None
        try:
            row = self._connection.execute("SELECT raw FROM manifests WHERE digest = ?", (content.digest,)).fetchone()
            return Manifest.parse(row[0], content.media_type, digest=content.digest, size=content.size) if row else None
        except sqlite3.Error as error:
            self._give_up(error)
        except (IntegrityError, TypeError):
            pass  # a damaged row is no row: the manifest is asked for again and replaces it
        return None

    def add(self, manifest: Manifest) -> None:
        """Remember a manifest; it is on disk after `close`."""
        if self._connection is None:
            return
        try:
            self._connection.execute("INSERT OR REPLACE INTO manifests VALUES (?, ?)", (manifest.digest, manifest.raw))
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Commit and close the file."""
        if self._connection is None:
            return
        try:
            self._connection.commit()
            self._connection.close()
        except sqlite3.Error as error:
            self._path = None  # nobody needs another one now
            self._give_up(error)
        self._connection = None

    def _give_up(self, error: Exception) -> None:
        """Go on with a temporary file, and without one where that cannot be used either."""
        self._warn(f"the manifest cache cannot be used and is left alone: {error}")
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._path is not None:
            self._path = None
            self._open()


class Recent:
    """The manifests that were used last, as far as so many of their bytes go."""

    def __init__(self, limit: int) -> None:
        """limit: bytes of manifests as they are sent; parsed, they take about six times that."""
        self._limit = limit
        self._size = 0
        self._manifests: OrderedDict[Digest, Manifest] = OrderedDict()

    def get(self, digest: Digest) -> Manifest | None:
        """Return a manifest when it is still there."""
        found = self._manifests.get(digest)
        if found is not None:
            self._manifests.move_to_end(digest)
        return found

    def add(self, manifest: Manifest) -> None:
        """Remember a manifest, and forget others for it."""
        if manifest.digest in self._manifests:
            return
        self._manifests[manifest.digest] = manifest
        self._size += len(manifest.raw)
        while self._size > self._limit:
            _, forgotten = self._manifests.popitem(last=False)
            self._size -= len(forgotten.raw)
