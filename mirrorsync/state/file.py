"""The state file: where it is, its tables and their versions, and what happens if it is damaged."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mirrorsync.errors import StorageError

# Each entry brings a file from the version of its index to the next one. Entries are never changed, only added.
_MIGRATIONS: Final = (
    """
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT NOT NULL, exit_code INTEGER NOT NULL,
        counts TEXT NOT NULL, bytes_read INTEGER NOT NULL, bytes_written INTEGER NOT NULL, generation INTEGER
    );
    CREATE TABLE run_tags (
        run INTEGER NOT NULL, store TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL,
        before TEXT, after TEXT, state TEXT NOT NULL, outcome TEXT NOT NULL,
        PRIMARY KEY (run, store, repository, tag)
    ) WITHOUT ROWID;
    CREATE TABLE owned (
        store TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, since TEXT NOT NULL,
        adopted INTEGER NOT NULL, source_store TEXT, source_repository TEXT,
        PRIMARY KEY (store, repository, tag)
    ) WITHOUT ROWID;
    CREATE TABLE intended (
        store TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (store, repository, tag)
    ) WITHOUT ROWID;
    CREATE TABLE seen (digest TEXT PRIMARY KEY, first TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE listed (
        store TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, first TEXT NOT NULL,
        PRIMARY KEY (store, repository, tag)
    ) WITHOUT ROWID;
    CREATE TABLE generations (number INTEGER PRIMARY KEY, run INTEGER NOT NULL, created TEXT NOT NULL);
    CREATE TABLE generation_tags (
        store TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER,
        digest TEXT NOT NULL, since TEXT NOT NULL, adopted INTEGER NOT NULL,
        source_store TEXT, source_repository TEXT,
        PRIMARY KEY (store, repository, tag, first)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE untagged (
        store TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (store, repository, digest)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE absent (
        store TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, since TEXT NOT NULL,
        acknowledged TEXT, by TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (store, repository, tag)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE backups (
        store TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, backup_of TEXT NOT NULL, digest TEXT NOT NULL,
        made TEXT NOT NULL,
        PRIMARY KEY (store, repository, tag)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE manifests (
        digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, size INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE absent ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE logins (
        store TEXT NOT NULL, repository TEXT NOT NULL, login TEXT NOT NULL,
        PRIMARY KEY (store, repository)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE generation_manifests (
        store TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER,
        subject TEXT, source_store TEXT NOT NULL, source_repository TEXT NOT NULL,
        PRIMARY KEY (store, repository, digest, first)
    ) WITHOUT ROWID;
    CREATE TABLE generation_platforms (
        store TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER,
        platforms TEXT NOT NULL,
        PRIMARY KEY (store, repository, digest, first)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE intended_referrers (
        store TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, subject TEXT NOT NULL,
        PRIMARY KEY (store, repository, digest)
    ) WITHOUT ROWID;
    """,
)
VERSION: Final = len(_MIGRATIONS)
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


def state_path(directory: Path, spec: Path) -> Path:
    """Return the path of the state file of a spec: its name, and a part of the hash of its absolute path."""
    whole = str(spec.absolute())
    return directory / f"{spec.stem}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}.sqlite"


def open_file(path: Path, warn: Callable[[str], None]) -> sqlite3.Connection:
    """Open or create a state file; a damaged one is set aside, which `warn` is told. Raises: StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _opened(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = _set_aside(path)
            warn(
                f"the state file was damaged ({error}) and is now {aside.name}: nothing is deleted that it alone knew "
                "of, and min_age counts anew; `mirrorsync state import` restores an export"
            )
            return _opened(path)
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"cannot use the state file {path}: {reason}", remedy="set STATE_DIRECTORY to a writable directory"
        ) from error


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        # WAL, so that `history` reads while a run writes; FULL, so that a record survives a power cut.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != ("ok",):
            raise sqlite3.DatabaseError(str(found[0]))
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StorageError(
            f"the state file {path} was written by a newer version of mirrorsync",
            remedy="use that version, or set STATE_DIRECTORY to another directory",
        )
    for number in range(version, VERSION):
        connection.executescript(f"BEGIN; {_MIGRATIONS[number]} PRAGMA user_version={number + 1}; COMMIT;")


class Opened:
    """An open state file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def _reading(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Iterable[Any]]:
        """Read rows in the block. Raises: StorageError."""
        try:
            yield self._connection.execute(sql, values)
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise StorageError(f"cannot read the state file: {error}") from error


def _set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it can be looked at; return its new path."""
    aside = next(
        candidate for number in range(1, 1_000_000) if not (candidate := Path(f"{path}.damaged-{number}")).exists()
    )
    path.rename(aside)
    for ending in _SIDE_FILES:
        with suppress(FileNotFoundError):
            Path(f"{path}{ending}").unlink()
    return aside


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of the block, or nothing. Raises: StorageError."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StorageError(f"cannot write the state file: {error}") from error
