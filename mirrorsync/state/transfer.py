"""All that is remembered as one value, to carry it to another machine or to restore what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from mirrorsync.oci.digest import Digest
from mirrorsync.state.records import Absence, Backup, Owned, TagKey

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Remembered:
    """First sightings of digests and of listed tags, and the owned tags; runs and generations stay where they were.

    absent: the tags of sources that runs have missed there. backups: the tags that keep the images of others.
    """

    seen: Mapping[Digest, str] = field(default_factory=dict)
    listed: Mapping[TagKey, str] = field(default_factory=dict)
    owned: Mapping[TagKey, Owned] = field(default_factory=dict)
    absent: Mapping[TagKey, Absence] = field(default_factory=dict)
    backups: Mapping[TagKey, Backup] = field(default_factory=dict)


def merged(known: Remembered, given: Remembered) -> Remembered:
    """Return what is known after an import.

    The earlier of two sightings counts: an image does not wait again. A tag that is owned now stays as it is recorded
    now: the import may be older, and a wrong record could only lead to fewer deletes. The same holds for backups. What
    was acknowledged then stays so.
    """
    return Remembered(
        {**given.seen, **_earliest(known.seen, given.seen)},
        {**given.listed, **_earliest(known.listed, given.listed)},
        {**given.owned, **known.owned},
        {**given.absent, **{key: one for key, one in known.absent.items() if not _accepted(given.absent.get(key))}},
        {**given.backups, **known.backups},
    )


def _accepted(absence: Absence | None) -> bool:
    return absence is not None and absence.acknowledged is not None


def _earliest(known: Mapping[K, str], given: Mapping[K, str]) -> dict[K, str]:
    return {key: min(time, given.get(key, time)) for key, time in known.items()}
