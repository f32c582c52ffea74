"""What a mirror remembers: first sightings, the tags that it owns, its runs and generations.

Losing it costs time and deletes that are not made, never a wrong skip and never a wrong delete. So all that is read
here is a reason to do less, or is compared with what the destination holds before anything is done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.state.file import open_file, transaction
from mirrorsync.state.generations import GenerationMemory
from mirrorsync.state.records import Backup, ManifestKey, Owned, Run, RunTag, TagKey, Told
from mirrorsync.state.rows import (
    TAG_COLUMNS,
    digest_or_none,
    key_row,
    manifest_row,
    run_of,
    run_row,
    run_tag_row,
    tag_row,
    tags_of,
)
from mirrorsync.state.sources import SourceMemory
from mirrorsync.state.transfer import Remembered, merged

# Runs of three years, one each night. What they did to single tags is dropped with them; generations stay.
_KEPT_RUNS: Final = 1100


class Memory(SourceMemory, GenerationMemory):
    """The memory of one spec. For one thread, the event loop's: every call takes milliseconds.

    Raises: StorageError, from every method, if the file cannot be read or written.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._owned: Mapping[TagKey, Owned] | None = None  # read once: only the run that has the lock writes it

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def is_new(self) -> bool:
        """Whether no run was recorded yet: it is the first one, or the file was lost."""
        with self._reading("SELECT count(*) FROM runs") as rows:
            return bool(next(iter(rows)) == (0,))

    # First sightings.

    def first_seen(self) -> Mapping[Digest, str]:
        """Return when each digest was first seen at a source."""
        with self._reading("SELECT digest, first FROM seen") as rows:
            return {Digest(digest): first for digest, first in rows}

    def see(self, digests: Iterable[Digest], now: str) -> None:
        """Remember digests that are at a source now; those that are known stay as they are."""
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT OR IGNORE INTO seen VALUES (?, ?)", ((str(digest), now) for digest in digests)
            )

    def first_listed(self, source: Location) -> Mapping[Tag, str]:
        """Return when each tag of a source repository was first listed."""
        sql = "SELECT tag, first FROM listed WHERE store = ? AND repository = ?"
        with self._reading(sql, (source.store, source.repository)) as rows:
            return {Tag(tag): first for tag, first in rows}

    def see_tags(self, source: Location, tags: Iterable[Tag], now: str) -> None:
        """Remember tags that a source repository lists now."""
        rows = ((source.store, source.repository, tag, now) for tag in tags)
        with transaction(self._connection):
            self._connection.executemany("INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?)", rows)

    # Tags.

    def owned(self) -> Mapping[TagKey, Owned]:
        """Return the tags that this mirror has put or found at its destinations."""
        if self._owned is None:
            with self._reading(f"SELECT {TAG_COLUMNS} FROM owned") as rows:  # noqa: S608 - our own words
                self._owned = tags_of(rows)
        return self._owned

    def roots(self) -> dict[TagKey, Descriptor]:
        """Return the manifests that owned tags named when they were recorded, as far as those are remembered."""
        sql = "SELECT store, repository, tag, digest, media_type, size FROM owned JOIN manifests USING (digest)"
        with self._reading(sql) as rows:
            return {
                (Location(store, name), Tag(tag)): Descriptor(media_type, Digest(digest), size)
                for store, name, tag, digest, media_type, size in rows
            }

    def intended(self) -> dict[TagKey, Digest]:
        """Return the tags that a run was about to set which did not come to its end."""
        with self._reading("SELECT store, repository, tag, digest FROM intended") as rows:
            return {(Location(store, name), Tag(tag)): Digest(digest) for store, name, tag, digest in rows}

    def intended_referrers(self) -> dict[ManifestKey, Digest]:
        """Return the untagged referrers of a run that was killed, or that failed for them, with their subjects."""
        with self._reading("SELECT store, repository, digest, subject FROM intended_referrers") as rows:
            return {(Location(store, name), Digest(digest)): Digest(subject) for store, name, digest, subject in rows}

    def intend(self, tags: Mapping[TagKey, Digest], referrers: Mapping[ManifestKey, Digest]) -> None:
        """Remember, before a run begins to write, which tags it will set, and referrers with their subjects.

        So a killed run owns what it has done, and the next one finds out whether its referrers are listed.
        """
        rows = ((*key_row(key), str(digest)) for key, digest in tags.items())
        others = ((*manifest_row(key), str(subject)) for key, subject in referrers.items())
        with transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO intended VALUES (?, ?, ?, ?)", rows)
            self._connection.executemany("INSERT OR REPLACE INTO intended_referrers VALUES (?, ?, ?, ?)", others)

    # Manifests without a tag.

    def untagged(self) -> set[ManifestKey]:
        """Return the manifests that this mirror has put at destinations, and whose tags were moved or deleted since."""
        with self._reading("SELECT store, repository, digest FROM untagged") as rows:
            return {(Location(store, name), Digest(digest)) for store, name, digest in rows}

    def forget(self, manifests: Iterable[ManifestKey]) -> None:
        """Forget manifests without a tag: they are not there any more, or in use by another client."""
        with transaction(self._connection):
            self._forget(manifests)

    def _forget(self, manifests: Iterable[ManifestKey]) -> None:
        self._connection.executemany(
            "DELETE FROM untagged WHERE store = ? AND repository = ? AND digest = ?", map(manifest_row, manifests)
        )

    # Backups.

    def backups(self) -> dict[TagKey, Backup]:
        """Return the tags that this mirror has set to keep the images of others."""
        with self._reading("SELECT store, repository, tag, backup_of, digest, made FROM backups") as rows:
            return {
                (Location(store, name), Tag(tag)): Backup(Tag(backup_of), Digest(digest), made)
                for store, name, tag, backup_of, digest, made in rows
            }

    def _add_backups(self, backups: Mapping[TagKey, Backup]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO backups VALUES (?, ?, ?, ?, ?, ?)",
            ((*key_row(key), one.backup_of, str(one.digest), one.made) for key, one in backups.items()),
        )

    def forget_backups(self, tags: Iterable[TagKey]) -> None:
        """Forget backups that are gone from their destination, or that another client has set."""
        with transaction(self._connection):
            self._forget_backups(tags)

    def _forget_backups(self, tags: Iterable[TagKey]) -> None:
        sql = "DELETE FROM backups WHERE store = ? AND repository = ? AND tag = ?"
        self._connection.executemany(sql, map(key_row, tags))

    # All of it.

    def remembered(self) -> Remembered:
        """Return all but runs and generations."""
        with self._reading("SELECT store, repository, tag, first FROM listed") as rows:
            listed = {(Location(store, name), Tag(tag)): first for store, name, tag, first in rows}
        return Remembered(self.first_seen(), listed, self.owned(), self.absences(), self.backups())

    def merge(self, given: Remembered) -> None:
        """Add what was exported before; see `merged` for what counts."""
        whole = merged(self.remembered(), given)
        self._owned = None
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?)",
                ((str(digest), time) for digest, time in whole.seen.items()),
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?)",
                ((*key_row(key), time) for key, time in whole.listed.items()),
            )
            self._connection.executemany(
                f"INSERT OR REPLACE INTO owned ({TAG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (tag_row(key, owned) for key, owned in whole.owned.items()),
            )
            self._add_absences(whole.absent)
            self._add_backups(whole.backups)

    # Runs.

    def record(self, told: Told) -> Run:
        """Remember a run, what it did, and what is at the destinations now; return it with its number."""
        with transaction(self._connection):
            (last,) = self._connection.execute("SELECT coalesce(max(number), 0) FROM runs").fetchone()
            number = last + 1
            generation = self._record_generation(told, number)
            self._record_content(told, is_new=generation is not None)
            run = Run(
                number,
                told.run.started,
                told.run.finished,
                told.run.exit_code,
                told.run.counts,
                told.run.bytes_read,
                told.run.bytes_written,
                generation,
            )
            self._connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", run_row(run))
            self._connection.executemany(
                "INSERT INTO run_tags VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((number, *run_tag_row(changed)) for changed in told.changed),
            )
            self._own(told)
            self._describe(told.manifests)
            self._connection.execute("DELETE FROM runs WHERE number <= ?", (number - _KEPT_RUNS,))
            self._connection.execute("DELETE FROM run_tags WHERE run <= ?", (number - _KEPT_RUNS,))
            self._connection.execute("DELETE FROM intended")
            self._connection.executemany(
                "DELETE FROM intended_referrers WHERE store = ? AND repository = ? AND digest = ?",
                map(manifest_row, told.by_digest),
            )
        return run

    def _describe(self, manifests: Mapping[Digest, Descriptor]) -> None:
        """Remember the manifests of owned tags, and forget others."""
        known = {digest for (digest,) in self._connection.execute("SELECT digest FROM manifests")}
        new = [one for digest, one in manifests.items() if digest not in known]
        if not new:
            return
        self._connection.executemany(
            "INSERT OR IGNORE INTO manifests VALUES (?, ?, ?)",
            ((str(one.digest), one.media_type, one.size) for one in new),
        )
        self._connection.execute("DELETE FROM manifests WHERE digest NOT IN (SELECT digest FROM owned)")

    def _own(self, told: Told) -> None:
        known, self._owned = self.owned(), None
        changed = {key: owned for key, owned in told.present.items() if known.get(key) != owned}
        self._connection.executemany(
            f"INSERT OR REPLACE INTO owned ({TAG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (tag_row(key, owned) for key, owned in changed.items()),
        )
        self._connection.executemany(
            "DELETE FROM owned WHERE store = ? AND repository = ? AND tag = ?", map(key_row, told.absent)
        )
        # An adopted image is not ours, nor is it after another one has its tag.
        moved = {key for key, owned in changed.items() if key in known and known[key].digest != owned.digest}
        ours = [key for key in moved | (told.absent & known.keys()) if not known[key].adopted]
        self._connection.executemany(
            "INSERT OR IGNORE INTO untagged VALUES (?, ?, ?)",
            (manifest_row((target, known[target, tag].digest)) for target, tag in ours),
        )
        self._forget(told.dropped)
        self._add_backups(told.backups)
        self._forget_backups(told.absent)
        self._miss(told.vanished, told.refused, told.run.finished)
        if told.absent:
            self._connection.execute(
                "DELETE FROM absent WHERE NOT EXISTS (SELECT 1 FROM owned WHERE owned.source_store = absent.store "
                "AND owned.source_repository = absent.repository AND owned.tag = absent.tag)"
            )

    def runs(self, limit: int | None = None) -> list[Run]:
        """Return the runs, the latest first. limit: how many at most, None = all."""
        with self._reading(
            "SELECT * FROM runs ORDER BY number DESC LIMIT ?", (-1 if limit is None else limit,)
        ) as rows:
            return list(map(run_of, rows))

    def changes(self, run: int) -> list[RunTag]:
        """Return what a run did to tags, in the order of their names."""
        sql = (
            "SELECT store, repository, tag, before, after, state, outcome FROM run_tags WHERE run = ? "
            "ORDER BY store, repository, tag"
        )
        with self._reading(sql, (run,)) as rows:
            return [
                RunTag((Location(store, name), Tag(tag)), digest_or_none(before), digest_or_none(after), state, outcome)
                for store, name, tag, before, after, state, outcome in rows
            ]


def open_memory(path: Path, warn: Callable[[str], None]) -> Memory:
    """Open the memory at a path, or begin one. warn: is told what was lost. Raises: StorageError."""
    return Memory(open_file(path, warn))
