"""Targets as people know them: a destination by its name in the spec and the repository below it, and their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Failure
from mirrorsync.spec.versions import parse_version

# How a target sorts: by destination, repository, and version.
Rank = tuple[str, str, tuple[Any, ...]]


class Destinations:
    """The destinations of a run, by their names in its spec."""

    def __init__(self, named: Mapping[str, Location]) -> None:
        # The longest prefix comes first, so that a destination below another one keeps its repositories.
        self._named = sorted(named.items(), key=lambda item: (-len(item[1].repository), item[0]))
        self._known: dict[Location, tuple[str, str]] = {}

    def of(self, target: Location) -> tuple[str, str]:
        """Return the name of a target's destination, and its repository below it.

        A target of no named destination has its store for a name: there are none without a spec.
        """
        known = self._known.get(target)
        if known is None:
            known = self._known[target] = self._find(target)
        return known

    def _find(self, target: Location) -> tuple[str, str]:
        for name, location in self._named:
            prefix = f"{location.repository}/" if location.repository else ""
            if location.store == target.store and f"{target.repository}/".startswith(prefix):
                return name, target.repository.removeprefix(location.repository).removeprefix("/")
        return target.store.rstrip(":"), target.repository

    def rank(self, change: Change) -> Rank:
        """Return the sort key of a change."""
        return (*self.of(change.target), tag_rank(change.tag))

    def failure_rank(self, failure: Failure) -> Rank:
        """Return the sort key of a failure. Those of sources come in the order of their names."""
        where = min(map(self.of, failure.targets), default=("", ""))
        return (*where, (tag_rank(failure.ref), failure.subject))


# Of a run without a spec.
NO_DESTINATIONS: Final = Destinations({})


def tag_rank(tag: str | None) -> tuple[Any, ...]:
    """Return the sort key of a tag: versions, the lowest first; then other tags; then images without a tag."""
    version = parse_version(tag) if tag is not None else None
    if version is not None:
        return (0, version.line.prefix, version.key, version.line.variant, tag)
    return (2, "") if tag is None else (1, tag)
