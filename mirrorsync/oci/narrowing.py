"""Selected platforms of an index: the images for them, and an index of only those images. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform

# buildkit lists the attestations of an image in the same index, with these annotations on their entries.
ATTESTATION_KIND: Final = "vnd.docker.reference.type"
ATTESTED: Final = "vnd.docker.reference.digest"
_SHOWN = 12


def chosen(index: Manifest, platforms: Iterable[Platform]) -> tuple[Descriptor, ...]:
    """Return the images of an index that are for one of `platforms`, each once, in the order of the index.

    Raises: ContentNotFound if there is no image for a platform; it lists the available ones.
    """
    # Not `children`, which has each image once: an index may list one image for two platforms.
    entries = index.entries
    wanted = set()
    for platform in platforms:
        matching = [entry.digest for entry in entries if entry.platform and platform.runs(entry.platform)]
        if not matching:
            raise ContentNotFound(
                f"no image for platform {platform}", remedy=_available(entry.platform for entry in entries)
            )
        wanted.update(matching)
    return tuple(child for child in index.children if child.digest in wanted)


def narrowed(index: Manifest, images: Sequence[Descriptor]) -> Manifest:
    """Return an index of only these `images` of an index, and their attestations; the same input gives the same bytes.

    It is another index with another digest, since registries reject an index with missing images; its images keep
    their digests. If nothing is left out, it is the index itself.
    """
    kept = {image.digest for image in images}
    kept |= {child.digest for child in index.children if child.annotations.get(ATTESTED) in kept}
    document: dict[str, Any] = json.loads(index.raw)
    entries = [entry for entry in document["manifests"] if entry["digest"] in kept]
    if len(entries) == len(document["manifests"]):
        return index
    raw = json.dumps({**document, "manifests": entries}, separators=(",", ":")).encode()
    return Manifest.parse(raw, index.media_type)


def _available(platforms: Iterable[Platform | None]) -> str:
    names = dict.fromkeys(str(platform) for platform in platforms if platform and platform.os != "unknown")
    more = ", ..." if len(names) > _SHOWN else ""
    return f"available: {', '.join(list(names)[:_SHOWN])}{more}" if names else "the index lists no platforms"
