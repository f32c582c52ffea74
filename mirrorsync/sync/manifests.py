"""Manifests on disk: they are immutable, so that none needs to be asked for twice, in this run or the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mirrorsync.errors import IntegrityError
from mirrorsync.oci.descriptor import Descriptor
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


class NoCache:
    """Remembers nothing."""

    def get(self, content: Descriptor) -> Manifest | None:  # noqa: ARG002 - the protocol's parameter
        """Return None."""
        return None

    def add(self, manifest: Manifest) -> None:
        """Forget the manifest."""

    def close(self) -> None:
        """Do nothing."""


class DiskCache:
    """A SQLite file of manifests. It is a hint: a damaged one makes a run slower, never wrong, and never stops it.

    One file and no fsync: what a crash loses is asked for again, and what it damages does not match its digest.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        """Open or create the file at `path`; `warn` is told, once, when it cannot be used."""
        self._warn = warn
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(path, timeout=1, isolation_level="DEFERRED")
            self._connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; {_SCHEMA};")
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
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._warn(f"the manifest cache cannot be used and is left alone: {error}")
        if self._connection is not None:
            self._connection.close()
            self._connection = None
