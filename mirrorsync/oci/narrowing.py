"""Some platforms of an index: which of its images are meant, and the index that has only those. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform

# buildkit puts the attestations of an image beside it, with these annotations on the index's entry.
ATTESTATION_KIND: Final = "vnd.docker.reference.type"
ATTESTED: Final = "vnd.docker.reference.digest"
_SHOWN = 12


def chosen(index: Manifest, platforms: Iterable[Platform]) -> tuple[Descriptor, ...]:
    """Return the images of an index that are for one of `platforms`, each once, in the order of the index.

    Raises: ContentNotFound when a platform has none; it names those that there are.
    """
    # Not `children`, which has each image once: an index may list one for two platforms.
    entries = index.entries
    wanted = set()
    for platform in platforms:
        matching = [entry.digest for entry in entries if entry.platform and platform.runs(entry.platform)]
        if not matching:
            raise ContentNotFound(
                f"the image has nothing for {platform}", remedy=_there_is(entry.platform for entry in entries)
            )
        wanted.update(matching)
    return tuple(child for child in index.children if child.digest in wanted)


def narrowed(index: Manifest, images: Sequence[Descriptor]) -> Manifest:
    """Return an index of only these `images` of an index, and the attestations of those; the same input gives the same
    bytes.

    It is another index with another digest, since registries refuse one whose images are not all there; its images
    keep theirs. When nothing is left out, it is the index itself.
    """
    kept = {image.digest for image in images}
    kept |= {child.digest for child in index.children if child.annotations.get(ATTESTED) in kept}
    document: dict[str, Any] = json.loads(index.raw)
    entries = [entry for entry in document["manifests"] if entry["digest"] in kept]
    if len(entries) == len(document["manifests"]):
        return index
    raw = json.dumps({**document, "manifests": entries}, separators=(",", ":")).encode()
    return Manifest.parse(raw, index.media_type)


def _there_is(platforms: Iterable[Platform | None]) -> str:
    names = dict.fromkeys(str(platform) for platform in platforms if platform and platform.os != "unknown")
    more = ", ..." if len(names) > _SHOWN else ""
    return f"there is {', '.join(list(names)[:_SHOWN])}{more}" if names else "its index names no platforms"
