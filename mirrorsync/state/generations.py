"""The part of the memory about generations: what a mirror held after each run that changed something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location
from mirrorsync.state.file import Opened
from mirrorsync.state.records import ByDigest, Generation, ManifestKey, Owned, TagKey, Told
from mirrorsync.state.rows import (
    BY_DIGEST_COLUMNS,
    TAG_COLUMNS,
    by_digest_of,
    by_digest_row,
    key_row,
    manifest_row,
    tag_row,
    tags_of,
)

_IN_GENERATION: Final = "WHERE first <= ? AND (last IS NULL OR last >= ?)"
_TAGS_IN_GENERATION: Final = f"FROM generation_tags {_IN_GENERATION}"


class GenerationMemory(Opened):
    """What is remembered of generations. Raises: StorageError, from every method, if the file cannot be read."""

    def generations(self) -> list[Generation]:
        """Return the generations without their tags, the latest first."""
        with self._reading("SELECT number, run, created FROM generations ORDER BY number DESC") as rows:
            return [Generation(*row) for row in rows]

    def generation(self, number: int) -> Generation | None:
        """Return a generation with its tags, None if there is none of this number."""
        with self._reading("SELECT number, run, created FROM generations WHERE number = ?", (number,)) as rows:
            found = next(iter(rows), None)
        if found is None:
            return None
        _, run, created = found
        return Generation(
            number, run, created, self._tags_of(number), self._by_digest_in(number), self._platforms_in(number)
        )

    def generation_after(self, run: int) -> Generation | None:
        """Return what the mirror held after a run, None if that is not remembered."""
        sql = (
            "SELECT max(generations.number) FROM runs JOIN generations ON generations.run <= runs.number "
            "WHERE runs.number = ?"
        )
        with self._reading(sql, (run,)) as rows:
            (number,) = next(iter(rows))
        return None if number is None else self.generation(number)

    def had_until(self, key: TagKey, digest: Digest) -> str | None:
        """Return when a tag that had an image before got another one, None if no generation has it so."""
        sql = (
            "SELECT max(created) FROM generations JOIN generation_tags ON number = last + 1 "
            "WHERE store = ? AND repository = ? AND tag = ? AND digest = ?"
        )
        with self._reading(sql, (*key_row(key), str(digest))) as rows:
            return next((time for (time,) in rows), None)

    def _tags_of(self, generation: int) -> dict[TagKey, Owned]:
        sql = f"SELECT {TAG_COLUMNS} {_TAGS_IN_GENERATION}"
        with self._reading(sql, (generation, generation)) as rows:
            return tags_of(rows)

    def _digests_of(self, generation: int) -> dict[tuple[str, str, str], str]:
        sql = f"SELECT store, repository, tag, digest {_TAGS_IN_GENERATION}"
        with self._reading(sql, (generation, generation)) as rows:
            return {(store, name, tag): digest for store, name, tag, digest in rows}

    def source_of(self, key: TagKey) -> Location | None:
        """Return where the image of a tag was read last, None if that is not remembered."""
        sql = (
            "SELECT source_store, source_repository FROM generation_tags "
            "WHERE store = ? AND repository = ? AND tag = ? AND source_store IS NOT NULL ORDER BY first DESC LIMIT 1"
        )
        with self._reading(sql, key_row(key)) as rows:
            found = next(iter(rows), None)
        return None if found is None else Location(*found)

    def needed(self, last: int) -> set[ManifestKey]:
        """Return the images of the last generations. last: of how many."""
        sql = (
            "SELECT DISTINCT store, repository, digest FROM generation_tags "
            "WHERE last IS NULL OR last > (SELECT coalesce(max(number), 0) FROM generations) - ?"
        )
        with self._reading(sql, (last,)) as rows:
            return {(Location(store, name), Digest(digest)) for store, name, digest in rows}

    def _record_generation(self, told: Told, run: int) -> int | None:
        """Add a generation if the tags differ from those of the last one; return its number."""
        (last,) = self._connection.execute("SELECT coalesce(max(number), 0) FROM generations").fetchone()
        current = self._digests_of(last) if last else {}
        moved = {key: owned for key, owned in told.present.items() if current.get(key_row(key)) != owned.digest}
        gone = [key for key in told.absent if key_row(key) in current]
        if not moved and not gone:
            return None
        number = int(last) + 1
        self._connection.execute("INSERT INTO generations VALUES (?, ?, ?)", (number, run, told.run.finished))
        self._connection.executemany(
            "UPDATE generation_tags SET last = ? WHERE store = ? AND repository = ? AND tag = ? AND last IS NULL",
            ((last, *key_row(key)) for key in (*moved, *gone)),
        )
        self._connection.executemany(
            f"INSERT INTO generation_tags ({TAG_COLUMNS}, first) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            ((*tag_row(key, owned), number) for key, owned in moved.items()),
        )
        return number

    # What a generation had besides its tags. No generation is made for it, so a copy of the destination may have been
    # carried off before a run changes it, or after. So what came without a new generation counts from the next one on,
    # and what went does not count in the current one any more.

    def _record_content(self, told: Told, *, is_new: bool) -> None:
        """Remember manifests without a tag, and the platforms of sparse indexes. is_new: the run made a generation."""
        (current,) = self._connection.execute("SELECT coalesce(max(number), 0) FROM generations").fetchone()
        first = current if is_new else current + 1
        if told.dropped:
            self._end("generation_manifests", map(manifest_row, told.dropped), first - 1 if is_new else first - 2)
        if told.by_digest:
            known = self._open_rows("generation_manifests", "subject")
            new = [(key, one) for key, one in told.by_digest.items() if manifest_row(key) not in known]
            self._connection.executemany(
                f"INSERT INTO generation_manifests ({BY_DIGEST_COLUMNS}, first) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                ((*by_digest_row(key, one), first) for key, one in new),
            )
        self._record_platforms(told.platforms, first)

    def _record_platforms(self, platforms: Mapping[ManifestKey, tuple[Platform, ...]], first: int) -> None:
        known = self._open_rows("generation_platforms", "platforms")
        sparse = {manifest_row(key): " ".join(map(str, chosen)) for key, chosen in platforms.items() if chosen}
        if known:
            changed = [row for row in map(manifest_row, platforms) if row in known and known[row] != sparse.get(row)]
            # The images that an index had before stay: in the current generation it has at least these.
            self._end("generation_platforms", changed, first - 1)
        self._connection.executemany(
            "INSERT INTO generation_platforms (store, repository, digest, first, platforms) VALUES (?, ?, ?, ?, ?)",
            ((*row, first, chosen) for row, chosen in sparse.items() if known.get(row) != chosen),
        )

    def _open_rows(self, table: str, column: str) -> dict[tuple[str, str, str], str]:
        """Return a column of what counts in the next generation, too, by store, repository and digest."""
        rows = self._connection.execute(
            f"SELECT store, repository, digest, {column} FROM {table} WHERE last IS NULL"  # noqa: S608 - our own words
        )
        return {(store, name, digest): value for store, name, digest, value in rows}

    def _end(self, table: str, rows: Iterable[tuple[str, str, str]], last: int) -> None:
        """Let rows count up to a generation; those that never counted are deleted."""
        self._connection.executemany(
            f"UPDATE {table} SET last = ? "  # noqa: S608 - our own words
            "WHERE store = ? AND repository = ? AND digest = ? AND last IS NULL",
            ((last, *row) for row in rows),
        )
        self._connection.execute(f"DELETE FROM {table} WHERE last < first")  # noqa: S608 - our own words

    def sparse(self) -> set[ManifestKey]:
        """Return the indexes that destinations have had without some of their images since a run wanted that."""
        with self._reading("SELECT store, repository, digest FROM generation_platforms WHERE last IS NULL") as rows:
            return {(Location(store, name), Digest(digest)) for store, name, digest in rows}

    def _by_digest_in(self, generation: int) -> dict[ManifestKey, ByDigest]:
        sql = f"SELECT {BY_DIGEST_COLUMNS} FROM generation_manifests {_IN_GENERATION}"  # noqa: S608 - our own words
        with self._reading(sql, (generation, generation)) as rows:
            return by_digest_of(rows)

    def _platforms_in(self, generation: int) -> dict[ManifestKey, tuple[Platform, ...]]:
        sql = f"SELECT store, repository, digest, platforms FROM generation_platforms {_IN_GENERATION}"  # noqa: S608
        with self._reading(sql, (generation, generation)) as rows:
            return {
                (Location(store, name), Digest(digest)): tuple(map(Platform.parse, platforms.split()))
                for store, name, digest, platforms in rows
            }
