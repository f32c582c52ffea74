"""What the far side of a one-way network has after it has answered, and after later bundles. Pure.

An answer is the only proof that comes back. What it does not vouch for counts as absent: content of images that its
bundle did not want any more, and what images need that are incomplete. A bundle that was sent after it adds what it
carried, and an image of it only if all that the image needs is known to be there: it may assume what was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mirrorsync.bundle.graph import bottom_up, closure, dependents
from mirrorsync.bundle.held import Held
from mirrorsync.bundle.model import Assumed, Bundle, Delta, Image, Object
from mirrorsync.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Known:
    """All content that the documents of a sender name: what each manifest needs, and the descriptors."""

    needs: Mapping[Digest, tuple[Digest, ...]]
    listed: Mapping[Digest, Object | Assumed]


def known_of(bundles: Iterable[Bundle]) -> Known:
    """Return what the documents of some bundles tell about content."""
    needs: dict[Digest, tuple[Digest, ...]] = {}
    listed: dict[Digest, Object | Assumed] = {}
    for bundle in bundles:
        needs |= {one.digest: one.needs for one in bundle.objects if one.manifest}
        listed |= {one.digest: one for one in bundle.assumes}
        listed |= bundle.by_digest
    return Known(needs, listed)


@dataclass(slots=True)
class FarSide:
    """The far side since an answer. there: content that it has in any repository; of manifests the complete ones."""

    known: Known
    held: Held = field(default_factory=Held)
    there: set[Digest] = field(default_factory=set)

    def add(self, bundle: Bundle) -> None:
        """Add what a later bundle brings if it arrives whole."""
        blobs = [one for one in bundle.objects if not one.manifest]
        self.there |= {one.digest for one in blobs if not isinstance(one.form, Delta)}
        # A delta is of no use without the blob that it is applied to.
        self.there |= {one.digest for one in blobs if isinstance(one.form, Delta) and one.form.base in self.there}
        carried = {one.digest: self.known.needs[one.digest] for one in bundle.objects if one.manifest}
        for digest in bottom_up(carried):
            if self.there.issuperset(carried[digest]):
                self.there.add(digest)
        self.enter(bundle)
        self.held.sent |= {digest: bundle.sequence for digest in bundle.by_digest if digest in self.there}

    def enter(self, bundle: Bundle) -> None:
        """Enter into repositories what is there of the content and images that a bundle lists."""
        listed: Iterable[Object | Assumed] = (*bundle.objects, *bundle.assumes)
        for one in listed:
            for name in one.repositories if one.digest in self.there else ():
                self._hold(name, one)
        roots: defaultdict[str, set[Digest]] = defaultdict(set)
        for image in bundle.images:
            root = image.content
            if root.digest not in self.there:
                continue
            roots[image.repository].add(root.digest)
            repository = self.held.repository(image.repository)
            repository.manifests[root.digest] = root
            if image.platforms:
                repository.sparse.add(root.digest)
            if image.tag is not None:
                repository.tags[image.tag] = root.digest
        for name, found in roots.items():
            for digest in closure(found, self.known.needs) & self.known.listed.keys():
                self._hold(name, self.known.listed[digest])

    def _hold(self, name: str, one: Object | Assumed) -> None:
        repository = self.held.repository(name)
        (repository.manifests if one.manifest else repository.blobs)[one.digest] = one.content


def far_side(bundle: Bundle, lacking: frozenset[Digest], known: Known) -> FarSide:
    """Return the far side as an answer describes it. bundle, lacking: what the answer is about, and names."""
    result = FarSide(known)
    absent = dependents(lacking, known.needs)
    roots = (image.content.digest for image in bundle.images)
    result.there |= closure((root for root in roots if root not in absent), known.needs)  # it vouches for its content
    listed: Iterable[Object | Assumed] = (*bundle.objects, *bundle.assumes)
    # A blob that only deltas are against is needed by no image, so that the far side has not looked for it.
    needed = {image.content.digest for image in bundle.images}.union(*(one.needs for one in bundle.objects))
    result.there |= {one.digest for one in listed if one.digest in needed and one.digest not in absent}
    result.held.sent |= {one.digest: bundle.sequence for one in bundle.objects if one.digest in result.there}
    result.held.sent |= {one.digest: one.sent for one in bundle.assumes if one.sent and one.digest in result.there}
    result.enter(bundle)
    return result


def incomplete(bundle: Bundle, lacking: frozenset[Digest], known: Known) -> tuple[Image, ...]:
    """Return the images of a bundle that an answer says are incomplete, in its order."""
    absent = dependents(lacking, known.needs)
    return tuple(image for image in bundle.images if image.content.digest in absent)
