"""Inventories: the images wanted by the spec, and the content observed at the destinations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from mirrorsync.errors import Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure, Image, ReferrerCounts
from mirrorsync.plan.policies import Decision

# Real images stay far below these limits; a hostile index could otherwise make a walk endless (oras
# GHSA-298f-872v-2rcx), or fill the memory with descriptors.
MAX_DEPTH = 8
MAX_MANIFESTS = 10_000
MAX_BLOBS = 50_000


class Outlined(Protocol):
    """The part of a manifest that a walk over an image needs: a `Manifest`, or its `Outline`."""

    @property
    def descriptor(self) -> Descriptor:
        """Media type, digest and size."""

    @property
    def digest(self) -> Digest:
        """The digest."""

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests that it lists."""

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that it lists."""

    @property
    def foreign(self) -> tuple[Descriptor, ...]:
        """The layers that it lists and that may not be distributed."""


M = TypeVar("M", bound=Outlined)


def blobs_of(image: Image, manifest: Outlined) -> tuple[Descriptor, ...]:
    """Return the blobs of one of an image's manifests that are mirrored with it."""
    return manifest.blobs + manifest.foreign if image.foreign else manifest.blobs


@dataclass(frozen=True, slots=True)
class Desired:
    """The images that the spec wants now, and the failures to resolve some of them.

    carriers: of images that are wanted only as referrers, the images that they come along with. waiting: images that
    could not be read for a reason that passes, with that reason; their roots are those of the source. referrers: the
    numbers of referrers, None if no mirror wants them.
    """

    images: tuple[Image, ...]
    failures: tuple[Failure, ...] = ()
    carriers: Mapping[Image, frozenset[Image]] = field(default_factory=dict)
    waiting: Mapping[Image, str] = field(default_factory=dict)
    referrers: ReferrerCounts | None = None


@dataclass(frozen=True, slots=True)
class Sparse:
    """Which indexes of destinations may lack images: those of some repositories, and some by their digest."""

    repositories: frozenset[Location] = frozenset()
    indexes: frozenset[tuple[Location, Digest]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.repositories or self.indexes)

    def __contains__(self, manifest: tuple[Location, Descriptor]) -> bool:
        """Return whether a manifest of a destination is an index that may lack images."""
        target, content = manifest
        if content.media_type not in media_types.INDEXES:
            return False
        return target in self.repositories or (target, content.digest) in self.indexes


@dataclass(frozen=True, slots=True)
class Observed:
    """The wanted images as they are at the destinations now.

    roots: the root that each wanted image's tag (or digest) resolves to, None if there is no such tag. decisions: those
    of policies, for images that a policy decides on. contents: the digests of manifests and blobs that are known to be
    in a repository. elsewhere: by store, the repository that a blob can be mounted from. shared: the stores whose
    repositories share all blobs. manifests: those needed to walk the changed images. deep: whether the presence of
    every manifest and blob was checked, so that one that is not in `contents` is missing; otherwise a manifest that is
    present counts as complete, since registries reject a manifest before its content. sparse: indexes
    for which that does not hold, since they are mirrored without all their images. tags: those that a manifest has
    which is to be deleted by its digest, and go with it; for a tag that is to be deleted, others of its manifest that
    are to be deleted too. stays: images whose manifest stays if their tag is deleted. backups: by image, the image that
    its tag names now, under the name of a backup. older: of images whose tag moves back, that it does, as a sentence.
    """

    roots: Mapping[Image, Descriptor | None]
    contents: Mapping[Location, frozenset[Digest]] = field(default_factory=dict)
    elsewhere: Mapping[str, Mapping[Digest, str]] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    manifests: Mapping[Digest, Outlined] = field(default_factory=dict)
    deep: bool = False
    sparse: Sparse = Sparse()
    failures: tuple[Failure, ...] = ()
    broken: frozenset[Image] = frozenset()  # images for which a request failed; nothing is planned for them
    decisions: Mapping[Image, Decision] = field(default_factory=dict)
    tags: Mapping[Image, tuple[Tag, ...]] = field(default_factory=dict)
    stays: frozenset[Image] = frozenset()
    backups: Mapping[Image, Image] = field(default_factory=dict)
    older: Mapping[Image, str] = field(default_factory=dict)

    def skips(self, part: Descriptor, image: Image) -> bool:
        """Return whether a manifest of an image is not wanted, or complete at its destination."""
        if part.digest in image.left_out:
            return True
        if self.deep or (image.target, part) in self.sparse:
            return False
        return part.digest in self.contents.get(image.target, frozenset())


def may_lack_images(image: Image, sparse: Sparse, decision: Decision | None) -> bool:
    """Return whether images may be missing of an index that its destination has."""
    if not sparse or (image.target, image.root) not in sparse:
        return False
    unknown = decision is not None and decision.verdict in ("keep", "delay")  # the index of the source was not read
    return not unknown


def closure(
    root: Descriptor,
    manifest: Callable[[Descriptor], M],
    *,
    skip: Callable[[Descriptor], bool] = lambda _: False,
) -> Iterator[M]:
    """Yield every manifest of an image once, children before parents, the root last.

    manifest: returns the manifest of a descriptor. skip: returns whether to leave out a manifest with all its content.
    Raises: Malformed beyond MAX_DEPTH, MAX_MANIFESTS or MAX_BLOBS, and the errors of `manifest`.
    """
    seen: set[Digest] = set()
    blobs: set[Digest] = set()

    def walk(descriptor: Descriptor, depth: int) -> Iterator[M]:
        if descriptor.digest in seen or skip(descriptor):
            return
        seen.add(descriptor.digest)
        check_bounds(depth, len(seen))
        found = manifest(descriptor)
        blobs.update(blob.digest for blob in found.blobs)
        check_bounds(depth, len(seen), len(blobs))
        for child in found.children:
            yield from walk(child, depth + 1)
        yield found

    yield from walk(root, 1)


def check_bounds(depth: int, manifests: int, blobs: int = 0) -> None:
    """Raise Malformed if an image nests deeper, or has more manifests or blobs, than the limits."""
    if depth > MAX_DEPTH or manifests > MAX_MANIFESTS:
        raise Malformed(f"image nests deeper than {MAX_DEPTH} indexes or has more than {MAX_MANIFESTS} manifests")
    if blobs > MAX_BLOBS:
        raise Malformed(f"image has more than {MAX_BLOBS} blobs")


def conflicts(images: Iterable[Image]) -> dict[Image, Image]:
    """Return the images that would set a tag to another root than an earlier image, each with that image."""
    first: dict[tuple[Location, str], Image] = {}
    found = {}
    for image in images:
        if image.tag is not None:
            other = first.setdefault((image.target, image.tag), image)
            if other.root.digest != image.root.digest:
                found[image] = other
    return found
