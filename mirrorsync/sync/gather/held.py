"""What a destination holds under the name of an image that is wanted there."""

from __future__ import annotations

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.reference import Location
from mirrorsync.sync.session import Session


async def held_at(
    session: Session, target: Location, reference: str, root: Descriptor, source: Location
) -> Descriptor | None:
    """Return what `reference` (a tag or digest) names at `target`, None when nothing.

    A place that keeps images in another form is asked whether it has the config of `root`, the wanted image of
    `source`: it then counts as the same, and what else it may be is not known there.
    """
    converting = session.converting(target)
    if converting is None:
        return await session.destination(target).resolve(reference)
    wanted = await session.manifest(source, root)
    return root if await converting.holds_image(reference, wanted) else None
