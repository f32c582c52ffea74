"""Inventories: what is wanted and what is held, in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from mirrorsync.errors import IntegrityError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import Failure, Image
from mirrorsync.plan.policies import Decision

# Legal images come nowhere near these; a hostile index could otherwise make a walk endless (oras GHSA-298f-872v-2rcx),
# or fill the memory with what its images name.
MAX_DEPTH = 8
MAX_MANIFESTS = 10_000
MAX_BLOBS = 50_000


class Outlined(Protocol):
    """What is needed of a manifest to walk an image: a `Manifest`, or its `Outline`."""

    @property
    def descriptor(self) -> Descriptor:
        """Media type, digest and size."""

    @property
    def digest(self) -> Digest:
        """The digest."""

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests that it names."""

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that it names."""


M = TypeVar("M", bound=Outlined)


@dataclass(frozen=True, slots=True)
class Desired:
    """What the spec comes to today: the wanted images, and what could not be found out."""

    images: tuple[Image, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """What the destinations hold of it.

    roots: what each wanted image's tag (or digest) names now, None when nothing. decisions: what policies say of it, if
    they mind. contents: the digests of manifests
    and blobs known to be in a repository, as far as it was asked. elsewhere: by store, in which repository a blob is
    known to be, from which it can be mounted. shared: the stores whose repositories all hold the same blobs.
    manifests: all that is needed to walk the images that changed. deep: whether every member of every image was asked
    for, so that what is not in `contents` is not there; otherwise a manifest that is there vouches for what it names,
    as registries refuse it before its content.
    """

    roots: Mapping[Image, Descriptor | None]
    contents: Mapping[Location, frozenset[Digest]] = field(default_factory=dict)
    elsewhere: Mapping[str, Mapping[Digest, str]] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    manifests: Mapping[Digest, Outlined] = field(default_factory=dict)
    deep: bool = False
    failures: tuple[Failure, ...] = ()
    broken: frozenset[Image] = frozenset()  # images of which a question failed, so that nothing is planned for them
    decisions: Mapping[Image, Decision] = field(default_factory=dict)


def closure(
    root: Descriptor,
    manifest: Callable[[Descriptor], M],
    *,
    skip: Callable[[Descriptor], bool] = lambda _: False,
) -> Iterator[M]:
    """Yield every manifest of an image once, children before parents, the root last.

    manifest: returns the manifest that a descriptor names. skip: tells which manifests are left out with all they
    name. Raises: IntegrityError beyond MAX_DEPTH, MAX_MANIFESTS or MAX_BLOBS, and what `manifest`
    raises.
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
    """Raise IntegrityError when an image nests deeper, or has more manifests or blobs, than any real one does."""
    if depth > MAX_DEPTH or manifests > MAX_MANIFESTS:
        raise IntegrityError(f"image nests deeper than {MAX_DEPTH} indexes or has more than {MAX_MANIFESTS} manifests")
    if blobs > MAX_BLOBS:
        raise IntegrityError(f"image has more than {MAX_BLOBS} blobs")


def conflicts(images: Iterable[Image]) -> dict[Image, Image]:
    """Return the images that would write a tag differently from one before them, each with that other image."""
    first: dict[tuple[Location, str], Image] = {}
    found = {}
    for image in images:
        if image.tag is not None:
            other = first.setdefault((image.target, image.tag), image)
            if other.root.digest != image.root.digest:
                found[image] = other
    return found
