"""The protocol of a policy: facts about one image in, a decision out. Pure: it does not gather facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.referrer_types import ReferrerType
from mirrorsync.trust.evidence import Finding

# keep: the destination's image stays. update: it is replaced by the source's, and later policies are not applied.
# refuse: it stays, and this is a failure of the run. delete: the tag is deleted. delay: it waits for a later run, and
# this one names it as waiting. report: nothing is decided, but the reason is shown if no later policy decides.
Verdict = Literal["keep", "update", "refuse", "delete", "delay", "report"]


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one wanted image at one destination.

    tag: its tag at the destination, None if it is wanted by digest alone. before: the image under it now, None if there
    is no such tag. found: the image at the source, None if the source was not asked. pinned: whether the spec names it
    by its digest. first_seen: when this mirror first saw the image at a source; now: the time of the run; both in
    seconds since the epoch. names: of the image at its source, for patterns: host/repository, with tag, with digest.
    signature: whether it is proven to be signed, None if nothing has looked for that.
    older: that the tag moves to an older image, as a sentence, "" if that is not known. referrers: the
    types of its referrers at the source, None if they were not listed.
    """

    tag: Tag | None
    before: Descriptor | None
    found: Descriptor | None
    pinned: bool = False
    first_seen: float = 0.0
    now: float = 0.0
    names: tuple[str, ...] = ()
    signature: Finding | None = None
    older: str = ""
    referrers: tuple[ReferrerType, ...] | None = None

    @property
    def moved(self) -> bool:
        """Whether the source has another image than the destination."""
        return self.before is not None and self.found is not None and self.before.digest != self.found.digest


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on an image, and the reason: a sentence for people. remedy: for a refusal.

    until: when it will be another one by time alone, in seconds since the epoch; None = by other facts. policy: the key
    of the policy, which `decide` fills in, or of the spec (`budget`, `prune`); "" if none of them decided.
    """

    verdict: Verdict
    reason: str
    remedy: str = ""
    until: float | None = None
    policy: str = ""


class Policy(Protocol):
    """One key of a mirror in the spec. A new one is a module here, an entry of POLICIES, and a branch of the schema."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read the key's value in the spec; its shape was checked by the schema. Raises: GrammarError."""

    # Whether it can decide without a request to the source, which saves a request for each image that it keeps. If it
    # then keeps an image, it does so whatever the present image is: a list of tags is enough to know that there is one.
    decides_without_source: ClassVar[bool]

    @property
    def only_changes(self) -> bool:
        """Whether it decides nothing, of images that the destination has as its source does, unless a run is `--deep`.

        A run without changes then does nothing for it, for any number of images.
        """

    def decide(self, facts: Facts) -> Decision | None:
        """Return the decision on an image, None if this policy does not apply to it."""
