"""What an image needs, from its manifests: each piece of content with its role. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest, Outline
from mirrorsync.oci.narrowing import ATTESTATION_KIND
from mirrorsync.sync.verify.model import Part


@dataclass(frozen=True, slots=True)
class Needs:
    """What one manifest names, each once: its children, its blobs, and layers that may not be distributed."""

    children: tuple[Part, ...] = ()
    blobs: tuple[Part, ...] = ()
    foreign: tuple[Part, ...] = ()


def root_part(root: Descriptor) -> Part:
    """Return the part of an image's root."""
    if root.media_type in media_types.INDEXES:
        return Part(root.bare(), "index")
    return Part(root.bare(), "manifest" if root.is_manifest else "content")


def needs_of(manifest: Manifest, of: str) -> Needs:
    """Return what a manifest names. of: what is added to roles, such as ` of linux/arm64`; "" for the root."""
    blobs = _each_once(_blobs(manifest, of))
    foreign = tuple(part for part in blobs if media_types.is_foreign_layer(part.content.media_type))
    return Needs(_each_once(_children(manifest)), tuple(part for part in blobs if part not in foreign), foreign)


def needs_unpacked(image: Outline) -> Needs:
    """Return the layers of an image that docker's formats store uncompressed."""
    number = len(image.blobs)
    layers = enumerate(image.blobs, 1)
    return Needs(
        blobs=tuple(Part(layer, f"layer {position} of {number}, by its diff_id") for position, layer in layers)
    )


def origin_of(part: Part) -> str:
    """Return what the roles below a manifest end with: ` of linux/arm64` for the manifest of that platform."""
    if part.role.startswith("referrer"):
        return f" of a {part.role}"
    _, separator, platform = part.role.partition("manifest of ")
    return f" of {platform}" if separator else ""


def _children(manifest: Manifest) -> Iterator[Part]:
    for child in manifest.children:
        kind = "index" if child.media_type in media_types.INDEXES else "manifest"
        if ATTESTATION_KIND in child.annotations:
            yield Part(child.bare(), "manifest of an attestation")
        elif child.platform is not None and child.platform.os not in ("", "unknown"):
            yield Part(child.bare(), f"{kind} of {child.platform}")
        else:
            yield Part(child.bare(), f"{kind} of the index")


def _blobs(manifest: Manifest, of: str) -> Iterator[Part]:
    if manifest.media_type in media_types.INDEXES:
        yield from (Part(blob.bare(), "entry of the index") for blob in manifest.blobs)
        return
    if manifest.media_type in media_types.IMAGES:
        yield Part(manifest.blobs[0].bare(), f"config{of}")
    layers = manifest.layers
    for position, layer in enumerate(layers, 1):
        yield Part(layer.bare(), f"layer {position} of {len(layers)}{of}")


def _each_once(parts: Iterator[Part]) -> tuple[Part, ...]:
    first: dict[Digest, Part] = {}
    for part in parts:
        first.setdefault(part.content.digest, part)
    return tuple(first.values())
