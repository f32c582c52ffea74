"""The one road up to the plan: resolve, observe, difference. And the way back in: is a saved plan still true?"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import PurePath

from mirrorsync.errors import StalePlan, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.model import Change, CopyBlob, Image, Plan, PutManifest, SetTag, SpecStamp, final_step
from mirrorsync.spec.filters import ExactTag
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.held import held_at
from mirrorsync.sync.gather.observe import observe
from mirrorsync.sync.gather.referring import comes_along
from mirrorsync.sync.gather.resolve import choose
from mirrorsync.sync.gather.roots import root_of
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located

_SHOWN = 5  # how many moved tags a refusal names


def now() -> str:
    """Return the time, UTC, as ISO 8601 with seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def make_plan(
    spec: Spec, session: Session, *, only: Sequence[str] = (), deep: bool = False, clock: Callable[[], str] = now
) -> Plan:
    """Return what would have to change for the destinations to hold what `spec` wants today.

    only: globs on the source repository; when there are any, the other mirrors are left out. deep: ask for every blob
    and manifest, instead of believing that a tag with the right digest is complete. Raises: UsageError when `only`
    matches nothing; what fails for single images is in the plan.
    """
    created = clock()
    chosen = await choose(select(spec, only), session)
    tags = DestinationTags(session)
    # Both sides at the same time: one of them is often far, and its answers are waited for.
    async with asyncio.TaskGroup() as group:
        group.create_task(tags.ask(chosen.tags()))
        resolving = group.create_task(chosen.resolve())
    desired = resolving.result()
    observed = await observe(desired, session, tags, deep=deep)
    return diff(desired, observed, spec=stamp(spec, only), created=created)


def stamp(spec: Spec, only: Sequence[str] = ()) -> SpecStamp:
    """Return what a plan says about the spec it was made of."""
    return SpecStamp(spec.source, spec.digest, tuple(only))


def select(spec: Spec, only: Sequence[str]) -> tuple[Mirror, ...]:
    """Return the mirrors whose source matches one of the globs; all of them when there are none. Raises: UsageError."""
    if not only:
        return spec.mirrors
    chosen = tuple(mirror for mirror in spec.mirrors if any(_matches(mirror.source, glob) for glob in only))
    if not chosen:
        raise UsageError(
            f"no mirror of {PurePath(spec.source).name} has a source that matches {' or '.join(only)}",
            remedy="use the whole name (docker.io/library/nginx), its end (library/nginx), or a glob such as '*nginx*'",
        )
    return chosen


def _matches(source: Location, glob: str) -> bool:
    name = str(source)
    return any(fnmatch.fnmatchcase(candidate, glob) for candidate in (name, source.repository, PurePath(name).name))


def check_against(plan: Plan, spec: Spec) -> None:
    """Make sure that a saved plan does only what its spec asks for.

    Raises: StalePlan when the spec is another by now; UsageError when the plan has an image or a step that it should
    not, or lacks one that it should, which no plan that mirrorsync wrote does.
    """
    if plan.spec.digest != spec.digest:
        raise StalePlan(f"{spec.source} was changed after the plan was made")
    for change in plan.changes:
        if not any(_asks_for(mirror, change.image) for mirror in spec.mirrors):
            raise _tampered(f"its spec does not ask for {change.image}")
    _check_places(plan)
    _check_ends(plan)


def _asks_for(mirror: Mirror, image: Image) -> bool:
    """Tell whether a mirror can come to this image, with its source followed or pinned as the mirror says."""
    source = Location(mirror.source.store, image.source.repository) if mirror.whole_store else mirror.source
    targets = {mirror.target(destination, source.repository) for destination in mirror.destinations}
    if image.source != source or image.target not in targets:
        return False
    if mirror.referrers and comes_along(image):
        return True
    if image.platforms != mirror.platforms:
        return False
    wanted: list[ExactTag | Digest] = list(mirror.selection.digests)
    if image.tag is not None:
        wanted = [exact for exact in mirror.selection.choose([image.tag]) if exact.tag == image.tag]
    return any(_is_wanted(mirror, image, choice) for choice in wanted)


def _is_wanted(mirror: Mirror, image: Image, choice: ExactTag | Digest) -> bool:
    """Tell whether an image follows, or is, what was chosen. What is followed is asked again anyway."""
    pin = choice if isinstance(choice, Digest) else choice.digest
    return image.followed == mirror.followed(choice) and (image.followed is not None or image.root.digest == pin)


def _check_places(plan: Plan) -> None:
    """See that steps read where the plan's images are, and write where they should be. Raises: UsageError."""
    read_from = {change.image.source for change in plan.changes}
    written_to = {change.image.target for change in plan.changes}
    for step in plan.steps:
        targets = step.targets if isinstance(step, CopyBlob) else (step.target,)
        if step.source not in read_from or not written_to.issuperset(targets):
            raise _tampered(f"step {step.id} is at a place where none of its images is")


def _check_ends(plan: Plan) -> None:
    """See that every image that changes has its last step, and that all others lead to one. Raises: UsageError."""
    steps = {step.id: step for step in plan.steps}
    pending = []
    for change in plan.changed():
        last = steps.get(final_step(change.image))
        was = last.was if isinstance(last, SetTag) else change.was
        root = last.manifest.digest if isinstance(last, SetTag | PutManifest) else None
        if last is None or root != change.image.root.digest or _digest(was) != _digest(change.was):
            raise _tampered(f"nothing in it makes {change.image} what it should be")
        pending.append(last)
    needed = set()
    while pending:
        step = pending.pop()
        if step.id not in needed:
            needed.add(step.id)
            pending += (steps[need] for need in step.needs)
    for extra in steps.keys() - needed:
        raise _tampered(f"step {extra} is needed by none of its images")


def _digest(content: Descriptor | None) -> Digest | None:
    return content.digest if content else None


def _tampered(message: str) -> UsageError:
    return UsageError(f"the plan is not one that mirrorsync made: {message}", remedy="make a new plan")


async def check_fresh(plan: Plan, session: Session) -> None:
    """Ask again for every tag of a saved plan, on both sides.

    Raises: StalePlan when any of them is not what it was, before anything is changed.
    """
    moved: list[str] = []

    async def check(change: Change) -> None:
        image = change.image
        if image.followed is not None:
            with located("source", image.source, image.followed):
                held = await root_of(session, image.source, image.followed, image.platforms)
            if held is None or held.digest != image.root.digest:
                moved.append(str(image.origin))
        reference = image.tag or str(image.root.digest)
        with located("destination", image.target, reference):
            held = await held_at(session, image.target, reference, image.root, image.source)
        if (held.digest if held else None) != (change.was.digest if change.was else None):
            moved.append(str(image))

    await for_each(plan.changes, check)
    if moved:
        named = ", ".join(sorted(moved)[:_SHOWN])
        more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        raise StalePlan(f"{named}{more} changed after the plan was made; nothing was done")
