"""Why tags are wanted, or not: the verdicts of filters on what a plan has listed. Worked out only if asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure, Plan
from mirrorsync.spec.explain import EXACT, Verdict, explain
from mirrorsync.sync.gather.choose import Chosen, Lookup

_LOCK: Final = "lock"
Reasons = tuple[str, ...]


class Explanation:
    """The filters' verdicts on the tags of a plan's sources. Give `note` to what makes the plan.

    chosen: what was noted.
    """

    def __init__(self) -> None:
        self.chosen: list[Chosen] = []

    def note(self, chosen: Chosen) -> None:
        """Take note of what was listed and chosen."""
        self.chosen.append(chosen)

    def verdicts(self) -> Mapping[tuple[str, Location], Sequence[Verdict]]:
        """Return the verdicts on all tags that were listed, by mirror and source."""
        return {
            key: explain(selection, sorted(chosen.listed[key[1]]))
            for chosen in self.chosen
            for key, selection in chosen.selections.items()
            if selection.lists and key[1] in chosen.listed
        }

    def add_to(self, plan: Plan) -> Plan:
        """Return a plan whose changes and failures have the filters that include their tags."""
        found = self._reasons()
        targets: defaultdict[tuple[Location, Ref], dict[str, None]] = defaultdict(dict)
        sources: defaultdict[tuple[Location, Ref], dict[str, None]] = defaultdict(dict)
        for lookup, reasons in found:
            sources[lookup.source, lookup.wanted.ref].update(dict.fromkeys(reasons))
            for target in lookup.targets:
                targets[target, lookup.wanted.name].update(dict.fromkeys(reasons))

        def of(failure: Failure) -> Failure:
            if failure.source is None or failure.ref is None:
                return failure
            return replace(failure, filters=tuple(sources.get((failure.source, failure.ref), ())))

        return replace(
            plan,
            changes=tuple(
                replace(one, filters=tuple(targets.get((one.target, one.tag or one.digest), ())))
                for one in plan.changes
            ),
            failures=tuple(map(of, plan.failures)),
        )

    def _reasons(self) -> list[tuple[Lookup, Reasons]]:
        """Return every wanted name with what includes it."""
        wanted: dict[tuple[str, Location, Tag | None], Reasons] = {
            (*key, verdict.tag): verdict.reasons
            for key, verdicts in self.verdicts().items()
            for verdict in verdicts
            if verdict.wanted
        }
        return [
            (lookup, wanted.get((lookup.mirror.pointer, lookup.source, lookup.wanted.tag), unlisted(lookup)))
            for chosen in self.chosen
            for lookup in chosen.lookups
        ]


def unlisted(lookup: Lookup) -> Reasons:
    """Return what includes a name that no list decides on."""
    return (_LOCK,) if lookup.mirror.locked else (EXACT,)
