"""The way back in for a saved plan: does it do what its spec asks for, and is what it found still so?"""

from __future__ import annotations

from typing import Final

from mirrorsync.errors import StalePlan, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Origin, Plan, State
from mirrorsync.plan.policies import Facts, decide
from mirrorsync.plan.steps import PutManifest, SetTag, Step, end_of
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.spec.selection import Wanted
from mirrorsync.sync.gather.held import held_at
from mirrorsync.sync.gather.referring import comes_along
from mirrorsync.sync.gather.roots import root_of
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located

_SHOWN: Final = 5  # how many moved tags a refusal names


def check_against(plan: Plan, spec: Spec) -> None:
    """Make sure that a saved plan does only what its spec asks for. Takes time in proportion to the plan.

    Raises: StalePlan if the spec has changed since; UsageError if the plan has a change or a step that it should not,
    or lacks one that it should, which no plan that mirrorsync wrote does.
    """
    if plan.spec.digest != spec.digest:
        raise StalePlan(f"{spec.source} was changed after the plan was made")
    asking = {mirror.pointer: _Asking(mirror) for mirror in spec.mirrors}
    for change in plan.changes:
        mirror = asking.get(change.mirror)
        if mirror is None or change.origin is None or not mirror.asks_for(change, change.origin):
            raise _tampered(f"its spec does not ask for {change}")
    _check_places(plan)
    _check_ends(plan)


class _Asking:
    """What one mirror can ask for; what many of its images share is worked out once."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._targets: dict[Location, frozenset[Location]] = {}

    def asks_for(self, change: Change, origin: Origin) -> bool:
        """Tell whether the mirror can come to this image, with its source followed or pinned as the mirror says."""
        mirror = self._mirror
        if change.after is None or change.target not in self._targets_of(origin.location):
            return False
        if mirror.referrers and comes_along(change.tag, origin):
            return True
        if change.state.changes and _is_forbidden(mirror, change):
            return False
        if origin.platforms != mirror.platforms:
            return False
        chosen = mirror.selection.choose(() if change.tag is None else (change.tag,))
        return any(_is_wanted(mirror, origin, change, choice) for choice in chosen if choice.tag == change.tag)

    def _targets_of(self, source: Location) -> frozenset[Location]:
        found = self._targets.get(source)
        if found is None:
            mirror = self._mirror
            own = source.store == mirror.source.store if mirror.whole_store else source == mirror.source
            places = [mirror.target(place, source.repository) for place in mirror.destinations] if own else []
            found = self._targets[source] = frozenset(places)
        return found


def _is_forbidden(mirror: Mirror, change: Change) -> bool:
    decision = decide(mirror.policies, Facts(change.tag, change.before, change.after))
    return decision is not None and decision.verdict != "update" and change.state != State.INCOMPLETE


def _is_wanted(mirror: Mirror, origin: Origin, change: Change, choice: Wanted) -> bool:
    """Tell whether an image follows, or is, what was chosen. What is followed is resolved again anyway."""
    if origin.followed != mirror.followed(choice):
        return False
    # What a policy keeps may be any image: nothing is done about it.
    return origin.followed is not None or not _follows(change) or change.digest == choice.ref


def _check_places(plan: Plan) -> None:
    """See that steps read where the plan's images are, and write where they should be. Raises: UsageError."""
    written_to = {change.target for change in plan.changes}
    read_from = written_to | {change.origin.location for change in plan.changes if change.origin is not None}
    stores = {target.store for target in written_to}
    for step in plan.steps:
        # A mount reads in another repository of the store that it writes to.
        reads = all(place in read_from or place.store in stores for place in step.reads)
        if not reads or not written_to.issuperset(step.writes):
            raise _tampered(f"step {step.id} is at a place where none of its images is")


def _check_ends(plan: Plan) -> None:
    """See that every image that changes has its last step, and that all others lead to one. Raises: UsageError."""
    steps = {step.id: step for step in plan.steps}
    pending: list[Step] = []
    for change in plan.changes:
        last = steps.get(change.step)
        if not _completes(last, change):
            raise _tampered(f"nothing in it makes {change} what it should be")
        pending += [last] if last is not None else []
    needed = set()
    while pending:
        step = pending.pop()
        if step.id not in needed:
            needed.add(step.id)
            pending += (steps[need] for need in step.needs)
    for extra in steps.keys() - needed:
        raise _tampered(f"step {extra} is needed by none of its images")


def _completes(last: Step | None, change: Change) -> bool:
    """Tell whether a step makes of an image what its change says; a change that is none has no step."""
    if not change.state.changes:
        return change.step == ""
    if change.after is None or change.step != end_of(change.target, change.tag, change.after.digest):
        return False
    if isinstance(last, SetTag):
        before, root = last.before, last.manifest
    elif isinstance(last, PutManifest):
        before, root = change.before, last.manifest
    else:
        return False
    return root.digest == change.after.digest and _digest(before) == _digest(change.before)


def _digest(content: Descriptor | None) -> Digest | None:
    return content.digest if content else None


def _tampered(message: str) -> UsageError:
    return UsageError(f"the plan is not one that mirrorsync made: {message}", remedy="make a new plan")


async def check_fresh(plan: Plan, session: Session) -> None:
    """Ask again for every tag of a plan, on both sides.

    Raises: StalePlan when any of them is not what it was, before anything is changed.
    """
    moved: list[str] = []

    async def check(change: Change) -> None:
        origin, after = change.origin, change.after
        if origin is not None and after is not None and origin.followed is not None and _follows(change):
            with located("source", origin.location, origin.followed):
                found = await root_of(session, origin.location, origin.followed, origin.platforms)
            if _digest(found) != after.digest:
                moved.append(str(origin.reference(after.digest)))
        if _digest(await _now(change, session)) != _digest(change.before):
            moved.append(str(change))

    await for_each(plan.changes, check)
    if moved:
        named = ", ".join(sorted(moved)[:_SHOWN])
        more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        raise StalePlan(f"{named}{more} changed after the plan was made; nothing was done")


def _follows(change: Change) -> bool:
    """Tell whether an image is what its source has. What a policy keeps is not, or its source was not asked."""
    return change.state.changes or not change.reason


async def _now(change: Change, session: Session) -> Descriptor | None:
    """Return what a change's name stands for at its destination now."""
    ref = change.tag or change.digest
    with located("destination", change.target, ref):
        if change.origin is None or change.after is None:
            return await session.repository(change.target).resolve(ref)
        return await held_at(session, change.target, ref, change.after, change.origin.location)
