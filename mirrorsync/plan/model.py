"""The plan: all changes and steps, as data. It is printed, saved as JSON, and applied; only plans are applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from mirrorsync.errors import MirrorsyncError, Side
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.narrowing import IndexMode
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.oci.referrer_types import ReferrerType
from mirrorsync.plan.policies import Verdict
from mirrorsync.plan.steps import Step

# How a blob that an image needs is provided: copied, mounted from another repository, or present already.
BlobFate = Literal["copy", "mount", "present"]


class State(StrEnum):
    """The class of a change to an image at its destination."""

    NEW = "new"  # there is no such tag yet
    MOVED = "moved"  # the tag names another image
    INCOMPLETE = "incomplete"  # the tag names the right image, but content is missing
    UNCHANGED = "unchanged"
    KEPT = "kept"  # a policy keeps the present image, although the source has another one
    DELAYED = "delayed"  # a policy or the budget of the run lets it wait for a later run
    REFUSED = "refused"  # a policy forbids the image of the source; this is reported as a failure
    DELETED = "deleted"

    @property
    def changes(self) -> bool:
        """Whether steps are needed."""
        return self in _CHANGING


# What decides that a change waits because a limit of the run is used, and what its reason begins with.
BUDGET: Final = "budget"
WAITS: Final = "waits for the next run: "

_CHANGING: Final = frozenset({State.NEW, State.MOVED, State.INCOMPLETE, State.DELETED})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an image is read: a repository, the ref that is followed in it, and the selected platforms.

    followed: the tag, pick or digest that resolved to the root, and is resolved again before a saved plan is applied;
    None if the spec names the root's digest, so that no tag of the source can change it. platforms: () for all of them.
    written: the tag that the spec or a lock writes before a digest. subject: of a referrer that is mirrored with an
    image, the manifest that it is about. index: what becomes of an index that platforms are selected from.
    """

    location: Location
    followed: Ref | None = None
    platforms: tuple[Platform, ...] = ()
    written: Tag | None = field(default=None, compare=False)
    subject: Digest | None = None
    index: IndexMode = ""

    @property
    def sparse(self) -> bool:
        """Whether the index is mirrored as it is, with only some of its images."""
        return self.index == "sparse" and bool(self.platforms)

    def reference(self, root: Digest) -> Reference:
        """Return the followed ref, or else the wanted digest, as a reference. root: the image's digest."""
        return Reference.of(self.location, root if self.followed is None else self.followed)

    def names(self, root: Digest) -> tuple[str, ...]:
        """Return what the image is called at its source: with its ref, its tag, its digest, and without. For patterns.

        root: the image's digest.
        """
        refs = (self.followed, self.written, root)
        found = [str(Reference.of(self.location, ref)) for ref in refs if ref is not None]
        return tuple(dict.fromkeys([*found, str(self.location)]))


@dataclass(frozen=True, slots=True)
class Image:
    """One image that is wanted at one location. tag None: it is wanted by digest alone and gets no tag.

    mirror: the entry of the spec that wants it, as a JSON pointer into the file: `/mirrors/3`. whole: the digest of
    the source's root, if `root` was chosen or made from it for some platforms. referrers: the types that it has at its
    source, None if they were not listed. left_out: what its index lists and is not mirrored with it. foreign: whether
    its foreign layers are mirrored.
    """

    origin: Origin
    target: Location
    tag: Tag | None
    root: Descriptor
    mirror: str = ""
    whole: Digest | None = field(default=None, compare=False)
    referrers: tuple[ReferrerType, ...] | None = field(default=None, compare=False)
    left_out: frozenset[Digest] = field(default=frozenset(), compare=False)
    foreign: bool = field(default=False, compare=False)

    def __hash__(self) -> int:
        # Images are keys of many mappings, and those of one tag are hardly ever different.
        return hash((self.target, self.tag, self.root.digest))

    @property
    def source(self) -> Location:
        """The repository that it is read from."""
        return self.origin.location

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The digest of its root, and that of the source's root if it is another one."""
        return (self.root.digest,) if self.whole is None else (self.root.digest, self.whole)

    def __str__(self) -> str:
        return str(Reference.of(self.target, self.tag or self.root.digest))


@dataclass(frozen=True, slots=True)
class Related:
    """Something that stays if an image is deleted. kind: `tag`, `index`, `image` (of an index), `signature`, `sbom`...

    name: the tag or digest, with details that identify it.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """One tag (or digest) at a destination, before and after.

    tag: None if the image is wanted by its digest alone. before: the image under the tag now, None if there is no such
    tag. after: the image under it once the plan is applied, None if the tag is deleted. state: the class of the
    change. reason: the sentence of the policy that decided, "" if no policy did. mirror: the entry of the spec that
    wants it (`/mirrors/3`), "" without a spec. origin: where it is read, None for a deletion. step: the id of the step
    that completes it, "" if no step is needed. stays: what a deletion leaves. policy, verdict, until: the decision, as
    `policies.Decision` has it; "" and None if no policy decided. filters: what includes its tag, in words; None if it
    was not asked for. backup_of: the tag that had this image, if this is a backup of it, otherwise None. older:
    that the tag moves to an older image, as a sentence, "" if that is not known. whole: the digest of the source's
    root, if `after` was chosen or made from it for some platforms.
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
    policy: str = ""
    verdict: Verdict | None = None
    until: float | None = None
    filters: tuple[str, ...] | None = None
    backup_of: Tag | None = None
    older: str = ""
    whole: Digest | None = None

    @property
    def digest(self) -> Digest:
        """The digest of the image: the new one, or for a deletion the old one."""
        content = self.after or self.before
        assert content is not None  # noqa: S101 - there is no change from nothing to nothing
        return content.digest

    @property
    def waits_for(self) -> str:
        """The budget of the run that is used, as a sentence, if that is why it is delayed; otherwise ""."""
        return self.reason.removeprefix(WAITS) if self.policy == BUDGET else ""

    @property
    def short(self) -> str:
        """The repository and tag (or a part of the digest), without the store."""
        return f"{self.target.repository}:{self.tag or self.digest.short}".lstrip(":")

    def __str__(self) -> str:
        return str(Reference.of(self.target, self.tag or self.digest))


@dataclass(frozen=True, slots=True)
class Failure:
    """An image or repository that could not be planned or applied, and the error.

    mirror: the entry of the spec that wants it (`/mirrors/3`), "" without a spec. source, ref: the image at its source;
    ref is None for a repository whose images are not known, since its tags could not be listed. targets: the
    repositories of destinations that lack it. policy: the key of the policy that refused it, "" for other failures.
    filters: as for `Change`.
    """

    subject: str
    error: MirrorsyncError
    mirror: str = ""
    source: Location | None = None
    ref: Ref | None = None
    targets: tuple[Location, ...] = ()
    policy: str = ""
    filters: tuple[str, ...] | None = None

    @classmethod
    def of(cls, image: Image | Change, error: MirrorsyncError) -> Failure:
        """Return the failure of one image at its destination."""
        origin, digest = image.origin, image.root.digest if isinstance(image, Image) else image.digest
        if origin is None:
            return cls(str(image), error, image.mirror, targets=(image.target,))
        asked = origin.reference(digest).asked
        return cls(str(image), error, image.mirror, origin.location, asked, (image.target,))

    @property
    def side(self) -> Side | None:
        """The side on which it failed, None if it is not known."""
        return self.error.side

    @property
    def lost(self) -> str:
        """The image at its source, or its repository if the image is not known, as people write it; "" without one."""
        if self.source is None:
            return ""
        return str(self.source if self.ref is None else Reference.of(self.source, self.ref))


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of blobs, and their bytes together."""

    blobs: int = 0
    size: int = 0

    def plus(self, blob: Descriptor) -> Amount:
        """Return the amount with one more blob."""
        return Amount(self.blobs + 1, self.size + blob.size)


NOTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a plan at one destination store.

    states: number of images by state. blobs: amount of blobs by fate, each counted once for a repository.
    """

    states: Mapping[State, int] = field(default_factory=dict)
    blobs: Mapping[BlobFate, Amount] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """The number of images with steps."""
        return sum(number for state, number in self.states.items() if state.changes)


@dataclass(frozen=True, slots=True)
class LockStamp:
    """The lock that a plan takes its images from: its absolute path, and the digest of its bytes."""

    path: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class SpecStamp:
    """The spec that a plan was made from: its absolute path, the digest of its bytes, and the globs of `--only`.

    destinations: those that its mirrors write to, by name; the repository of each is a prefix. lines: of its mirrors
    in the file, by pointer. lock: None if the images are those that the sources have.
    """

    path: str
    digest: Digest
    only: tuple[str, ...] = ()
    destinations: Mapping[str, Location] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    lock: LockStamp | None = None


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The tags that a repository of a destination has and no mirror of the spec wants. They are not touched."""

    target: Location
    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True)
class Vanished:
    """Tags that this mirror had from a source repository, which has dropped them. The destinations keep them.

    whole: the source has no such repository any more, or no tags in it. since: when a run noticed it first, UTC,
    ISO 8601; "" = this run is the first. acknowledged: an operator has said that this is known. refused: the source
    refuses access, which it gave before: the repository may have been deleted or made private.
    """

    source: Location
    tags: tuple[Tag, ...]
    whole: bool = False
    since: str = ""
    acknowledged: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class ReferrerCounts:
    """Numbers of referrers, each counted once for a destination. found: at the sources of images that they are
    mirrored with; wanted: those of the types that the spec wants; behind: those of indexes of which only some platforms
    are mirrored, which are for the whole index.
    """

    found: int = 0
    wanted: int = 0
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes, and the steps that make them.

    created: UTC time, ISO 8601. changes: of every wanted image, unchanged ones included. steps: in an order in which
    they can be performed one after the other. totals: by address of the destination store. unwanted: by repository;
    only of repositories whose tags are all known, at their sources too. vanished: by repository of the source.
    referrers: None if no mirror wants them.
    """

    created: str
    spec: SpecStamp
    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    failures: tuple[Failure, ...] = ()
    totals: Mapping[str, Totals] = field(default_factory=dict)
    unwanted: tuple[Unwanted, ...] = ()
    vanished: tuple[Vanished, ...] = ()
    referrers: ReferrerCounts | None = None

    def changed(self) -> Iterator[Change]:
        """Yield the changes with steps."""
        return (change for change in self.changes if change.state.changes)

    @property
    def read_bytes(self) -> int:
        """The bytes of blobs that are read from sources; each blob is read once for all destinations."""
        return sum(step.size for step in self.steps)
