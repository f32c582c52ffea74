"""The rows of the state file, and the values that they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.state.records import ByDigest, ManifestKey, Owned, Run, RunTag, TagKey

# Of a tag with what is remembered of it, as `tag_row` and `tags_of` have them.
TAG_COLUMNS: Final = "store, repository, tag, digest, since, adopted, source_store, source_repository"
# Of a manifest without a tag, as `by_digest_row` and `by_digest_of` have them.
BY_DIGEST_COLUMNS: Final = "store, repository, digest, subject, source_store, source_repository"


def digest_or_none(text: str | None) -> Digest | None:
    """Return a digest, None for NULL."""
    return None if text is None else Digest(text)


def key_row(key: TagKey) -> tuple[str, str, str]:
    """Return the columns of a tag: store, repository, tag."""
    location, tag = key
    return location.store, location.repository, str(tag)


def manifest_row(key: ManifestKey) -> tuple[str, str, str]:
    """Return the columns of a manifest: store, repository, digest."""
    location, digest = key
    return location.store, location.repository, str(digest)


def by_digest_row(key: ManifestKey, one: ByDigest) -> tuple[str | None, ...]:
    """Return the columns of a manifest without a tag."""
    subject = None if one.subject is None else str(one.subject)
    return (*manifest_row(key), subject, one.source.store, one.source.repository)


def by_digest_of(rows: Iterable[Sequence[Any]]) -> dict[ManifestKey, ByDigest]:
    """Return the manifests without a tag of rows."""
    return {
        (Location(store, name), Digest(digest)): ByDigest(Location(from_store, from_name), digest_or_none(subject))
        for store, name, digest, subject, from_store, from_name in rows
    }


def tag_row(key: TagKey, owned: Owned) -> tuple[Any, ...]:
    """Return the columns of a tag with what is remembered of it."""
    source = owned.source
    where = (source.store, source.repository) if source else (None, None)
    return (*key_row(key), str(owned.digest), owned.since, int(owned.adopted), *where)


def tags_of(rows: Iterable[Sequence[Any]]) -> dict[TagKey, Owned]:
    """Return the tags of rows; those of one repository share its location."""
    places: dict[tuple[str, str], Location] = {}

    def place(store: str, name: str) -> Location:
        found = places.get((store, name))
        if found is None:
            found = places[store, name] = Location(store, name)
        return found

    return {
        (place(store, name), Tag(tag)): Owned(
            Digest(digest), since, bool(adopted), None if source_store is None else place(source_store, source_name)
        )
        for store, name, tag, digest, since, adopted, source_store, source_name in rows
    }


def run_row(run: Run) -> tuple[Any, ...]:
    """Return the columns of a run."""
    counts = json.dumps(dict(run.counts))
    return (
        run.number, run.started, run.finished, run.exit_code, counts, run.bytes_read, run.bytes_written, run.generation
    )  # fmt: skip


def run_of(row: Sequence[Any]) -> Run:
    """Return the run in a row."""
    number, started, finished, exit_code, counts, bytes_read, bytes_written, generation = row
    return Run(number, started, finished, exit_code, json.loads(counts), bytes_read, bytes_written, generation)


def run_tag_row(changed: RunTag) -> tuple[Any, ...]:
    """Return the columns of what a run did to a tag, without the number of the run."""
    digests = (None if one is None else str(one) for one in (changed.before, changed.after))
    return (*key_row(changed.key), *digests, changed.state, changed.outcome)
