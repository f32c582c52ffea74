"""What the far side of an air gap has, as far as it is known here: from inventories and documents of bundles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mirrorsync.bundle.model import Assumed, Bundle, Link, Object
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag


@dataclass(slots=True)
class HeldRepository:
    """A repository at the far side. manifests: those that are complete. blobs: those that it has.

    sparse: the manifests of indexes that it has without some of their images.
    """

    tags: dict[Tag, Digest] = field(default_factory=dict)
    manifests: dict[Digest, Descriptor] = field(default_factory=dict)
    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    sparse: set[Digest] = field(default_factory=set)


@dataclass(slots=True)
class Held:
    """The content of the far side, by repository (names as at the destination, without its prefix).

    sent: the sequence number of the bundle that carried some content first, if that is known.
    """

    repositories: dict[str, HeldRepository] = field(default_factory=dict)
    sent: dict[Digest, int] = field(default_factory=dict)

    def repository(self, name: str) -> HeldRepository:
        """Return a repository, which is added if it is not known."""
        return self.repositories.setdefault(name, HeldRepository())

    def where(self, content: Digest) -> tuple[str, ...]:
        """Return the names of the repositories that have a manifest or blob, sorted."""
        found = self.index().get(content)
        return tuple(sorted(found)) if found else ()

    def index(self) -> Mapping[Digest, set[str]]:
        """Return the names of the repositories that have content, by its digest. Made at the first call."""
        if not self._index:
            for name, one in self.repositories.items():
                for digest in (*one.manifests, *one.blobs):
                    self._index.setdefault(digest, set()).add(name)
        return self._index

    _index: dict[Digest, set[str]] = field(default_factory=dict, repr=False, compare=False)


def merged(held: Iterable[tuple[str, Held]]) -> Held:
    """Return the union of several descriptions of the far side, each with its time: the tags of the newest count."""
    result = Held()
    for _, one in sorted(held, key=lambda pair: pair[0]):
        for name, repository in one.repositories.items():
            found = result.repository(name)
            found.tags |= repository.tags
            found.manifests |= repository.manifests
            found.blobs |= repository.blobs
            found.sparse |= repository.sparse
        result.sent |= {digest: sequence for digest, sequence in one.sent.items() if digest not in result.sent}
    return result


def held_after(bundle: Bundle) -> Held:
    """Return what the far side has after a bundle was imported: its images, what it carried and what it assumed."""
    result = Held()
    listed: list[Object | Assumed] = [*bundle.objects, *bundle.assumes]
    for one in listed:
        for name in one.repositories:
            repository = result.repository(name)
            (repository.manifests if one.manifest else repository.blobs)[one.digest] = one.content
    result.sent |= {one.digest: bundle.sequence for one in bundle.objects}
    result.sent |= {known.digest: known.sent for known in bundle.assumes if known.sent}
    for image in bundle.images:
        repository = result.repository(image.repository)
        if image.tag is not None:
            repository.tags[image.tag] = image.content.digest
        repository.manifests[image.content.digest] = image.content
        if image.platforms:
            repository.sparse.add(image.content.digest)
    return result


@dataclass(frozen=True, slots=True)
class Unread:
    """An image or repository that could not be read, and why: it counts as absent."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a location has. created: UTC, as 2026-11-26T03:17:00Z. location: as text. unread: what is left out.

    applied: the last bundle of each sender that was applied there, by its chain, as far as the machine remembers that
    took the inventory.
    """

    created: str
    location: str
    tool: str
    held: Held
    unread: tuple[Unread, ...] = ()
    applied: Mapping[str, Link] = field(default_factory=dict)
