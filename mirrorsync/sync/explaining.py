"""Explain the tags of a spec's sources: by filters alone; with policies by a plan, so that both agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Failure
from mirrorsync.spec.explain import Verdict
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.sync.explained import AtTarget, ExplainedSource, ExplainedTag, ExplainedTags
from mirrorsync.sync.gather.choose import Chosen, Lookup, choose
from mirrorsync.sync.gather.explained import Explanation, unlisted
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.road import make_plan, select, stamp
from mirrorsync.sync.session import Session


async def explain_tags(spec: Spec, session: Session, *, only: Sequence[str], sightings: Sightings) -> ExplainedTags:
    """Return every tag of the sources of `spec` with what decided on it. Nothing is changed.

    The destinations are only asked if one of the mirrors has policies, or the spec a budget or a limit of pulls.
    only: as for `make_plan`. Raises: UsageError.
    """
    mirrors = select(spec, only)
    explanation = Explanation()
    changes: Sequence[Change] = ()
    limited = spec.budget is not None or any(settings.pulls is not None for settings in spec.registries.values())
    ruled = {mirror.pointer for mirror in mirrors if mirror.policies or limited}
    if ruled:
        plan = await make_plan(
            replace(spec, prune=None), session, only=only, sightings=sightings, chose=explanation.note
        )
        changes, failures = plan.changes, plan.failures
    else:
        chosen = await choose(mirrors, session, sightings)
        explanation.note(chosen)
        failures = chosen.failures
    joined = _Joined(mirrors, ruled, changes, failures)
    verdicts = explanation.verdicts()
    found = [source for chosen in explanation.chosen for source in joined.sources(chosen, verdicts)]
    return ExplainedTags(
        stamp(spec, only),
        tuple(found),
        # A refusal is a verdict here. Without policies, no destination is needed.
        tuple(one for one in failures if not one.policy and (one.mirror in ruled or one.side != "destination")),
    )


class _Joined:
    """What filters say of tags, joined with what a plan does with them."""

    def __init__(
        self, mirrors: Iterable[Mirror], ruled: Collection[str], changes: Iterable[Change], failures: Iterable[Failure]
    ) -> None:
        self._ruled = ruled
        self._mirrors = {mirror.pointer: mirror for mirror in mirrors}
        self._changes: dict[tuple[Location, Ref], Change] = {
            (one.target, one.tag or one.digest): one for one in changes
        }
        self._failures: defaultdict[tuple[Location | None, Ref | None], list[Failure]] = defaultdict(list)
        for failure in failures:
            self._failures[failure.source, failure.ref].append(failure)

    def sources(
        self, chosen: Chosen, verdicts: Mapping[tuple[str, Location], Sequence[Verdict]]
    ) -> Iterable[ExplainedSource]:
        """Yield the sources that answered, in the order of the spec."""
        lookups: defaultdict[tuple[str, Location], list[Lookup]] = defaultdict(list)
        for lookup in chosen.lookups:
            lookups[lookup.mirror.pointer, lookup.source].append(lookup)
        numbers = {pointer: number for number, pointer in enumerate(self._mirrors)}
        for key in sorted(chosen.selections, key=lambda key: (numbers[key[0]], key[1])):
            listed = key in verdicts
            yield ExplainedSource(*key, listed, tuple(self._tags(lookups[key], verdicts.get(key, ()))))

    def _tags(self, lookups: Sequence[Lookup], verdicts: Iterable[Verdict]) -> Iterable[ExplainedTag]:
        wanted: dict[Tag, Lookup] = {one.wanted.tag: one for one in lookups if one.wanted.tag is not None}
        explained = set()
        for verdict in verdicts:
            explained.add(verdict.tag)
            lookup = wanted.get(verdict.tag)
            targets = () if lookup is None else self._targets(lookup)
            yield ExplainedTag(verdict.tag, verdict.wanted, verdict.reasons, targets)
        for lookup in lookups:
            if lookup.wanted.tag not in explained:
                name = lookup.wanted.written_tag or lookup.wanted.ref
                yield ExplainedTag(name, True, unlisted(lookup), self._targets(lookup))

    def _targets(self, lookup: Lookup) -> tuple[AtTarget, ...]:
        found = tuple(self._at(lookup, target) for target in lookup.targets)
        if lookup.mirror.pointer in self._ruled:
            return found
        return tuple(one for one in found if one.failure is not None and one.failure.side == "source")

    def _at(self, lookup: Lookup, target: Location) -> AtTarget:
        change = self._changes.get((target, lookup.wanted.name))
        if change is not None:
            return AtTarget(target, change)
        failures = self._failures[lookup.source, lookup.wanted.ref]
        return AtTarget(target, None, next((one for one in failures if target in one.targets), None))
