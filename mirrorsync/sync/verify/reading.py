"""Read the blobs that a walk has found present, as many as the depth says, and note those that are damaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from mirrorsync.errors import ContentNotFound, IntegrityError, MirrorsyncError
from mirrorsync.events import Observer, ReadPlanned
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Amount
from mirrorsync.stores.base import ReadsBack
from mirrorsync.stores.located import located_at
from mirrorsync.sync.content import ContentReader
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.verify.model import Depth, Found, Health
from mirrorsync.sync.verify.walk import State, Walker, found_of


@dataclass(frozen=True, slots=True)
class ReadContent:
    """How much was read. candidates: the number of blobs that the depth allows to read."""

    read: Amount
    candidates: int


async def read_content(walker: Walker, depth: Depth, observer: Observer) -> ReadContent:
    """Read blobs, each once for each store, and set the states of those that are missing, damaged or not readable."""
    # A registry stores a blob once, whichever of its repositories have it.
    candidates = sorted(_candidates(walker, depth).items())
    chosen = [states for _, states in depth.sample(candidates)]
    async with ContentReader(observer) as reader:
        observer(ReadPlanned(len(chosen), sum(states[0].part.content.size for states in chosen)))

        async def prove(states: list[State]) -> None:
            await _prove(walker, reader, states)

        await for_each(chosen, prove)
        return ReadContent(reader.read, len(candidates))


def _candidates(walker: Walker, depth: Depth) -> Mapping[tuple[str, Digest], list[State]]:
    found: defaultdict[tuple[str, Digest], list[State]] = defaultdict(list)
    for state in walker.states.values():
        on_this_machine = isinstance(walker.repository(state.location), ReadsBack)
        is_present = state.health == Health.COMPLETE and not state.part.content.is_manifest
        if is_present and depth.reads(on_this_machine=on_this_machine):
            found[state.location.store, state.part.content.digest].append(state)
    return found


async def _prove(walker: Walker, reader: ContentReader, states: list[State]) -> None:
    first = states[0]
    location, content = first.location, first.part.content
    try:
        with located_at(location.store, location.repository, content.digest):
            await reader.prove(Location(location.store, ""), walker.repository(location), content)
    except ContentNotFound:
        first.health = Health.MISSING
    except IntegrityError as error:
        for state in states:
            state.health, state.found = Health.DAMAGED, _instead(error, content.size)
    except MirrorsyncError as error:
        for state in states:
            state.health, state.error = Health.UNCHECKED, error


def _instead(error: IntegrityError, size: int) -> Found:
    found = found_of(error)
    return Found(None, found.digest) if found.size == size else found
