"""`budget:` of a spec: how much one run may take, and which images wait for the next one. Pure.

Images are taken in the order of the spec, those first that are damaged at their destination. The first one that does
not fit ends it: no later image overtakes it, except those that cost nothing. So what waits now is first in a later run,
and an image that is larger than the whole budget gets a run of its own instead of waiting for ever.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mirrorsync.durations import seconds
from mirrorsync.hosts import Pulls
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import BUDGET, WAITS, Change, Image, Plan, State
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
    """The key `budget:` of a spec; a limit that is None is not set.

    pulls: manifests that are read from sources. bytes: of blobs that are read from sources. time: seconds from the
    start of the run, after which no image begins.
    """

    pulls: Limit | None = None
    bytes: Limit | None = None
    time: Limit | None = None


_UNITS: Final[Mapping[str, Callable[[Any], float]]] = {"pulls": float, "bytes": size, "time": seconds}


def read_limit(key: str, value: Any) -> Limit:
    """Read one limit of a budget, such as `bytes: 50GiB`; its type was checked by the schema. Raises: GrammarError."""
    return Limit(str(value), _UNITS[key](value))


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
        parts = [step for one in images if one in known for step in steps_of(known[one], steps)]
        found = {step.id: step.size for step in parts if isinstance(step, CopyBlob)}
        cost = sum(number for name, number in found.items() if name not in read)
        full = full or bool(spent and spent + cost > budget.bytes.number)
        if cost and full:
            waiting.update(images)
            continue
        taken.update(images)
        read.update(found)
        spent += cost
    decision = waits(f"the budget of {budget.bytes.text} is used")
    return {image: decision for image in known if image in waiting and image not in taken}


def waits(why: str) -> Decision:
    """Return the decision that an image waits for the next run. why: which limit is used."""
    return Decision("delay", WAITS + why, policy=BUDGET)


def delayed(plan: Plan, changes: Iterable[Change], why: str) -> Plan:
    """Return a plan with some of its changes delayed. Its steps stay as they are."""
    steps = {change.step for change in changes}
    decision = waits(why)

    def waiting(change: Change) -> Change:
        reason, policy, verdict = decision.reason, decision.policy, decision.verdict
        return replace(change, state=State.DELAYED, reason=reason, policy=policy, verdict=verdict, step="")

    after = [waiting(change) if change.step in steps else change for change in plan.changes]
    return replace(plan, changes=tuple(after))


def _name(image: Image) -> tuple[Location, Tag | Digest]:
    return image.target, image.tag or image.root.digest


def steps_of(change: Change, steps: Mapping[str, Step]) -> Iterator[Step]:
    """Yield the steps that a change needs, each once. steps: those of the plan, by id."""
    pending, seen = [change.step], set[str]()
    while pending:
        name = pending.pop()
        if name in seen or name not in steps:
            continue
        seen.add(name)
        step = steps[name]
        yield step
        pending += step.needs


class Allowance:
    """The pulls that a run may still use, taken image by image in the order of the spec.

    most: in the whole run, None = any number. keep: how many are to remain, by host. What a host says is given with
    every question, since it changes while manifests are read.
    """

    def __init__(self, most: int | None, keep: Mapping[str, int]) -> None:
        self._most = most
        self._keep = keep
        self._promised: Counter[str] = Counter()
        self._used_up: dict[str, str] = {}  # why, by host; under "" for all of them

    def take(self, host: str, need: int, pulls: Mapping[str, Pulls], read: int = 0) -> str:
        """Take `need` pulls for an image; return why it has to wait instead, "" if it has not.

        pulls: those of all sources so far. read: pulls that were used already to find out what it needs. The first
        image may need more than the budget, and one that can never fit may use what was to be kept.
        """
        why = self.refusal(host, need, pulls, read)
        if need and not why:
            self.promise(host, need)
        return why

    def promise(self, host: str, need: int) -> None:
        """Count pulls that will be used, whether they are within the budget or not."""
        self._promised[host] += need

    def refusal(self, host: str, need: int, pulls: Mapping[str, Pulls], read: int = 0) -> str:
        """Return why an image that needs so many more pulls has to wait, "" if it has not. Takes none."""
        if not need:
            return ""
        if not self.used_up(host):
            used = sum(one.used for one in pulls.values()) + self._promised.total()
            if self._most is not None and self._promised and used + need > self._most:
                self._used_up[""] = f"the budget of {self._most} {'pull' if self._most == 1 else 'pulls'} is used"
            elif why := self._too_few(host, need, pulls.get(host, Pulls()), read):
                self._used_up[host] = why
        return self.used_up(host)

    def used_up(self, host: str) -> str:
        """Return why no more pulls may be used at a host, "" if some may."""
        return self._used_up.get("", "") or self._used_up.get(host, "")

    def end(self, host: str, why: str) -> str:
        """Use no more pulls at a host whose limit is respected; return `why`, or "" if it is not respected."""
        if host not in self._keep:
            return ""
        self._used_up.setdefault(host, why)
        return why

    def _too_few(self, host: str, need: int, pulls: Pulls, read: int) -> str:
        keep = self._keep.get(host)
        if keep is None or pulls.remaining is None:
            return ""
        left = pulls.remaining - self._promised[host]
        if need <= left - keep:
            return ""
        never = pulls.limit is not None and need + read > pulls.limit - keep
        if never and need <= left and host not in self._promised:
            return ""
        of_limit = "" if pulls.limit is None else f" of {pulls.limit}"
        refill = "" if not pulls.window else f"; it refills within {_spoken(pulls.window)}"
        return f"{host} has {max(0, left)}{of_limit} pulls left, and keep is {keep}{refill}"


def _spoken(window: int) -> str:
    return f"{window / 3600:.3g} h" if window >= 3600 else f"{max(1, round(window / 60))} min"
