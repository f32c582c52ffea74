"""The plan: what would change, as data. It is printed, saved as JSON, and executed; nothing else is executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from mirrorsync.errors import MirrorsyncError, Side, place_of
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.oci.transports import is_pick

State = Literal["new", "moved", "incomplete", "unchanged"]


@dataclass(frozen=True, slots=True)
class Image:
    """One image that is wanted at one place. tag None: it is wanted by digest alone and gets no tag.

    followed: the source's tag (or pick) that gave the root, which is asked again before a saved plan runs; None where
    the spec names the digest, so that no tag of the source can change what is wanted. platforms: what the root was
    narrowed to; none when it is what the source has.
    """

    source: Location
    target: Location
    tag: str | None
    root: Descriptor
    followed: str | None = None
    platforms: tuple[Platform, ...] = ()

    @property
    def origin(self) -> Reference:
        """Where it comes from: the source, with what is followed there or the digest that is wanted."""
        if self.followed is None:
            return Reference(self.source, None, self.root.digest)
        if is_pick(self.followed):
            return Reference(self.source, pick=self.followed)
        if ":" in self.followed:
            return Reference(self.source, None, Digest(self.followed))
        return Reference(self.source, self.followed)

    def __str__(self) -> str:
        return place_of(self.target.store, self.target.repository, self.tag, None if self.tag else self.root.digest)


@dataclass(frozen=True, slots=True)
class Change:
    """An image and how its destination stands to it. was: what the tag names there now, None when nothing."""

    image: Image
    state: State
    was: Descriptor | None = None


@dataclass(frozen=True, slots=True)
class CopyBlob:
    """Read a blob once from `source` and write it to `targets`, one repository for each destination store."""

    blob: Descriptor
    source: Location
    targets: tuple[Location, ...]
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`copy:DIGEST`: one for each blob, however many images share it."""
        return f"copy:{self.blob.digest}"


@dataclass(frozen=True, slots=True)
class MountBlob:
    """Let a destination repository share a blob that another repository of the same store has or will have.

    origin: the other repository's name. source: where to read when the registry does not mount.
    """

    blob: Descriptor
    origin: str
    target: Location
    source: Location
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`mount:DIGEST@REPOSITORY`."""
        return f"mount:{self.blob.digest}@{self.target}"


@dataclass(frozen=True, slots=True)
class PutManifest:
    """Store a manifest at `target` by its digest, after everything it names."""

    manifest: Descriptor
    source: Location
    target: Location
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`put:DIGEST@REPOSITORY`."""
        return f"put:{self.manifest.digest}@{self.target}"


@dataclass(frozen=True, slots=True)
class SetTag:
    """Store a root manifest at `target` under `tag`. was: what the tag must still name when it is done."""

    manifest: Descriptor
    source: Location
    target: Location
    tag: str
    was: Descriptor | None = None
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`tag:REPOSITORY:TAG`."""
        return f"tag:{self.target}:{self.tag}"


Step = CopyBlob | MountBlob | PutManifest | SetTag


def stores_of(step: Step) -> tuple[str, ...]:
    """Return the addresses of the destination stores that a step writes to."""
    if isinstance(step, CopyBlob):
        return tuple(target.store for target in step.targets)
    return (step.target.store,)


def final_step(image: Image) -> str:
    """Return the id of the step after which an image is complete at its destination."""
    if image.tag is None:
        return PutManifest(image.root, image.source, image.target).id
    return SetTag(image.root, image.source, image.target, image.tag).id


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
    """What a plan does at one destination store: images by state, and blobs, each counted once for a repository."""

    new: int = 0
    moved: int = 0
    incomplete: int = 0
    unchanged: int = 0
    copy: Amount = Amount()
    mount: Amount = Amount()
    present: Amount = Amount()

    @property
    def changed(self) -> int:
        """How many images are not yet as they should be."""
        return self.new + self.moved + self.incomplete


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
    totals: dict[str, Totals] = field(default_factory=dict)

    def changed(self) -> Iterator[Change]:
        """Yield what is not yet as it should be."""
        return (change for change in self.changes if change.state != "unchanged")

    @property
    def read_bytes(self) -> int:
        """How many bytes of blobs are read from sources; each blob once, however many destinations want it."""
        return sum(step.blob.size for step in self.steps if isinstance(step, CopyBlob))
