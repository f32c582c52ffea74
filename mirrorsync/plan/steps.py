"""Steps: the units of work of a plan, as data. Each has all that is needed to perform it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location


class Step(Protocol):
    """One unit of work. Equal work has an equal id, so that it is performed once."""

    # Whether the step is skipped if one of its needs failed. A mount is not: it falls back to a copy.
    fails_with_needs: ClassVar[bool]

    @property
    def id(self) -> str:
        """The step's name in a plan; the same for the same work."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of the steps that must end before this one begins."""

    @property
    def size(self) -> int:
        """The bytes of blobs that it reads from a source, if it needs no fallback."""

    @property
    def reads(self) -> tuple[Location, ...]:
        """The repositories that content is read from."""

    @property
    def writes(self) -> tuple[Location, ...]:
        """The repositories that are changed; at most one of each store."""


class _AtTarget:
    """What steps have in common that write to one repository, and read nothing unless they say so."""

    __slots__ = ()

    target: Location

    @property
    def reads(self) -> tuple[Location, ...]:
        """Nothing."""
        return ()

    @property
    def writes(self) -> tuple[Location, ...]:
        """The target."""
        return (self.target,)


class _FromSource(_AtTarget):
    """What steps have in common that write to one repository what they read in another."""

    __slots__ = ()

    source: Location

    @property
    def reads(self) -> tuple[Location, ...]:
        """The source."""
        return (self.source,)


@dataclass(frozen=True, slots=True)
class CopyBlob:
    """Read a blob once from `source` and write it to `targets`, one repository for each destination store."""

    fails_with_needs: ClassVar[bool] = True

    blob: Descriptor
    source: Location
    targets: tuple[Location, ...]
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`copy:DIGEST`: one for each blob, however many images share it."""
        return f"copy:{self.blob.digest}"

    @property
    def size(self) -> int:
        """The blob's size, once for all targets."""
        return self.blob.size

    @property
    def reads(self) -> tuple[Location, ...]:
        """The source."""
        return (self.source,)

    @property
    def writes(self) -> tuple[Location, ...]:
        """The targets."""
        return self.targets


@dataclass(frozen=True, slots=True)
class MountBlob(_AtTarget):
    """Let a destination repository share a blob that another repository of the same store has or will have.

    origin: the other repository's name. source: where to read the blob if the registry does not mount it.
    """

    fails_with_needs: ClassVar[bool] = False
    size: ClassVar[int] = 0

    blob: Descriptor
    origin: str
    target: Location
    source: Location
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`mount:DIGEST@REPOSITORY`."""
        return f"mount:{self.blob.digest}@{self.target}"

    @property
    def reads(self) -> tuple[Location, ...]:
        """The source, and the other repository of the destination."""
        return (self.source, Location(self.target.store, self.origin))


@dataclass(frozen=True, slots=True)
class PutManifest(_FromSource):
    """Put a manifest to `target` by its digest, after all its children and blobs."""

    fails_with_needs: ClassVar[bool] = True
    size: ClassVar[int] = 0

    manifest: Descriptor
    source: Location
    target: Location
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`put:DIGEST@REPOSITORY`."""
        return f"put:{self.manifest.digest}@{self.target}"


@dataclass(frozen=True, slots=True)
class SetTag(_FromSource):
    """Put a root manifest to `target` under `tag`. before: the image that the tag must still name, None for no tag."""

    fails_with_needs: ClassVar[bool] = True
    size: ClassVar[int] = 0

    manifest: Descriptor
    source: Location
    target: Location
    tag: Tag
    before: Descriptor | None = None
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`tag:REPOSITORY:TAG`."""
        return f"tag:{self.target}:{self.tag}"


@dataclass(frozen=True, slots=True)
class DeleteTag(_AtTarget):
    """Delete one tag only. before: the image that it must still name. tags: others of it that the plan deletes too.

    At a registry that deletes only by digest this deletes the manifest, and only if no other tag or index uses it.
    stays: the manifest is to stay without the tag, since a wanted tag or a kept generation needs it.
    """

    fails_with_needs: ClassVar[bool] = True
    size: ClassVar[int] = 0

    target: Location
    tag: Tag
    before: Descriptor
    tags: tuple[Tag, ...] = ()
    stays: bool = False
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`delete:REPOSITORY:TAG`."""
        return f"delete:{self.target}:{self.tag}"


@dataclass(frozen=True, slots=True)
class DeleteManifest(_AtTarget):
    """Delete a manifest by its digest. tags: deleted with it; if another tag or an index uses it, it is kept."""

    fails_with_needs: ClassVar[bool] = True
    size: ClassVar[int] = 0

    target: Location
    manifest: Descriptor
    tags: tuple[Tag, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`delete:REPOSITORY@DIGEST`."""
        return f"delete:{self.target}@{self.manifest.digest}"


def end_of(target: Location, tag: Tag | None, digest: Digest) -> str:
    """Return the id of the step after which an image is complete at a destination, under a tag or by its digest."""
    return f"put:{digest}@{target}" if tag is None else f"tag:{target}:{tag}"


def stores_of(step: Step) -> tuple[str, ...]:
    """Return the addresses of the stores that a step writes to."""
    return tuple(location.store for location in step.writes)
