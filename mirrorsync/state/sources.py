"""The part of the memory about sources: what they have dropped, or refuse, and the accounts they are read with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.state.file import Opened, transaction
from mirrorsync.state.records import Absence, TagKey
from mirrorsync.state.rows import key_row

_ABSENCE = "store, repository, tag, since, acknowledged, by, why, refused"


class SourceMemory(Opened):
    """What is remembered of sources. Raises: StorageError, from every method, if the file cannot be read or written."""

    def absences(self) -> dict[TagKey, Absence]:
        """Return the tags of sources that runs have missed there, and that a destination keeps."""
        with self._reading(f"SELECT {_ABSENCE} FROM absent") as rows:  # noqa: S608 - our own words
            return {
                (Location(store, name), Tag(tag)): Absence(since, acknowledged, by, why, bool(refused))
                for store, name, tag, since, acknowledged, by, why, refused in rows
            }

    def _miss(self, tags: Iterable[TagKey], refused: Collection[TagKey], now: str) -> None:
        """Remember tags that were missed at their sources. An answer counts more than that access is refused."""
        self._connection.executemany(
            "INSERT INTO absent (store, repository, tag, since, refused) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (store, repository, tag) DO UPDATE SET since = excluded.since, refused = excluded.refused "
            "WHERE refused > excluded.refused",
            ((*key_row(key), now, key in refused) for key in tags),
        )

    def _add_absences(self, absences: Mapping[TagKey, Absence]) -> None:
        self._connection.executemany(
            f"INSERT OR REPLACE INTO absent ({_ABSENCE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own words
            (
                (*key_row(key), one.since, one.acknowledged, one.by, one.why, one.refused)
                for key, one in absences.items()
            ),
        )

    def returned(self, tags: Iterable[TagKey]) -> None:
        """Forget the absence of tags that their sources have again."""
        with transaction(self._connection):
            self._connection.executemany(
                "DELETE FROM absent WHERE store = ? AND repository = ? AND tag = ?", map(key_row, tags)
            )

    def acknowledge(self, tags: Iterable[TagKey], now: str, *, by: str, why: str) -> None:
        """Remember that an operator knows of absences."""
        sql = "UPDATE absent SET acknowledged = ?, by = ?, why = ? WHERE store = ? AND repository = ? AND tag = ?"
        with transaction(self._connection):
            self._connection.executemany(sql, ((now, by, why, *key_row(key)) for key in tags))

    def logins(self) -> dict[Location, str]:
        """Return the account that each source was read with last, "" = none."""
        with self._reading("SELECT store, repository, login FROM logins") as rows:
            return {Location(store, name): login for store, name, login in rows}

    def read_with(self, logins: Mapping[Location, str]) -> None:
        """Remember the accounts that sources were read with."""
        rows = ((source.store, source.repository, login) for source, login in logins.items())
        with transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO logins VALUES (?, ?, ?)", rows)
