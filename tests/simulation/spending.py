"""The rules for `budget: {bytes}`. Which images wait depends on the order of the tags; that the rest fits does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirrorsync.plan.model import Plan, State
from tests.simulation.past import Key

if TYPE_CHECKING:
    from tests.simulation.oracle import Present
    from tests.simulation.world import World


def postponed(world: World, plan: Plan | None, present: Present) -> frozenset[Key]:
    """Return the images that wait for the next run, and check that the budget is kept, and is no reason if all fits.

    One image may be larger than the budget; it has a run of its own.
    """
    if plan is None:
        return frozenset()
    waiting = {
        (one.target.repository, str(one.tag)): str(one.digest)
        for one in plan.changes
        if one.state == State.DELAYED and one.policy == "budget"
    }
    most = world.rules.budget
    assert most or not waiting, f"there is no budget, and {waiting} wait for it"
    costly = {
        one.after.digest
        for one in plan.changed()
        if one.after and _bytes(world, present, one.target.repository, str(one.after.digest))
    }
    assert not most or plan.read_bytes <= most or len(costly) <= 1, f"{plan.read_bytes} bytes are more than {most}"
    if waiting:
        images = {(repository, digest) for (repository, _), digest in waiting.items()}
        needed = plan.read_bytes + sum(_bytes(world, present, *image) for image in images)
        assert needed > most, f"{waiting} wait, but {needed} bytes are not more than {most}"
    return frozenset(waiting)


def _bytes(world: World, present: Present, repository: str, digest: str) -> int:
    """Return the bytes of an image that its source has to send."""
    picture = world.upstream.images.get(repository, {}).get(digest)
    there = present.contents.get(repository, frozenset())
    return sum(len(data) for key, data in picture.blobs.items() if key not in there) if picture else 0
