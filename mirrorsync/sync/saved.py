"""Check that a saved plan does only what its spec asks for. Pure."""

from __future__ import annotations

import math
from collections import defaultdict

from mirrorsync.errors import StalePlan, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Origin, Plan, State
from mirrorsync.plan.policies import Facts, Referrers, Verify, decide
from mirrorsync.plan.prune import POINTER
from mirrorsync.plan.steps import DeleteManifest, DeleteTag, PutManifest, SetTag, Step, end_of
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.spec.selection import Wanted
from mirrorsync.sync.gather.referring import may_be_referrer


def check_against(plan: Plan, spec: Spec) -> None:
    """Check that a saved plan does only what its spec asks for. Takes time in proportion to the plan.

    Raises: StalePlan if the spec has changed since; UsageError if the plan has a change or a step too many or too few,
    which is not the case for a plan that mirrorsync wrote.
    """
    if plan.spec.digest != spec.digest:
        raise StalePlan(f"{spec.source} was changed after the plan was made")
    if (plan.spec.lock and plan.spec.lock.digest) != (spec.lock and spec.lock.digest):
        raise StalePlan(f"the lock of {spec.source} was changed after the plan was made")
    _check_changes(plan, spec)
    _check_locations(plan)
    _check_ends(plan)
    if spec.prune is not None and spec.prune.keep_generations:
        for step in plan.steps:
            if isinstance(step, DeleteTag) and not step.stays:
                raise _tampered(f"step {step.id} could delete a manifest that a kept generation needs")


def _check_changes(plan: Plan, spec: Spec) -> None:
    """Check that the spec asks for every change. Raises: UsageError."""
    mirrors: defaultdict[str, list[_MirrorCheck]] = defaultdict(list)
    for one in spec.mirrors:  # an entry can be several mirrors: see `spec.locked`
        mirrors[one.pointer].append(_MirrorCheck(one))
    moved = {(one.target, one.tag): one for one in plan.changes if one.state == State.MOVED}
    for change in plan.changes:
        if change.backup_of is not None:
            of = moved.get((change.target, change.backup_of))
            if of is None or not any(one.backs_up(change, of) for one in mirrors.get(change.mirror, ())):
                raise _tampered(f"its spec does not ask for {change}")
            continue
        if change.mirror == POINTER and _may_prune(spec, change):
            continue
        origin, asking = change.origin, mirrors.get(change.mirror, ())
        if origin is None or not any(mirror.asks_for(change, origin) for mirror in asking):
            raise _tampered(f"its spec does not ask for {change}")


def _may_prune(spec: Spec, change: Change) -> bool:
    """Return whether a spec can ask for a deletion. Which tags are this mirror's own was checked for the plan."""
    stores = {destination.location.store for destination in spec.destinations.values()}
    asked = spec.prune is not None or any(one.on_vanish == "delete" or one.backup for one in spec.mirrors)
    if not asked or (change.tag is None and not (spec.prune is not None and spec.prune.keep_generations)):
        return False
    return change.state == State.DELETED and change.after is None and change.target.store in stores


class _MirrorCheck:
    """Checks changes against their mirror; computes targets once for all its images."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._targets: dict[Location, frozenset[Location]] = {}

    def asks_for(self, change: Change, origin: Origin) -> bool:
        """Return whether the mirror can want this image, with its source followed or pinned as in the mirror."""
        mirror = self._mirror
        if change.after is None or change.target not in self._targets_of(origin.location):
            return False
        if mirror.referrers and may_be_referrer(change.tag, origin):
            return True
        if change.state.changes and _is_forbidden(mirror, change):
            return False
        if (origin.platforms, origin.index) != (mirror.platforms, mirror.index):
            return False
        chosen = mirror.selection.choose(() if change.tag is None else (change.tag,))
        return any(_is_wanted(mirror, origin, change, choice) for choice in chosen if choice.tag == change.tag)

    def backs_up(self, change: Change, moved: Change) -> bool:
        """Return whether a change is the backup that this mirror makes of a tag before it moves."""
        backup, before = self._mirror.backup, moved.before
        if backup is None or before is None or moved.tag is None or change.tag is None or change.after is None:
            return False
        return (
            change.origin == Origin(change.target)
            and change.mirror == moved.mirror
            and change.after.digest == before.digest
            and change.state in (State.NEW, State.UNCHANGED)
            and backup.names(moved.tag, before.digest).fullmatch(change.tag) is not None
        )

    def _targets_of(self, source: Location) -> frozenset[Location]:
        found = self._targets.get(source)
        if found is None:
            mirror = self._mirror
            own = mirror.destinations if mirror.covers(source) else ()
            targets = [mirror.target(one, source.repository) for one in own]
            found = self._targets[source] = frozenset(targets)
        return found


def _is_forbidden(mirror: Mirror, change: Change) -> bool:
    # How long an image has been known was decided when the plan was made, and it is longer now. Signatures and required
    # referrers are looked for again before the plan is applied (`sync.proven`, `sync.required`).
    policies = [policy for policy in mirror.policies if not isinstance(policy, Verify | Referrers)]
    decision = decide(policies, Facts(change.tag, change.before, change.after, now=math.inf, older=change.older))
    return decision is not None and decision.verdict != "update" and change.state != State.INCOMPLETE


def _is_wanted(mirror: Mirror, origin: Origin, change: Change, choice: Wanted) -> bool:
    """Return whether an image follows the chosen ref, or has the chosen digest. A followed ref is resolved anyway."""
    if origin.followed != mirror.followed(choice):
        return False
    # An image that a policy keeps may be any image: it gets no steps.
    return origin.followed is not None or not _follows(change) or change.digest == choice.ref


def _check_locations(plan: Plan) -> None:
    """Check that steps read from sources and write to targets of the plan's images only. Raises: UsageError."""
    written_to = {change.target for change in plan.changes}
    read_from = written_to | {change.origin.location for change in plan.changes if change.origin is not None}
    stores = {target.store for target in written_to}
    for step in plan.steps:
        # A mount reads from another repository of the store that it writes to.
        reads = all(location in read_from or location.store in stores for location in step.reads)
        if not reads or not written_to.issuperset(step.writes):
            raise _tampered(f"step {step.id} reads or writes a location of no image")


def _check_ends(plan: Plan) -> None:
    """Check that every changed image has its last step, and that these need all other steps. Raises: UsageError."""
    steps = {step.id: step for step in plan.steps}
    pending: list[Step] = []
    for change in plan.changes:
        last = steps.get(change.step)
        if not _completes(last, change):
            raise _tampered(f"no step completes {change}")
        pending += [last] if last is not None else []
    needed = set()
    while pending:
        step = pending.pop()
        if step.id not in needed:
            needed.add(step.id)
            pending += (steps[need] for need in step.needs)
    for extra in steps.keys() - needed:
        raise _tampered(f"step {extra} is not needed by any image")


def _completes(last: Step | None, change: Change) -> bool:
    """Return whether a step completes a change; an unchanged image has no step."""
    if not change.state.changes:
        return change.step == ""
    if isinstance(last, DeleteManifest) and change.after is None:
        return (last.target, change.tag, last.tags, last.manifest.digest) == (change.target, None, (), change.digest)
    if isinstance(last, DeleteTag) and change.after is None:
        return (last.target, last.tag) == (change.target, change.tag) and _digest(last.before) == _digest(change.before)
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


def _follows(change: Change) -> bool:
    """Return whether an image is that of its source. One that a policy keeps is not, or its source was not asked."""
    return change.state.changes or not change.reason
