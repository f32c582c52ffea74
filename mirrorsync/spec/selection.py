"""What a mirror wants of a repository: images by their names, and what filters choose from its list of tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.spec.filters import TagFilter


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image that is wanted.

    tag: its tag at the destination, None when it is wanted by its digest alone. ref: what the source is asked for; a
    digest when the spec says which image it must be. beside: the source's tag that the spec writes beside a digest; it
    is not asked for, as docker does it, and only repeated to people.
    """

    tag: Tag | None
    ref: Ref
    beside: Tag | None = field(default=None, compare=False)

    def at(self, source: Location) -> Reference:
        """Return the image at its source, as the spec writes it."""
        if isinstance(self.ref, Digest):
            return Reference(source, self.beside, self.ref)
        return Reference.of(source, self.ref)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a mirror wants of a repository: exact images, and what filters choose from its list."""

    exact: tuple[Wanted, ...] = ()
    includes: tuple[TagFilter, ...] = ()
    narrows: tuple[TagFilter, ...] = ()

    @classmethod
    def of(cls, reference: Reference, tag: Tag | None) -> Selection:
        """Return the selection of one image: under `tag` at the destination, or by its digest when `tag` is None.

        It is empty when neither says how the destination could name it.
        """
        if tag is not None:
            return cls((Wanted(tag, reference.asked, reference.tag),))
        return cls((Wanted(None, reference.digest),) if reference.digest is not None else ())

    @property
    def lists(self) -> bool:
        """Whether the repository's tags must be listed; exact images never need that."""
        return bool(self.includes)

    @property
    def digests(self) -> tuple[Wanted, ...]:
        """What is wanted by its digest alone."""
        return tuple(wanted for wanted in self.exact if wanted.tag is None)

    def choose(self, listed: Iterable[Tag]) -> tuple[Wanted, ...]:
        """Return what is wanted: exact tags and what is included of `listed`, narrowed; then what has no tag."""
        named = {wanted.tag: wanted for wanted in self.exact if wanted.tag is not None}
        tags = list(listed)
        included = {tag for including in self.includes for tag in including.select(tags)}
        chosen: Sequence[Tag] = [*named, *(tag for tag in tags if tag in included and tag not in named)]
        for narrowing in self.narrows:
            chosen = narrowing.select(chosen)
        return (*(named.get(tag) or Wanted(tag, tag) for tag in chosen), *self.digests)
