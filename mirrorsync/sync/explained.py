"""The tags of a spec's sources with what decided on each: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Change, Failure, SpecStamp, State

# wanted: the filters want it, and no policy is in the way. dropped: a filter drops it, or none includes it. frozen: a
# policy keeps the destination's image (immutable, on_change: keep). delayed: a policy lets it wait. refused: a policy
# forbids it. failed: what becomes of it could not be found out.
Fate = Literal["wanted", "dropped", "frozen", "delayed", "refused", "failed"]

_OF_STATES: Final[dict[State, Fate]] = {
    State.KEPT: "frozen",
    State.DELAYED: "delayed",
    State.REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class AtTarget:
    """What becomes of a wanted tag at one destination: a change of the plan, or a failure."""

    target: Location
    change: Change | None = None
    failure: Failure | None = None

    @property
    def fate(self) -> Fate:
        """The word for it."""
        if self.change is not None:
            return "frozen" if self.change.verdict == "keep" else _OF_STATES.get(self.change.state, "wanted")
        if self.failure is None:
            return "wanted"  # nothing is to be done, such as for a referrer whose image is refused
        return "refused" if self.failure.policy else "failed"

    @property
    def reason(self) -> str:
        """The sentence of the policy, or the message of the error; "" if there is no more to say."""
        if self.change is not None:
            return self.change.reason
        return "" if self.failure is None else self.failure.error.message


@dataclass(frozen=True, slots=True)
class ExplainedTag:
    """A tag of a source, or an image that is wanted by its digest.

    wanted: whether filters want it. filters: what includes it, or why it is not wanted. targets: what becomes of it at
    each destination, if the mirror has policies; () if only filters decide.
    """

    name: Ref
    wanted: bool
    filters: tuple[str, ...]
    targets: tuple[AtTarget, ...] = ()

    @property
    def fates(self) -> tuple[Fate, ...]:
        """The different words for what becomes of it."""
        if not self.wanted:
            return ("dropped",)
        return tuple(dict.fromkeys(one.fate for one in self.targets)) or ("wanted",)


@dataclass(frozen=True, slots=True)
class ExplainedSource:
    """A repository that a mirror reads, and its tags in the order of their names.

    mirror: the entry of the spec. listed: whether these are all of its tags; without filters nothing is listed.
    """

    mirror: str
    source: Location
    listed: bool
    tags: tuple[ExplainedTag, ...]


@dataclass(frozen=True, slots=True)
class ExplainedTags:
    """All sources of a spec that answered, in the order of the spec, and the failures of the others."""

    spec: SpecStamp
    sources: tuple[ExplainedSource, ...]
    failures: tuple[Failure, ...]
