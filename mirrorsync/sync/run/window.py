"""The images of a run that has to end in time: few are under way at a time, and after the time none begins.

Without a limit of time the steps of all images run together, the largest blobs first, which is the fastest. A run that
ends before all is done would then have begun every image, and have few of them whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from mirrorsync.plan.model import Change, Plan, State
from mirrorsync.plan.steps import Step

# Enough images for the workers of large blobs, and few enough that those under way end soon.
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Until:
    """The end of a run's time. text: its budget as it is written. over: returns whether the time is over."""

    text: str
    over: Callable[[], bool]


class Window:
    """Begins the images of a plan in order, those first that are damaged; the first one in any case.

    A step belongs to the first image that needs it, and what that needs belongs to the same image or an earlier one.
    Deletions wait for what is written in their repository, and for no image that does not begin any more.
    """

    def __init__(self, plan: Plan, until: Until) -> None:
        self._until = until
        copied = [change for change in plan.changed() if change.state != State.DELETED]
        ordered = sorted(copied, key=lambda change: change.state != State.INCOMPLETE)
        self._waiting = deque(ordered)
        self._under_way: set[str] = set()  # the last steps of images
        self._own = _own_steps(ordered, plan.steps)
        self._begun = False

    @property
    def held(self) -> set[str]:
        """The ids of the steps of all images that have not begun."""
        return {step.id for change in self._waiting for step in self._own[change.step]}

    @property
    def waiting(self) -> tuple[Change, ...]:
        """The images that have not begun, and are not completed by a step of an image that has."""
        held = self.held
        return tuple(change for change in self._waiting if change.step in held)

    def over(self) -> bool:
        """Return whether no image begins any more."""
        return not self._waiting or (self._begun and self._until.over())

    def begin(self, done: Step | None = None, *, at_once: bool = False) -> list[Step]:
        """Return the steps of the images that begin now. done: a step that has ended. at_once: begin all of them."""
        if done is not None:
            self._under_way.discard(done.id)
        begun: list[Step] = []
        while self._waiting and (at_once or (len(self._under_way) < _AT_ONCE and not self.over())):
            change = self._waiting.popleft()
            if self._own[change.step]:  # otherwise an earlier image has the same manifest as a part
                self._begun = True
                self._under_way.add(change.step)
                begun += self._own[change.step]
        return begun


def _own_steps(changes: Iterable[Change], steps: Iterable[Step]) -> dict[str, list[Step]]:
    """Return the steps that belong to each image, by the id of its last one."""
    left = {step.id: step for step in steps}
    found: dict[str, list[Step]] = {}
    for change in changes:
        own, pending = [], [change.step]
        while pending:
            step = left.pop(pending.pop(), None)
            if step is not None:
                own.append(step)
                pending += step.needs
        found.setdefault(change.step, []).extend(own)
    return found
