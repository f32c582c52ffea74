"""Indexes without all their images, at sources and destinations, and images without their layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from mirrorsync.errors import ContentNotFound, MirrorsyncError
from mirrorsync.oci import media_types
from mirrorsync.oci.config import MAX_CONFIG_BYTES, ImageConfig
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, Sparse
from mirrorsync.remedies import ByVerb
from mirrorsync.stores.base import KnowsSparse
from mirrorsync.sync.gather.sightings import Sightings
from mirrorsync.sync.session import Session

_WHERE: Final = {"oci:": "in this layout", "oci-archive:": "in this archive"}
_REPORT_IT: Final = "or if it should be complete, report this to its publisher"
_UNKNOWN: Final = "unknown/unknown"  # the platform that buildkit gives attestations


def sparse_at(desired: Desired, session: Session, sightings: Sightings) -> Sparse:
    """Return which indexes of the destinations may lack images: those that are wanted so, and those known to be so."""
    targets = {image.target for image in desired.images}
    told = {store: _told_by(session, store) for store in {target.store for target in targets}}
    known = {(target, digest) for target in targets for digest in told[target.store](target.repository)}
    wanted = frozenset(image.target for image in desired.images if image.origin.sparse)
    return Sparse(wanted, frozenset(known).union(sightings.sparse()))


def _told_by(session: Session, address: str) -> Callable[[str], Collection[Digest]]:
    """Return what tells which indexes of a repository lack images, as far as a store knows that by itself."""
    try:
        store = session.store(address)
    except MirrorsyncError:  # reported with its images
        return lambda _: ()
    return store.sparse if isinstance(store, KnowsSparse) else lambda _: ()


async def lacking(session: Session, source: Location, index: Descriptor, error: ContentNotFound) -> ContentNotFound:
    """Return the error for missing content of an index, with the platforms that are missing and those that are not.

    docker saves one platform of an image that has several. It is `error` itself if no image of the index is missing as
    a whole. Raises: MirrorsyncError.
    """
    repository = session.repository(source)
    entries = (await session.manifest(source, index)).entries
    found = [(child, await repository.resolve(child.digest) is not None) for child in entries]
    missing, present = (_names(child for child, there in found if there is wanted) for wanted in (False, True))
    if not missing:
        return error
    verb = "is" if len(missing) == 1 else "are"
    where = _WHERE.get(source.transport.scheme, "at the source")
    platforms = [name for name in present if "/" in name and name != _UNKNOWN]
    if not platforms:
        return error.with_(message=f"{', '.join(missing)} {verb} not {where}")
    options = " ".join(f"--platform {name}" for name in platforms)
    return error.with_(
        message=f"{', '.join(missing)} {verb} not {where}, which has {', '.join(platforms)}",
        remedy=ByVerb(
            f"mirror only what it has with platforms: [{', '.join(platforms)}]; {_REPORT_IT}",
            f"copy only what it has: {options}; {_REPORT_IT}",
        ),
    )


async def lacks_layers(session: Session, source: Location, manifest: Manifest) -> str:
    """Return the notice for an image without layers whose config names some (moby#47065), "" for every other one.

    Only such an image costs a request.
    """
    empty = manifest.media_type in media_types.IMAGES and len(manifest.blobs) == 1 and not manifest.foreign
    config = manifest.blobs[0] if empty else None
    if config is None or config.media_type not in media_types.IMAGE_CONFIGS or config.size > MAX_CONFIG_BYTES:
        return ""
    try:
        named = ImageConfig.parse(await session.repository(source).read(config)).diff_ids
    except MirrorsyncError:
        return ""  # reported where the image is copied
    return f"the image has no layers, but its config names {len(named)}; it is mirrored as it is" if named else ""


def _names(images: Iterable[Descriptor]) -> list[str]:
    named = (str(image.platform) if image.platform is not None else image.digest.short for image in images)
    return list(dict.fromkeys(named))
