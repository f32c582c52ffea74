"""`on_change: update | keep | fail | {older: keep | fail}`: what happens to a tag that its source has moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from mirrorsync.plan.policies.base import Decision, Facts, Verdict

Answer = Literal["update", "keep", "fail"]
_VERDICTS: dict[Answer, Verdict] = {"update": "update", "keep": "keep", "fail": "refuse"}


@dataclass(frozen=True, slots=True)
class OnChange:
    """The action for a tag that the source has moved to another image. Without it, tags are updated.

    only_older: it is for tags that move to an older image; all others are updated.
    """

    answer: Answer
    only_older: bool = False
    decides_without_source: ClassVar[bool] = False
    only_changes: ClassVar[bool] = True

    @classmethod
    def parse(cls, value: Answer | Mapping[str, Answer]) -> Self:
        """Read the word, or the word for older images."""
        return cls(value) if isinstance(value, str) else cls(value["older"], only_older=True)

    def decide(self, facts: Facts) -> Decision | None:
        """Decide on tags that moved, and only on those."""
        if not facts.moved or facts.tag is None or facts.found is None:
            return None
        if self.only_older and not facts.older:
            return None
        words = f"older {self.answer}" if self.only_older else self.answer
        remedy = "set on_change: update to take the new image, or keep to stay without an error"
        return Decision(
            _VERDICTS[self.answer],
            f"on_change {words}: the source has moved this tag to {facts.found.digest}",
            remedy if self.answer == "fail" else "",
        )
