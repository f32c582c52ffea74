"""The plan: what would change, as data. It is printed, saved as JSON, and executed; nothing else is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from mirrorsync.errors import MirrorsyncError, Side
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.steps import Step

# What happens to a blob that an image needs: it is copied, shared with another repository, or there already.
BlobFate = Literal["copy", "mount", "present"]


class State(StrEnum):
    """What becomes of an image at its destination."""

    NEW = "new"  # the tag is not there yet
    MOVED = "moved"  # the tag names another image
    INCOMPLETE = "incomplete"  # the tag names the right image, of which something is missing
    UNCHANGED = "unchanged"
    KEPT = "kept"  # a policy keeps what is there, whatever the source has
    REFUSED = "refused"  # a policy forbids what the source has, and says so as a failure
    DELETED = "deleted"

    @property
    def changes(self) -> bool:
        """Whether something has to be done."""
        return self in _CHANGING


_CHANGING: Final = frozenset({State.NEW, State.MOVED, State.INCOMPLETE, State.DELETED})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an image is read: a repository, what is followed there, and the platforms that its root is narrowed to.

    followed: the tag, pick or digest that gave the root, which is resolved again before a saved plan runs; None if the
    spec names the root's digest, so that no tag of the source can change what is wanted. platforms: none for an image
    that is wanted as the source has it.
    """

    location: Location
    followed: Ref | None = None
    platforms: tuple[Platform, ...] = ()

    def reference(self, root: Digest) -> Reference:
        """Return what is followed, or the digest that is wanted, as a reference. root: the image's digest."""
        return Reference.of(self.location, root if self.followed is None else self.followed)


@dataclass(frozen=True, slots=True)
class Image:
    """One image that is wanted at one place. tag None: it is wanted by digest alone and gets no tag.

    mirror: the entry of the spec that wants it, as a JSON pointer into the file: `/mirrors/3`.
    """

    origin: Origin
    target: Location
    tag: Tag | None
    root: Descriptor
    mirror: str = ""

    @property
    def source(self) -> Location:
        """The repository that it is read from."""
        return self.origin.location

    def __str__(self) -> str:
        return str(Reference.of(self.target, self.tag or self.root.digest))


@dataclass(frozen=True, slots=True)
class Related:
    """Something that stays if an image is deleted. kind: `tag`, `index`, `image` (of an index), `signature`, `sbom`...

    name: the tag or digest, and what else tells which.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """One name at a destination, before and after.

    tag: None if the image is known by its digest alone. before: what the name stands for now, None = nothing. after:
    what it will stand for, None = nothing. state: what that comes to. reason: the sentence of the policy that decided,
    "" if none did. mirror: the entry of the spec that wants it (`/mirrors/3`), "" if no spec does. origin: where it is
    read, None for what is deleted. step: the id of the step that completes it, "" if nothing is done. stays: what is
    left of it, or goes on beside it.
    """

    target: Location
    tag: Tag | None
    before: Descriptor | None
    after: Descriptor | None
    state: State
    reason: str = ""
    mirror: str = ""
    origin: Origin | None = None
    step: str = ""
    stays: tuple[Related, ...] = ()

    @property
    def digest(self) -> Digest:
        """The digest that it is about: the new one, or the old one of what goes."""
        content = self.after or self.before
        assert content is not None  # noqa: S101 - there is no change from nothing to nothing
        return content.digest

    def __str__(self) -> str:
        return str(Reference.of(self.target, self.tag or self.digest))


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not even be planned, or later not be done: the image or repository, and why."""

    subject: str
    error: MirrorsyncError

    @property
    def side(self) -> Side | None:
        """Where it went wrong, when that is known."""
        return self.error.side


@dataclass(frozen=True, slots=True)
class Amount:
    """So many blobs and the bytes they have together."""

    blobs: int = 0
    size: int = 0

    def plus(self, blob: Descriptor) -> Amount:
        """Return the amount with one blob more."""
        return Amount(self.blobs + 1, self.size + blob.size)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a plan does at one destination store.

    states: images by state. blobs: what happens to blobs, each counted once for a repository.
    """

    states: Mapping[State, int] = field(default_factory=dict)
    blobs: Mapping[BlobFate, Amount] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many images are not yet as they should be."""
        return sum(number for state, number in self.states.items() if state.changes)


@dataclass(frozen=True, slots=True)
class SpecStamp:
    """Which spec a plan was made of: its absolute path, the digest of its bytes, and what `--only` left of it."""

    path: str
    digest: Digest
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is wanted, how it stands, and the steps that make it so.

    created: UTC time, ISO 8601. changes: every wanted image, also the unchanged. steps: in an order in which they can
    be done one after the other. totals: by address of the destination store.
    """

    created: str
    spec: SpecStamp
    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    failures: tuple[Failure, ...] = ()
    totals: Mapping[str, Totals] = field(default_factory=dict)

    def changed(self) -> Iterator[Change]:
        """Yield what is not yet as it should be, and is going to be."""
        return (change for change in self.changes if change.state.changes)

    @property
    def read_bytes(self) -> int:
        """How many bytes of blobs are read from sources; each blob once, however many destinations want it."""
        return sum(step.size for step in self.steps)
