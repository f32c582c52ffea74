"""`min_age: 3d`: an image is mirrored only after this mirror has known it for so long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from mirrorsync.durations import moment, seconds
from mirrorsync.plan.policies.base import Decision, Facts


@dataclass(frozen=True, slots=True)
class MinAge:
    """A cool-down. text: the duration as written; seconds: its length.

    The time counts from when this mirror first saw the digest at the source: the time of creation in an image's config
    is the publisher's, and so an attacker's. Compromised releases are mostly found and withdrawn within hours. An image
    that the spec names by its digest was chosen by a person, and does not wait.
    """

    text: str
    seconds: float
    decides_without_source: ClassVar[bool] = False
    only_changes: ClassVar[bool] = True

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read a duration. Raises: GrammarError."""
        return cls(value, seconds(value))

    def decide(self, facts: Facts) -> Decision | None:
        """Delay an image that is new at the destination, or that the source has moved a tag to."""
        found, before = facts.found, facts.before
        if found is None or facts.pinned or (before is not None and before.digest == found.digest):
            return None
        ends = facts.first_seen + self.seconds
        if ends <= facts.now:
            return None
        first = moment(facts.first_seen)
        return Decision("delay", f"min_age {self.text}: first seen {first}, waits until {moment(ends)}", until=ends)
