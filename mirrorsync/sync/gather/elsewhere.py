"""Where blobs are that an image needs: in which other repositories of its destination, so that they can be mounted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Outline
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import closure
from mirrorsync.plan.model import Image
from mirrorsync.sync.session import Session


def blobs_elsewhere(
    images: Sequence[Image],
    roots: Mapping[Image, Descriptor | None],
    contents: Mapping[Location, AbstractSet[Digest]],
    session: Session,
    *,
    deep: bool,
) -> dict[str, dict[Digest, str]]:
    """Return known repositories of blobs by store, without extra requests.

    They are known from the checks of this run (`contents`), and from the manifests of unchanged images that this run or
    an earlier one has fetched. The manifests are not trusted if every blob is checked anyway: with `deep`, and for
    stores whose repositories share their blobs. roots: what the destinations have.
    """
    found: defaultdict[str, dict[Digest, str]] = defaultdict(dict)
    for target, digests in contents.items():
        for digest in digests:
            found[target.store].setdefault(digest, target.repository)
    stores = {image.target.store for image in images}
    asked = {store for store in stores if deep or session.store(store).shares_blobs}
    for image in images:
        present = roots.get(image)
        if present is None or present.digest != image.root.digest or image.target.store in asked:
            continue
        for manifest in _known_parts(image, session):
            for blob in manifest.blobs:
                found[image.target.store].setdefault(blob.digest, image.target.repository)
    return found


def _known_parts(image: Image, session: Session) -> Iterator[Outline]:
    """Yield the manifests of an image that are available without a request."""
    known: dict[Digest, Outline] = {}

    def unknown(content: Descriptor) -> bool:
        if content.digest in image.left_out:
            return True
        manifest = session.known(content)
        if manifest is not None:
            known[content.digest] = manifest.outline
        return manifest is None

    return closure(image.root, lambda content: known[content.digest], skip=unknown)
