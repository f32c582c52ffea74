"""Selected platforms of an index: the images for them, and an index of only those images. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform

# What becomes of an index if only some of its platforms are mirrored. rewrite: a new index of only their images.
# sparse: the index itself, of which only their images are stored. "": for one platform its image, otherwise as rewrite.
IndexMode = Literal["", "rewrite", "sparse"]
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
    kept = _with_attestations(index, images)
    document: dict[str, Any] = json.loads(index.raw)
    entries = [entry for entry in document["manifests"] if entry["digest"] in kept]
    if len(entries) == len(document["manifests"]):
        return index
    raw = json.dumps({**document, "manifests": entries}, separators=(",", ":")).encode()
    return Manifest.parse(raw, index.media_type)


def left_out(index: Manifest, platforms: Iterable[Platform]) -> frozenset[Digest]:
    """Return what an index lists that is neither an image for one of `platforms` nor an attestation of such an image.

    Raises: as `chosen`.
    """
    kept = _with_attestations(index, chosen(index, platforms))
    return frozenset(child.digest for child in index.children) - kept


def _with_attestations(index: Manifest, images: Iterable[Descriptor]) -> frozenset[Digest]:
    kept = {image.digest for image in images}
    attestations = {child.digest for child in index.children if child.annotations.get(ATTESTED) in kept}
    return frozenset(kept | attestations)


def _available(platforms: Iterable[Platform | None]) -> str:
    names = dict.fromkeys(str(platform) for platform in platforms if platform and platform.os != "unknown")
    more = ", ..." if len(names) > _SHOWN else ""
    return f"available: {', '.join(list(names)[:_SHOWN])}{more}" if names else "the index lists no platforms"
