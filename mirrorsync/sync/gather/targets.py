"""The repositories of destinations that mirrors write to, or may write to."""

from __future__ import annotations

from mirrorsync.errors import GrammarError
from mirrorsync.oci.reference import Location
from mirrorsync.spec.model import Mirror


def targets_of(mirror: Mirror, source: Location) -> tuple[Location, ...]:
    """Return the repositories that a source is mirrored to, or just the destinations if it gives no valid name."""
    try:
        return tuple(mirror.target(destination, source.repository) for destination in mirror.destinations)
    except GrammarError:
        return tuple(destination.location for destination in mirror.destinations)


class MayWrite:
    """The repositories that some mirrors may write to; for a namespace all whose names its template can give.

    It answers for many mirrors and targets: only those of namespaces are compared with each other.
    """

    def __init__(self) -> None:
        self._known: set[Location] = set()
        self._namespaces: list[Mirror] = []

    def add(self, mirror: Mirror) -> None:
        """Add the targets of a mirror."""
        if mirror.namespace is None:
            self._known.update(targets_of(mirror, mirror.source))
        elif mirror not in self._namespaces:
            self._namespaces.append(mirror)

    def __contains__(self, target: Location) -> bool:
        return target in self._known or any(mirror.may_write(target) for mirror in self._namespaces)
