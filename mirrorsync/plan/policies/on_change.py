"""`on_change: update | keep | fail`: what happens to a tag that the source has moved to another image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from mirrorsync.plan.policies.base import Decision, Facts, Verdict

Answer = Literal["update", "keep", "fail"]
_VERDICTS: dict[Answer, Verdict] = {"update": "update", "keep": "keep", "fail": "refuse"}


@dataclass(frozen=True, slots=True)
class OnChange:
    """The action for a tag that the source has moved to another image. Without it, tags are updated."""

    answer: Answer
    decides_without_source: ClassVar[bool] = False

    @classmethod
    def parse(cls, value: Answer) -> Self:
        """Read the word."""
        return cls(value)

    def decide(self, facts: Facts) -> Decision | None:
        """Decide on tags that moved, and only on those."""
        if not facts.moved or facts.tag is None or facts.found is None:
            return None
        remedy = "set on_change: update to take the new image, or keep to stay without an error"
        return Decision(
            _VERDICTS[self.answer],
            f"on_change {self.answer}: the source has moved this tag to {facts.found.digest}",
            remedy if self.answer == "fail" else "",
        )
