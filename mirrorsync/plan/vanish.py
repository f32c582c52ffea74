"""`on_vanish: keep | delete`: what becomes of tags that this mirror has, and that their sources have dropped. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from mirrorsync.oci.names import COSIGN_SUFFIXES
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Vanished
from mirrorsync.plan.prune import Known

# A tag of a source repository.
SourceTag = tuple[Location, Tag]


@dataclass(frozen=True, slots=True)
class Absence:
    """What earlier runs know of a tag that its source has dropped. since: the first one that noticed it."""

    since: str
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A tag of a destination that its source has dropped. whole: with its repository, or with all tags of that."""

    known: Known
    source: Location
    whole: bool = False

    @property
    def key(self) -> SourceTag:
        """The tag at its source."""
        return self.source, self.known.tag


def dropped(
    known: Iterable[Known], listed: Collection[Tag], choose: Callable[[Collection[Tag]], Collection[Tag]]
) -> list[Known]:
    """Return the tags that a mirror would want if its source still listed them.

    known: those that it has from one source repository. listed: the tags there now. choose: the filters. A tag that the
    filters would not choose any more is not wanted, which is another matter: see `prune:`.
    """
    missing = [one for one in known if one.tag not in listed and not one.tag.endswith(COSIGN_SUFFIXES)]
    if not missing:
        return []
    wanted = set(choose([*listed, *dict.fromkeys(one.tag for one in missing)]))
    return [one for one in missing if one.tag in wanted]


def grouped(lost: Iterable[Lost], absences: Mapping[SourceTag, Absence]) -> tuple[Vanished, ...]:
    """Return what is to be reported: for each source repository what is new, what is known, what is acknowledged."""
    groups: defaultdict[tuple[Location, bool, bool], list[Lost]] = defaultdict(list)
    for one in lost:
        absence = absences.get(one.key)
        groups[one.source, absence is not None, absence is not None and absence.acknowledged].append(one)
    return tuple(
        Vanished(
            source,
            tuple(sorted({one.known.tag for one in group})),
            all(one.whole for one in group),
            min(absences[one.key].since for one in group) if known else "",
            acknowledged,
        )
        for (source, known, acknowledged), group in sorted(groups.items())
    )
