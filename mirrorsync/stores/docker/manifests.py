"""Manifests for images of docker archives and daemons, created from their configs and layers."""

from __future__ import annotations

import json

from mirrorsync.errors import Denied
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.remedies import ByVerb
from mirrorsync.stores.docker.cache import KnownImage
from mirrorsync.stores.docker.outgoing import Layers
from mirrorsync.stores.docker.reader import SavedImage


def known_image(image: SavedImage, layers: Layers) -> KnownImage:
    """Return an image with its manifest. Blocking: unknown layers are compressed. Raises: as `layers`.

    The same config and layers give the same bytes of the manifest.
    """
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": Descriptor.of(image.config, media_types.OCI_CONFIG).to_json(),
        "layers": [layer.to_json() for layer in layers.described(image.layers)],
    }
    raw = json.dumps(document, separators=(",", ":")).encode()
    return KnownImage(Manifest.parse(raw, media_types.OCI_MANIFEST), image.config)


def reject_unfit(image: Manifest, kind: str) -> None:
    """Raise Denied for an image that docker's formats cannot store. kind: for messages, as in "a docker archive"."""
    if image.media_type in media_types.INDEXES:
        raise Denied(
            f"{kind} stores images of one platform, and this is an index of several",
            remedy=ByVerb("name one with platforms: in the spec", "name one: --platform OS/ARCH"),
        )
    if image.media_type not in media_types.IMAGES or image.blobs[0].media_type not in media_types.IMAGE_CONFIGS:
        raise Denied(
            f"{kind} stores container images, and this is another artifact", remedy="use oci: or oci-archive: for it"
        )
    if image.foreign:
        raise Denied(
            f"{kind} stores complete images, and layers of this one stay with its publisher",
            remedy="use oci: or oci-archive: for it",
        )
