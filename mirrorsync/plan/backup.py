"""`backup: "{tag}-{date}"`: before a tag moves, its image gets another name in the same repository. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.text import printable

# The tag of a destination.
TargetTag = tuple[Location, Tag]
_FIELD: Final = re.compile(r"\{([^{}]*)\}|[{}]")
_FIELDS: Final = ("tag", "date", "time", "digest")
# So that no backup has the name of its tag, or the name of the last backup of every other run.
_DIFFER: Final = frozenset(_FIELDS[1:])


@dataclass(frozen=True, slots=True)
class Backup:
    """The keys `backup:` and `keep_backups:` of a mirror.

    template: the name of a backup, with `{tag}`, `{date}` (YYYYMMDD), `{time}` (HHMMSS, both UTC) and `{digest}` (the
    first 12 digits). keep: how many backups of one tag stay, None = all.
    """

    template: str
    keep: int | None = None

    @classmethod
    def parse(cls, template: str, keep: int | None = None) -> Self:
        """Read the keys. Raises: GrammarError if the names would not be tags, or not differ from those of others."""
        fields = {match[1] for match in _FIELD.finditer(template)}
        for match in _FIELD.finditer(template):
            if match[1] not in _FIELDS:
                raise GrammarError(
                    f"{printable(match[0])!r} in the backup name {printable(template)!r} is not a known field",
                    remedy="use {tag}, {date}, {time} or {digest}",
                )
        if "tag" not in fields or not fields & _DIFFER:
            raise GrammarError(
                f"the backup name {printable(template)!r} is not different for every tag and time",
                remedy='use {tag}, and {date}, {time} or {digest}: "{tag}-{date}"',
            )
        made = cls(template, keep)
        made.name(Tag("1"), Digest.of(b""), 0.0)
        return made

    def name(self, tag: Tag, digest: Digest, now: float, number: int = 1) -> Tag:
        """Return the name of a backup. digest: of the image; now: seconds since the epoch; number: counts the names
        that are taken. Raises: GrammarError if it is not a valid tag.
        """
        time = datetime.fromtimestamp(now, UTC)
        fields = {"tag": tag, "date": f"{time:%Y%m%d}", "time": f"{time:%H%M%S}", "digest": digest.short}
        name = _FIELD.sub(lambda match: fields[match[1]], self.template)
        return Tag(name if number == 1 else f"{name}-{number}")

    def names(self, tag: Tag, digest: Digest) -> re.Pattern[str]:
        """Return an expression for all names of backups of a tag that had an image."""
        known = {"tag": re.escape(tag), "date": "[0-9]{8}", "time": "[0-9]{6}", "digest": re.escape(digest.short)}
        made, end = "", 0
        for found in _FIELD.finditer(self.template):
            made += re.escape(self.template[end : found.start()]) + known[found[1]]
            end = found.end()
        return re.compile(f"{made}{re.escape(self.template[end:])}(-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Backed:
    """A backup that this mirror has made. of: the tag; digest: that of the image; made: UTC, ISO 8601."""

    of: Tag
    digest: Digest
    made: str


def too_old(
    known: Mapping[TargetTag, Backed], keep: Mapping[TargetTag, int], new: Collection[TargetTag]
) -> dict[TargetTag, int]:
    """Return the backups that are more than their tag keeps, each with that number.

    known: all that are remembered. keep: how many of each tag stay. new: the tags that get another one now.
    """
    groups: defaultdict[TargetTag, list[TargetTag]] = defaultdict(list)
    for (target, name), one in known.items():
        if (target, one.of) in keep:
            groups[target, one.of].append((target, name))
    found: dict[TargetTag, int] = {}
    for of, names in groups.items():
        stay = keep[of] - (of in new)
        ordered = sorted(names, key=lambda name: (known[name].made, name[1]))
        found |= dict.fromkeys(ordered[: max(0, len(ordered) - stay)], keep[of])
    return found
