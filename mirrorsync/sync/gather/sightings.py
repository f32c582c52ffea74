"""What a mirror remembers, as facts: when it first saw digests and tags at their sources, and its own tags."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.backup import Backed, TargetTag
from mirrorsync.plan.prune import Known
from mirrorsync.plan.untagged import Untagged
from mirrorsync.plan.vanish import Absence, SourceTag


class Sightings(Protocol):
    """First sightings. Times are seconds since the epoch; what is seen only now was first seen at `now`."""

    @property
    def now(self) -> float:
        """The time of the run."""

    def note(self, digests: Iterable[Digest]) -> None:
        """Take note that sources have some roots now."""

    def first_seen(self, digest: Digest) -> float:
        """Return when a root was first seen."""

    def had_until(self, target: Location, tag: Tag, digest: Digest) -> float | None:
        """Return when a tag of a destination that had an image before got another one, None if it never had it."""

    def first_listed(self, source: Location, tags: Iterable[Tag], *, note: bool = True) -> Mapping[Tag, float]:
        """Return when each of some tags of a repository was first listed. note: it lists them now."""

    def known(self) -> Iterable[Known]:
        """Return the tags that this mirror has put, or found, at its destinations."""

    def roots(self) -> Mapping[TargetTag, Descriptor]:
        """Return what these tags named when they were recorded, as far as that is remembered."""

    def sparse(self) -> Collection[tuple[Location, Digest]]:
        """Return the indexes that it has put there without some of their images."""

    def unlisted(self) -> Mapping[tuple[Location, Digest], Digest]:
        """Return the referrers that it may have put there without listing them, with their subjects."""

    def untagged(self, last: int) -> Untagged:
        """Return the manifests that it has put there and whose tags are gone. last: how many generations are kept."""

    def forget(self, manifests: Iterable[tuple[Location, Digest]]) -> None:
        """Forget manifests without a tag that it has no right to, or that are gone."""

    def absences(self) -> Mapping[SourceTag, Absence]:
        """Return the tags that sources have dropped, as far as earlier runs have noticed it."""

    def logins(self) -> Mapping[Location, str]:
        """Return the account that each source was read with, as `Session.login` names it, if that is remembered."""

    def read_with(self, logins: Mapping[Location, str]) -> None:
        """Take note of the accounts that sources were read with."""

    def backups(self) -> Mapping[TargetTag, Backed]:
        """Return the backups that this mirror has made."""

    def forget_backups(self, tags: Iterable[TargetTag]) -> None:
        """Take note that backups are gone, or not this mirror's any more."""

    def returned(self, tags: Iterable[SourceTag]) -> None:
        """Take note that sources have some of these tags again."""


class NothingSeen:
    """The sightings of a run without a memory: all is seen for the first time."""

    def __init__(self) -> None:
        self.now = time.time()

    def note(self, digests: Iterable[Digest]) -> None:
        """Forget it."""

    def first_seen(self, digest: Digest) -> float:  # noqa: ARG002 - the same for every digest
        """Return now."""
        return self.now

    def had_until(self, target: Location, tag: Tag, digest: Digest) -> float | None:  # noqa: ARG002
        """Return None."""
        return None

    def first_listed(self, source: Location, tags: Iterable[Tag], *, note: bool = True) -> Mapping[Tag, float]:  # noqa: ARG002
        """Return now for every tag."""
        return dict.fromkeys(tags, self.now)

    def known(self) -> Iterable[Known]:
        """Return nothing."""
        return ()

    def roots(self) -> Mapping[TargetTag, Descriptor]:
        """Return nothing."""
        return {}

    def sparse(self) -> Collection[tuple[Location, Digest]]:
        """Return nothing: no index is known."""
        return ()

    def unlisted(self) -> Mapping[tuple[Location, Digest], Digest]:
        """Return nothing: no run was killed."""
        return {}

    def untagged(self, last: int) -> Untagged:  # noqa: ARG002 - there are no generations
        """Return nothing."""
        return Untagged()

    def forget(self, manifests: Iterable[tuple[Location, Digest]]) -> None:
        """Forget it."""

    def absences(self) -> Mapping[SourceTag, Absence]:
        """Return nothing."""
        return {}

    def logins(self) -> Mapping[Location, str]:
        """Return nothing."""
        return {}

    def read_with(self, logins: Mapping[Location, str]) -> None:
        """Forget it."""

    def backups(self) -> Mapping[TargetTag, Backed]:
        """Return nothing."""
        return {}

    def forget_backups(self, tags: Iterable[TargetTag]) -> None:
        """Forget it."""

    def returned(self, tags: Iterable[SourceTag]) -> None:
        """Forget it."""
