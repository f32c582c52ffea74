"""`newest: {count: N, by: created}`: the images that were created last, by what they say of themselves. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Self

from mirrorsync.durations import moment
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.spec.versions import parse_version

# The tags that cosign and registries without the referrers API give to attachments: they are no images of their own.
OF_DIGEST: Final = re.compile(r"[a-z0-9]+-[0-9a-f]{64}(?:\..*)?")
# 2013-01-01: there were no container images. Reproducible builds claim 1970 or 1980, cosign's signatures the year 1.
EARLIEST: Final = 1356998400.0


@dataclass(frozen=True, slots=True)
class Creation:
    """What a tag names, and when that image says it was created: seconds since the epoch, None if it does not say."""

    digest: Digest
    time: float | None


@dataclass(frozen=True, slots=True)
class NewestCreated:
    """The N images that were created last, each with all of its tags; of all variants and prefixes together.

    Images that do not say when, or claim a time before there were images, come last; then, as for equal times, the
    higher version comes first, and then the tag that sorts first. creations: by tag, of all tags that could be read
    (others are dropped, and are failures elsewhere); None = not known yet, so that all tags stay.
    """

    count: int
    creations: Mapping[Tag, Creation] | None = field(default=None, compare=False)
    key: ClassVar[str] = "newest"
    narrows: ClassVar[bool] = True

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Read the key's mapping."""
        return cls(value["count"])

    def bound(self, creations: Mapping[Tag, Creation]) -> NewestCreated:
        """Return the filter with the facts that it needs."""
        return replace(self, creations=creations)

    @staticmethod
    def compares(tag: Tag) -> bool:
        """Return whether a tag is of an image that counts, and not of a signature or SBOM of another one."""
        return OF_DIGEST.fullmatch(tag) is None

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags of the newest images."""
        if self.creations is None:
            return [tag for tag in tags if self.compares(tag)]
        known = [tag for tag in tags if tag in self.creations and self.compares(tag)]
        digests = [self.creations[tag].digest for tag in sorted(sorted(known), key=self._rank, reverse=True)]
        newest = set(list(dict.fromkeys(digests))[: self.count])
        return [tag for tag in known if self.creations[tag].digest in newest]

    def _rank(self, tag: Tag) -> tuple[float, bool, Any]:
        version = parse_version(tag)
        return self._time(tag) or 0.0, version is not None, version.key if version is not None else ()

    def _time(self, tag: Tag) -> float | None:
        """Return when an image was created, None if its claim does not count."""
        time = self.creations[tag].time if self.creations is not None else None
        return time if time is not None and time >= EARLIEST else None

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return when the image was created, by its own claim."""
        if not self.compares(tag):
            return ["belongs to another image"]
        creation = (self.creations or {}).get(tag)
        if creation is None:
            return [f"{self.key} {self.count} by created: the time is not known"]
        claim = "does not say when" if creation.time is None else moment(creation.time)
        last = ", which is ordered last" if self._time(tag) is None else ""
        return [f"{'' if selected else 'not among '}{self.key} {self.count} by created: {claim}{last}"]
