"""The two sides of an air gap: which destination of a spec is meant, and when a document says that it was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.spec.model import Destination, Spec
from mirrorsync.sync import clock
from mirrorsync.text import printable

# Seconds since the epoch, for builds that are to be repeated byte for byte (reproducible-builds.org).
_EPOCH: Final = "SOURCE_DATE_EPOCH"


def created(environment: Environment) -> str:
    """Return the time of a document: that of SOURCE_DATE_EPOCH if it is set, otherwise now."""
    given = environment.variables.get(_EPOCH, "")
    return clock.at(int(given) if given.isdecimal() and len(given) < 12 else int(environment.clock.now()))


def destination_of(spec: Spec, name: str | None) -> Destination:
    """Return the destination whose names are meant. name: None if the spec has only one. Raises: UsageError."""
    known = {one.name: one for mirror in spec.mirrors for one in mirror.destinations}
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name is not None and name in known:
        return known[name]
    names = ", ".join(sorted(known))
    if name is None:
        raise UsageError(f"the spec has several destinations: {names}", remedy="choose one: --destination NAME")
    raise UsageError(f"the spec has no destination {printable(name)!r}", remedy=f"choose one of {names}")


def only_for(spec: Spec, place: Destination) -> Spec:
    """Return a spec with only one of its destinations."""
    mirrors = (one for one in spec.mirrors if any(each.name == place.name for each in one.destinations))
    return replace(spec, mirrors=tuple(replace(one, destinations=(place,)) for one in mirrors))
