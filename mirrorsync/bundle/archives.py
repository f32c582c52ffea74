"""Archives of single images, as container runtimes import them: the names of the sources, and where each byte is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

from mirrorsync.bundle.encoding import canonical
from mirrorsync.bundle.layout import INDEX_NAME, LAYOUT_CONTENT, LAYOUT_NAME, Layout, placed
from mirrorsync.bundle.model import Bundle, Image, Member, Object, blob_name
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import REF_NAME
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import parse_repository, registry_name

# containerd names an image by this annotation (images/annotations.go), and so does podman before it looks at the other
# one (containers/podman#12560).
IMAGE_NAME: Final = "io.containerd.image.name"
_LONGEST_FILE_NAME: Final = 200


def source_name(image: Image) -> str:
    """Return the name by which manifests of a cluster know an image, `docker.io/library/alpine:3.20`; "" if unknown.

    It is unknown if the image comes from a store on disk that says nothing of a registry.
    """
    known = registry_name(parse_repository(image.source))
    return "" if known is None else str(known.at(image.ref))


def file_name(name: str) -> str:
    """Return the file for an image. It is the same for every version, so that a new one replaces the old one."""
    written = name.replace("/", "+").replace(":", "+").replace("@", "+")  # a plus is in no name of an image
    if len(written) > _LONGEST_FILE_NAME:
        written = f"{written[:_LONGEST_FILE_NAME]}+{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{written}.tar"


def closure(bundle: Bundle, root: Digest) -> Mapping[Digest, Object] | None:
    """Return the objects of an image, its manifests first; None if the bundle does not carry all of them."""
    found: dict[Digest, Object] = {}
    pending = [root]
    while pending:
        one = bundle.by_digest.get(pending.pop())
        if one is None:
            return None
        if one.digest not in found:
            found[one.digest] = one
            pending.extend(one.needs)
    return dict(sorted(found.items(), key=lambda item: (not item[1].manifest, item[0])))


def archive_layout(image: Image, name: str, objects: Mapping[Digest, Object]) -> Layout:
    """Return where each byte of the archive of an image is: an OCI layout in a tar file, always the same."""
    tag = str(image.tag) if image.tag else name
    root = {
        "mediaType": image.content.media_type,
        "digest": str(image.content.digest),
        "size": image.content.size,
        "annotations": {IMAGE_NAME: name, REF_NAME: tag},
    }
    index = canonical({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [root]})
    return placed(_members(index, objects))


def _members(index: bytes, objects: Mapping[Digest, Object]) -> Iterator[tuple[Member, bytes | None]]:
    for name, data in ((LAYOUT_NAME, LAYOUT_CONTENT), (INDEX_NAME, index)):
        yield Member(name, len(data), Digest.of(data)), data
    for one in objects.values():
        yield Member(blob_name(one.digest), one.content.size, one.digest), None
