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
    """What earlier runs know of a tag that its source has dropped. since: the first one that noticed it.

    refused: the source has not said so; it refuses access to the repository, which it gave before.
    """

    since: str
    acknowledged: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A tag of a destination that its source has dropped. whole: with its repository, or with all tags of that.

    refused: the source refuses access to the repository, which it gave before. Docker Hub, GHCR and Quay do so if it
    was deleted or made private, and answer 404 for neither; so it is no evidence, and deletes nothing.
    """

    known: Known
    source: Location
    whole: bool = False
    refused: bool = False

    @property
    def key(self) -> SourceTag:
        """The tag at its source."""
        return self.source, self.known.tag

    @property
    def is_certain(self) -> bool:
        """Whether the source has said that it lacks the tag, and has others: only then may the tag be deleted."""
        return not (self.whole or self.refused)


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
    """Return what is to be reported: for each source repository what is new, what is known, what is acknowledged.

    A source that refused access until now, and says now that it has dropped a tag, says something new.
    """
    groups: defaultdict[tuple[Location, bool, bool, bool], list[Lost]] = defaultdict(list)
    for one in lost:
        absence = absences.get(one.key)
        acknowledged = absence is not None and absence.acknowledged
        known = absence is not None and (acknowledged or one.refused or not absence.refused)
        groups[one.source, known, acknowledged, one.refused].append(one)
    return tuple(
        Vanished(
            source,
            tuple(sorted({one.known.tag for one in group})),
            all(one.whole for one in group),
            min(absences[one.key].since for one in group) if known else "",
            acknowledged,
            refused,
        )
        for (source, known, acknowledged, refused), group in sorted(groups.items())
    )
