"""Failures that an operator has acknowledged, for the verbs that only look: `verify`, `lock` and `images`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from mirrorsync.errors import RepositoryNotFound
from mirrorsync.events import Noticed, Observer
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure
from mirrorsync.plan.vanish import Absence, SourceTag
from mirrorsync.spec.model import Mirror
from mirrorsync.sync.gather.vanished import MISSING, REFUSALS


def accepted(
    failures: Iterable[Failure], mirrors: Iterable[Mirror], absences: Mapping[SourceTag, Absence], announce: Observer
) -> frozenset[Failure]:
    """Return the failures of images that their sources have dropped, which is acknowledged; announce them.

    absences: of tags, as the memory has them. Only an answer of the source counts, as in a run.
    """
    known = {key for key, one in absences.items() if one.acknowledged}
    by_pointer = {mirror.pointer: mirror for mirror in mirrors} if known else {}
    found: defaultdict[Location, list[Failure]] = defaultdict(list)
    for failure in failures if known else ():
        mirror = by_pointer.get(failure.mirror)
        if mirror is None or failure.source is None:
            continue
        gone = _dropped(failure, mirror, failure.source, absences)
        if gone and gone <= known:
            found[failure.source].append(failure)
    for source, some in found.items():
        what = some[0].lost if len(some) == 1 else f"{len(some)} images of {source}"
        announce(Noticed(what, "dropped by its source, which is acknowledged: only the destinations have it"))
    return frozenset(one for some in found.values() for one in some)


def _dropped(
    failure: Failure, mirror: Mirror, source: Location, absences: Mapping[SourceTag, Absence]
) -> set[SourceTag]:
    """Return the tags that a failure is about: those that the spec names, or all that are known to be gone."""
    if failure.ref is not None:
        if not isinstance(failure.error, (*MISSING, *REFUSALS)):
            return set()
        exact = mirror.selection.exact
        return {(source, one.tag) for one in exact if one.ref == failure.ref and one.tag is not None}
    whole = isinstance(failure.error, (RepositoryNotFound, *REFUSALS))
    return {key for key in absences if key[0] == source} if whole else set()
