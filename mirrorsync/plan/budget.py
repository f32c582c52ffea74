"""`budget:` of a spec: how much one run may take, and which images wait for the next one. Pure.

Images are taken in the order of the spec, those first that are damaged at their destination. The first one that does
not fit ends it: no later image overtakes it, except those that cost nothing. So what waits now is first in a later run,
and an image that is larger than the whole budget gets a run of its own instead of waiting for ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import WAITS, Change, Image, Plan, State
from mirrorsync.plan.policies import Decision
from mirrorsync.plan.steps import CopyBlob, Step
from mirrorsync.sizes import size


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit. text: as it is written; number: of bytes or seconds."""

    text: str
    number: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The key `budget:` of a spec; a limit that is None is not set. bytes: of blobs that are read from sources."""

    bytes: Limit | None = None


_UNITS: Final = {"bytes": size}


def read_limit(key: str, value: Any) -> Limit:
    """Read one limit of a budget, such as `bytes: 50GiB`; its type was checked by the schema. Raises: GrammarError."""
    return Limit(value, _UNITS[key](value))


def together(desired: Desired, repaired: Iterable[Image] = ()) -> Iterator[tuple[Image, ...]]:
    """Yield the images in the order in which a budget is spent; each with the referrers that come along with it.

    A referrer of several images is yielded with each of them. repaired: images that go first.
    """
    carried: defaultdict[Image, list[Image]] = defaultdict(list)
    for referrer, carriers in desired.carriers.items():
        for carrier in carriers:
            carried[carrier].append(referrer)
    first = frozenset(repaired)
    images = [image for image in desired.images if image not in desired.carriers]
    for image in sorted(images, key=lambda image: image not in first):
        yield (image, *carried.get(image, ()))


def over_bytes(desired: Desired, plan: Plan, budget: Budget) -> dict[Image, Decision]:
    """Return the images of a plan that wait because the plan reads more bytes than the budget.

    A blob that several images share is counted once. An image without bytes to read never waits.
    """
    if budget.bytes is None or plan.read_bytes <= budget.bytes.number:
        return {}
    changes = {(one.target, one.tag or one.digest): one for one in plan.changed()}
    steps = {step.id: step for step in plan.steps}
    known = {image: changes[_name(image)] for image in desired.images if _name(image) in changes}
    repaired = [image for image, change in known.items() if change.state == State.INCOMPLETE]
    read: set[str] = set()
    spent, full, waiting, taken = 0, False, set[Image](), set[Image]()
    for images in together(desired, repaired):
        found = {step.id: step.size for one in images if one in known for step in _copies(known[one], steps)}
        cost = sum(number for name, number in found.items() if name not in read)
        full = full or bool(spent and spent + cost > budget.bytes.number)
        if cost and full:
            waiting.update(images)
            continue
        taken.update(images)
        read.update(found)
        spent += cost
    decision = Decision("delay", f"{WAITS}the budget of {budget.bytes.text} is used", policy="budget")
    return {image: decision for image in known if image in waiting and image not in taken}


def _name(image: Image) -> tuple[Location, Tag | Digest]:
    return image.target, image.tag or image.root.digest


def _copies(change: Change, steps: Mapping[str, Step]) -> Iterator[CopyBlob]:
    """Yield the blobs that are read for a change."""
    pending, seen = [change.step], set[str]()
    while pending:
        name = pending.pop()
        if name in seen or name not in steps:
            continue
        seen.add(name)
        step = steps[name]
        if isinstance(step, CopyBlob):
            yield step
        pending += step.needs
