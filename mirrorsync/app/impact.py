"""What depends on a source, and the acknowledgement of what it has dropped: from spec and memory, without network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mirrorsync.app.history import existing_memory
from mirrorsync.app.reading import absolute
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.files.locks import FileLock
from mirrorsync.spec.model import Spec
from mirrorsync.state import TagKey
from mirrorsync.sync import clock
from mirrorsync.sync.impact import Below, Impact, impact_of


def read_impact(spec: Spec, source: str, *, environment: Environment | None = None) -> Impact:
    """Return what depends on a source: `host`, `host/repository`, or the first part of one.

    Raises: GrammarError, UsageError if no run of the spec is remembered, StorageError.
    """
    below = Below(source, str(absolute(".")))
    with existing_memory(spec, environment) as memory:
        return impact_of(below, spec, memory.owned(), memory.absences())


def acknowledge(
    spec: Spec, sources: Sequence[str], *, by: str = "", why: str = "", environment: Environment | None = None
) -> list[Impact]:
    """Accept that sources have dropped tags that the destinations keep; return what depends on each source.

    by, why: who accepts it and the reason, for those who ask later. Raises: UsageError, and accepts nothing, if no run
    has noticed that one of the sources has dropped anything; GrammarError; Locked if a run of the spec is at work;
    StorageError.
    """
    named = [Below(source, str(absolute("."))) for source in sources]
    with FileLock(Path(spec.source), spec.source), existing_memory(spec, environment) as memory:
        owned, absences = memory.owned(), memory.absences()
        keys: set[TagKey] = set()
        for below in named:
            found = impact_of(below, spec, owned, absences).gone
            if not found:
                raise UsageError(
                    f"no run has noticed that {below.written} has dropped tags that this mirror keeps",
                    remedy=f"`mirrorsync impact {below.written}` shows what is known of it",
                )
            keys |= {(one.owned.source, one.tag) for one in found if one.owned.source is not None}
        memory.acknowledge(keys, clock.now(), by=by, why=why)
        absences = memory.absences()
        return [impact_of(below, spec, owned, absences) for below in named]
