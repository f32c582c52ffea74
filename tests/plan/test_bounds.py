"""The limits of one image: exactly at a limit it is accepted, and one beyond it is rejected."""

from __future__ import annotations

import pytest

from mirrorsync.errors import Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.plan.inventory import MAX_BLOBS, MAX_DEPTH, MAX_MANIFESTS, check_bounds, closure

DEEP = "image nests deeper than 8 indexes or has more than 10000 manifests"
FULL = "image has more than 50000 blobs"


@pytest.mark.parametrize(
    ("depth", "manifests", "blobs", "message"),
    [
        (1, 1, 0, ""),
        (MAX_DEPTH, MAX_MANIFESTS, MAX_BLOBS, ""),
        (MAX_DEPTH + 1, 1, 0, DEEP),
        (1, MAX_MANIFESTS + 1, 0, DEEP),
        (1, 1, MAX_BLOBS + 1, FULL),
    ],
)
def test_the_limits_of_an_image(depth: int, manifests: int, blobs: int, message: str) -> None:
    if not message:
        check_bounds(depth, manifests, blobs)
        return
    with pytest.raises(Malformed) as caught:
        check_bounds(depth, manifests, blobs)
    assert caught.value.message == message


def descriptor(number: int, media_type: str = media_types.OCI_MANIFEST) -> Descriptor:
    return Descriptor(media_type, Digest(f"sha256:{number:064x}"), 1)


BLOBS = tuple(descriptor(number, media_types.OCI_LAYER_GZIP) for number in range(MAX_BLOBS + 1))


def index(*images: tuple[Descriptor, ...]) -> tuple[Descriptor, dict[Digest, Manifest]]:
    """Return the root of an index of images, each given by its blobs, and all manifests by digest."""
    root, *children = (descriptor(MAX_BLOBS + 2 + number) for number in range(len(images) + 1))
    manifests = {child.digest: Manifest(child, b"", blobs=blobs) for child, blobs in zip(children, images, strict=True)}
    return root, {root.digest: Manifest(root, b"", children=tuple(children)), **manifests}


def test_the_blobs_of_all_images_of_an_index_count_and_a_shared_one_counts_once() -> None:
    root, manifests = index(BLOBS[:30_000], BLOBS[20_000:MAX_BLOBS])
    assert len(list(closure(root, lambda wanted: manifests[wanted.digest]))) == 3
    root, manifests = index(BLOBS[:30_000], BLOBS[20_000:])
    with pytest.raises(Malformed, match=FULL):
        list(closure(root, lambda wanted: manifests[wanted.digest]))


def test_an_index_may_have_more_children_than_levels_are_allowed() -> None:
    root, manifests = index(*[BLOBS[:1]] * (3 * MAX_DEPTH))
    assert len(list(closure(root, lambda wanted: manifests[wanted.digest]))) == 3 * MAX_DEPTH + 1
