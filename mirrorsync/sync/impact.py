"""What depends on a source, from what a mirror remembers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mirrorsync.errors import GrammarError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location, parse_destination, parse_repository
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.state import Absence, Owned, TagKey


@dataclass(frozen=True, slots=True)
class Dependent:
    """A tag of a destination. owned: what is remembered of it. absence: of its source; None = no run has missed it."""

    target: Location
    tag: Tag
    owned: Owned
    absence: Absence | None = None


@dataclass(frozen=True, slots=True)
class Impact:
    """What depends on a source. mirrors: those of the spec that read it."""

    source: str
    mirrors: tuple[Mirror, ...]
    tags: tuple[Dependent, ...]

    @property
    def gone(self) -> tuple[Dependent, ...]:
        """The tags that the source has dropped."""
        return tuple(one for one in self.tags if one.absence is not None)


class Below:
    """The repositories that a text names: one, all whose names it begins (`docker.io/bitnami`), or those of a host.

    base: the directory that relative paths start from. Raises: GrammarError.
    """

    def __init__(self, written: str, base: str) -> None:
        self.written = written
        self._named = [parse_destination(written, base)]
        with suppress(GrammarError):  # docker.io/redis is docker.io/library/redis
            self._named.append(parse_repository(written, base))

    def __contains__(self, source: Location) -> bool:
        return any(
            source.store == named.store
            and (named.repository in ("", source.repository) or source.repository.startswith(f"{named.repository}/"))
            for named in self._named
        )

    def has_source_of(self, mirror: Mirror) -> bool:
        """Return whether a mirror reads one of the repositories."""
        return mirror.source in self or any(mirror.covers(named) for named in self._named)


def impact_of(below: Below, spec: Spec, owned: Mapping[TagKey, Owned], absences: Mapping[TagKey, Absence]) -> Impact:
    """Return what depends on the repositories `below` a name: mirrors, and tags in the order of their names."""
    tags = (
        Dependent(target, tag, one, absences.get((one.source, tag)))
        for (target, tag), one in sorted(owned.items(), key=lambda item: item[0])
        if one.source is not None and one.source in below
    )
    return Impact(below.written, tuple(one for one in spec.mirrors if below.has_source_of(one)), tuple(tags))
