"""What a policy is: facts about one image in, a decision out. Pure, and without a word about how facts are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag

# keep: what the destination has stays. update: it becomes what the source has, and no other policy is asked. refuse:
# it stays, and that is a failure of the run. delete: the tag goes.
Verdict = Literal["keep", "update", "refuse", "delete"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one wanted image at one destination.

    tag: its tag at the destination, None if it is wanted by digest alone. before: what that names now, None for
    nothing. found: what the source has for it, None if the source was not asked.
    """

    tag: Tag | None
    before: Descriptor | None
    found: Descriptor | None

    @property
    def moved(self) -> bool:
        """Whether the source has another image than the destination."""
        return self.before is not None and self.found is not None and self.before.digest != self.found.digest


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an image, and why: a sentence for people. remedy: what to do about a refusal."""

    verdict: Verdict
    reason: str
    remedy: str = ""


class Policy(Protocol):
    """One key of a mirror in the spec. A new one is a module here, an entry of POLICIES, and a branch of the schema."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read the value that the spec gives the key; its shape was checked by the schema. Raises: GrammarError."""

    # Whether it can decide before the source is asked, which spares the source a request for each image it keeps.
    decides_without_source: ClassVar[bool]

    def decide(self, facts: Facts) -> Decision | None:
        """Return what becomes of an image, None if this policy does not mind."""
