"""`immutable: ["v*"]`: tags that never change once they are at the destination."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from mirrorsync.plan.policies.base import Decision, Facts


@dataclass(frozen=True, slots=True)
class Immutable:
    """Shell patterns (`*`, `?`, `[abc]`). A tag that matches one of them is copied once.

    As long as the destination has it, it costs its source no request. If the source is asked anyway (`verify`,
    `--deep`, or because another destination lacks the tag) and has another image, a published version was changed:
    this is a failure, and never an update.
    """

    patterns: tuple[str, ...]
    decides_without_source: ClassVar[bool] = True
    only_changes: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: Sequence[str]) -> Self:
        """Read a list of patterns."""
        return cls(tuple(value))

    def decide(self, facts: Facts) -> Decision | None:
        """Keep a present tag that matches; refuse it if the source is known to have moved it."""
        pattern = self._pattern(facts.tag)
        if pattern is None or facts.before is None:
            return None
        if facts.moved and facts.found is not None:
            return Decision(
                "refuse",
                f"immutable {pattern}: the source has moved this tag to {facts.found.digest}",
                "find out why a published tag was changed; to take the new image, delete the tag at the destination",
            )
        return Decision("keep", f"immutable {pattern}: the tag is present")

    def _pattern(self, tag: str | None) -> str | None:
        if tag is None:
            return None
        return next((pattern for pattern in self.patterns if fnmatch.fnmatchcase(tag, pattern)), None)
