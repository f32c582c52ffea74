"""The root of an image: resolved at its source, and narrowed to the wanted platforms."""

from __future__ import annotations

from collections.abc import Sequence

from mirrorsync.errors import ContentNotFound, Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.config import MAX_CONFIG_BYTES, ImageConfig
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.narrowing import IndexMode, chosen, left_out, narrowed
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.session import Session


async def root_of(
    session: Session, source: Location, ref: Ref, platforms: Sequence[Platform] = (), index: IndexMode = ""
) -> Descriptor | None:
    """Return the root that `ref` resolves to, None if there is no such tag or digest.

    For one platform of an index this is its image; for several, or to rewrite the index, it is a new index, which the
    session remembers, since no store has it. A sparse index is the source's own. Raises: ContentNotFound if there is no
    image for a platform.
    """
    root = await named_at(session, source, ref)
    return root if root is None or not platforms else await narrow(session, source, root, platforms, index)


async def narrow(
    session: Session, source: Location, root: Descriptor, platforms: Sequence[Platform], index: IndexMode = ""
) -> Descriptor:
    """Return the part of an image that is for `platforms`; see `root_of`."""
    manifest = await session.manifest(source, root)
    if manifest.media_type not in media_types.INDEXES:
        await _check_platform(session, source, manifest, platforms)
        return root
    images = chosen(manifest, platforms)
    if index == "sparse":
        return root
    if len(images) == 1 and index != "rewrite":
        return images[0]
    made = narrowed(manifest, images)
    session.remember(made)
    return made.descriptor


async def unselected(
    session: Session, source: Location, root: Descriptor, platforms: Sequence[Platform]
) -> frozenset[Digest]:
    """Return what an index lists and a sparse copy of it for `platforms` does not need. Raises: ContentNotFound."""
    if root.media_type not in media_types.INDEXES:
        return frozenset()
    return left_out(await session.manifest(source, root), platforms)


async def _check_platform(
    session: Session, source: Location, manifest: Manifest, platforms: Sequence[Platform]
) -> None:
    """Check that a single image is for one of the platforms. Artifacts (a chart) are for all platforms."""
    config = manifest.blobs[0] if manifest.media_type in media_types.IMAGES else None
    if config is None or config.media_type not in media_types.IMAGE_CONFIGS:
        return
    if config.size > MAX_CONFIG_BYTES:
        raise Malformed(f"the image's config is larger than {MAX_CONFIG_BYTES} bytes")
    found = ImageConfig.parse(await session.repository(source).read(config)).platform
    if found is None:
        return
    if not any(platform.runs(found) for platform in platforms):
        named = " or ".join(map(str, platforms))
        raise ContentNotFound(f"no image for platform {named}", remedy=f"available: {found}")
