"""Filters by age: how long this mirror has known a tag. They get the facts that they need from `bound`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from mirrorsync.durations import moment, seconds
from mirrorsync.oci.ref import Tag


@dataclass(frozen=True, slots=True)
class Ages:
    """When the tags of a repository were first listed, and the time of the run; in seconds since the epoch."""

    now: float = 0.0
    first: Mapping[Tag, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgeFilter(ABC):
    """What filters by age have in common. text: the duration as written; seconds: its length.

    A tag whose age is not known stays: exact tags that were not listed are decided by the policy of the same name.
    """

    text: str
    seconds: float
    ages: Ages = field(default=Ages(), compare=False)
    key: ClassVar[str]
    narrows: ClassVar[bool] = True

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read a duration. Raises: GrammarError."""
        return cls(value, seconds(value))

    def bound(self, ages: Ages) -> Self:
        """Return the filter with the facts that it needs."""
        return replace(self, ages=ages)

    @abstractmethod
    def _stays(self, tag: Tag) -> bool:
        """Return whether a tag that was listed is of the right age."""

    def select(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return the tags of the right age."""
        return [tag for tag in tags if tag not in self.ages.first or self._stays(tag)]

    def why(self, tag: Tag, *, selected: bool) -> Sequence[str]:
        """Return when the tag was first seen; for one that is dropped also until when, or since when."""
        first = self.ages.first.get(tag)
        if first is None:
            return [f"{self.key} {self.text}: its age is not known"]
        seen = f"{self.key} {self.text}: first seen {moment(first)}"
        return [seen if selected else f"{seen}, {self._ends} {moment(first + self.seconds)}"]

    _ends: ClassVar[str]


@dataclass(frozen=True, slots=True)
class MinAge(AgeFilter):
    """`min_age` of a mirror, for its tags: those that are too young are dropped before the newest are chosen."""

    key: ClassVar[str] = "min_age"
    _ends: ClassVar[str] = "waits until"

    def _stays(self, tag: Tag) -> bool:
        return self.ages.first[tag] + self.seconds <= self.ages.now


@dataclass(frozen=True, slots=True)
class MaxAge(AgeFilter):
    """`max_age`: tags that this mirror has known for longer are not wanted any more."""

    key: ClassVar[str] = "max_age"
    _ends: ClassVar[str] = "too old since"

    def _stays(self, tag: Tag) -> bool:
        return self.ages.first[tag] + self.seconds > self.ages.now
