"""Selection: the images wanted of a repository, by exact names and by filters over its list of tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.spec.ages import AgeFilter, Ages, MinAge
from mirrorsync.spec.created import Creation, NewestCreated
from mirrorsync.spec.filters import Newest, TagFilter


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image that is wanted.

    tag: its tag at the destination, None if it is wanted by its digest alone. ref: the ref to resolve at the source; a
    digest if the spec pins the image. written_tag: the source's tag that the spec writes before a digest; it is not
    resolved, as in docker, and only shown in messages.
    """

    tag: Tag | None
    ref: Ref
    written_tag: Tag | None = field(default=None, compare=False)

    @property
    def name(self) -> Ref:
        """Its name at the destination: its tag, or else its digest."""
        return self.ref if self.tag is None else self.tag

    @property
    def source_tag(self) -> Tag | None:
        """Its tag at the source, None if the spec writes only a digest."""
        return self.ref if isinstance(self.ref, Tag) else self.written_tag

    def at(self, source: Location) -> Reference:
        """Return the reference of the image at its source, as the spec writes it."""
        if isinstance(self.ref, Digest):
            return Reference(source, self.written_tag, self.ref)
        return Reference.of(source, self.ref)


@dataclass(frozen=True, slots=True)
class Selection:
    """The images wanted of a repository: exact ones, and those that filters choose from its list of tags.

    min_age: the cool-down of its tags, None if they do not wait.
    """

    exact: tuple[Wanted, ...] = ()
    includes: tuple[TagFilter, ...] = ()
    narrows: tuple[TagFilter, ...] = ()
    min_age: MinAge | None = None

    @classmethod
    def of(cls, reference: Reference, tag: Tag | None) -> Selection:
        """Return the selection of one image: under `tag` at the destination, or by its digest if `tag` is None.

        It is empty if there is neither a tag nor a digest to name the image at the destination.
        """
        if tag is not None:
            return cls((Wanted(tag, reference.asked, reference.tag),))
        return cls((Wanted(None, reference.digest),) if reference.digest is not None else ())

    @property
    def lists(self) -> bool:
        """Whether the repository's tags must be listed; exact images never need that."""
        return bool(self.includes)

    def waiting(self, min_age: MinAge) -> Selection:
        """Return the selection with a cool-down for the tags of a list."""
        return replace(self, min_age=min_age) if self.lists else self

    @property
    def ageless(self) -> Selection:
        """The selection without the filters that ask how long this mirror has known a tag."""
        narrows = tuple(one for one in self.narrows if not isinstance(one, AgeFilter))
        return replace(self, narrows=narrows, min_age=None)

    @property
    def needs_ages(self) -> bool:
        """Whether a filter has to know when tags were first listed."""
        return self.min_age is not None or any(isinstance(narrowing, AgeFilter) for narrowing in self.narrows)

    def aged(self, ages: Ages) -> Selection:
        """Return the selection with the facts that filters by age need. Without them every tag is of the right age."""
        narrows = tuple(one.bound(ages) if isinstance(one, AgeFilter) else one for one in self.narrows)
        return replace(self, narrows=narrows, min_age=self.min_age.bound(ages) if self.min_age else None)

    @property
    def needs_creations(self) -> bool:
        """Whether a filter has to know when images were created."""
        return any(isinstance(narrowing, NewestCreated) for narrowing in self.narrows)

    def candidates(self, listed: Iterable[Tag]) -> tuple[Wanted, ...]:
        """Return the images whose creation has to be known: those that all other filters choose."""
        others = tuple(one for one in self.narrows if not isinstance(one, NewestCreated))
        chosen = replace(self, narrows=others, min_age=None).choose(listed)
        return tuple(one for one in chosen if one.tag is not None and NewestCreated.compares(one.tag))

    def dated(self, creations: Mapping[Tag, Creation]) -> Selection:
        """Return the selection with the creations of its candidates."""
        narrows = (one.bound(creations) if isinstance(one, NewestCreated) else one for one in self.narrows)
        return replace(self, narrows=tuple(narrows))

    @property
    def older(self) -> Selection | None:
        """The selection without the tags that are too young for the cool-down, None without one.

        What it chooses is wanted too: while the newest tag waits, the one before it is still wanted.
        """
        return replace(self, narrows=(self.min_age, *self.narrows), min_age=None) if self.min_age else None

    @property
    def digests(self) -> tuple[Wanted, ...]:
        """The images that are wanted by digest alone."""
        return tuple(wanted for wanted in self.exact if wanted.tag is None)

    def covers(self, name: str) -> bool:
        """Return whether the filters mean an image whose name is not a tag: "" if it has no name at all.

        `newest` is not asked: it compares the tags that the other filters chose.
        """
        names = cast("list[Tag]", [name])
        narrows = (narrowing for narrowing in self.narrows if not isinstance(narrowing, Newest))
        return any(including.select(names) for including in self.includes) and all(one.select(names) for one in narrows)

    def choose(self, listed: Iterable[Tag]) -> tuple[Wanted, ...]:
        """Return the wanted images: exact tags and included tags of `listed`, narrowed; then those without a tag.

        With a cool-down, those that `older` chooses follow.
        """
        listed = tuple(listed)
        named = {wanted.tag: wanted for wanted in self.exact if wanted.tag is not None}
        chosen = self._included(listed)
        for narrowing in self.narrows:
            chosen = narrowing.select(chosen)
        now = (*(named.get(tag) or Wanted(tag, tag) for tag in chosen), *self.digests)
        return now if self.older is None else tuple(dict.fromkeys((*now, *self.older.choose(listed))))

    def unordered(self, listed: Iterable[Tag]) -> Sequence[Tag]:
        """Return the tags that all filters choose, except that `newest` cannot compare them: they are not versions."""
        chosen = self._included(listed)
        for narrowing in self.narrows:  # newest is the last one
            if isinstance(narrowing, Newest):
                return narrowing.unordered(chosen)
            chosen = narrowing.select(chosen)
        return ()

    def _included(self, listed: Iterable[Tag]) -> Sequence[Tag]:
        named = dict.fromkeys(wanted.tag for wanted in self.exact if wanted.tag is not None)
        tags = list(listed)
        included = {tag for including in self.includes for tag in including.select(tags)}
        return [*named, *(tag for tag in tags if tag in included and tag not in named)]
