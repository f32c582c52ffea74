"""What is remembered of runs and tags, as values. Times are UTC, ISO 8601 with seconds, so that they sort as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location

# A tag of a destination.
TagKey = tuple[Location, Tag]
# A manifest of a destination.
ManifestKey = tuple[Location, Digest]


@dataclass(frozen=True, slots=True)
class Owned:
    """A tag that this mirror has put at a destination, or found there as it should be.

    digest: what it named when it was recorded; if the tag names anything else now, another client has set it. since:
    when it was recorded first. adopted: it was there, as it should be, before this mirror wrote it. source: where its
    image was read.
    """

    digest: Digest
    since: str
    adopted: bool = False
    source: Location | None = None


@dataclass(frozen=True, slots=True)
class Absence:
    """A tag that its source has dropped while the destinations keep it. since: when a run noticed that first.

    acknowledged: when an operator said that this is known, None = not yet; by: who; why: in the operator's words.
    refused: the source refuses access to the repository, and has not said that it has dropped the tag.
    """

    since: str
    acknowledged: str | None = None
    by: str = ""
    why: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Backup:
    """A tag that this mirror has set to keep the image of another one. backup_of: that; made: when."""

    backup_of: Tag
    digest: Digest
    made: str


@dataclass(frozen=True, slots=True)
class RunTag:
    """What a run did to one tag.

    before, after: digests, None = no such tag. state, outcome: the words of reports.
    """

    key: TagKey
    before: Digest | None
    after: Digest | None
    state: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run. number: from 1. counts: images by what became of them (`new`, `moved`, `failed`, ...).

    bytes_read, bytes_written: of blobs. generation: the number of the generation that it made, None if it changed
    nothing.
    """

    number: int
    started: str
    finished: str
    exit_code: int
    counts: Mapping[str, int] = field(default_factory=dict)
    bytes_read: int = 0
    bytes_written: int = 0
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class ByDigest:
    """A manifest that a destination has without a tag: an image that the spec names by its digest, or a referrer.

    source: where it was read. subject: of a referrer, otherwise None.
    """

    source: Location
    subject: Digest | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """What a mirror held after a run that changed something: an immutable set of tags and digests.

    by_digest: manifests without a tag that it had all the time, until the next generation; a referrer only as long as
    its subject was there. platforms: those that it had of a sparse index all the time.
    """

    number: int
    run: int
    created: str
    tags: Mapping[TagKey, Owned] = field(default_factory=dict)
    by_digest: Mapping[ManifestKey, ByDigest] = field(default_factory=dict)
    platforms: Mapping[ManifestKey, tuple[Platform, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """All that one run tells the memory at its end.

    run: its number and generation are not used. changed: what it did. present: every tag that it knows to be at a
    destination now. absent: tags that it deleted. dropped: manifests without a tag that it deleted. vanished: tags of
    sources that it was the first to miss there; refused: those of them whose source refuses access. backups: tags that
    it set to keep the images of others; they are not in `present`. manifests: what the tags of `present` name.
    by_digest: manifests without a tag that it knows to be at a destination now. platforms: of the images that it knows
    to be there as the spec wants them: of a sparse index those that it has, () of all others.
    """

    run: Run
    changed: tuple[RunTag, ...]
    present: Mapping[TagKey, Owned]
    absent: frozenset[TagKey] = frozenset()
    dropped: frozenset[ManifestKey] = frozenset()
    vanished: frozenset[TagKey] = frozenset()
    refused: frozenset[TagKey] = frozenset()
    backups: Mapping[TagKey, Backup] = field(default_factory=dict)
    manifests: Mapping[Digest, Descriptor] = field(default_factory=dict)
    by_digest: Mapping[ManifestKey, ByDigest] = field(default_factory=dict)
    platforms: Mapping[ManifestKey, tuple[Platform, ...]] = field(default_factory=dict)
