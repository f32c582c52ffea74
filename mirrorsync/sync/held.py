"""What a destination holds under the name of an image that is wanted there."""

from __future__ import annotations

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import Converting
from mirrorsync.sync.session import Session


async def held_at(
    session: Session, target: Location, reference: str, root: Descriptor, source: Location
) -> Descriptor | None:
    """Return what `reference` (a tag or digest) names at `target`, None when nothing.

    A place that keeps images in another form is asked whether it has the config of `root`, the wanted image of
    `source`: it then counts as the same, and what else it may be is not known there.
    """
    repository = session.destination(target)
    if not isinstance(repository, Converting):
        return await repository.resolve(reference)
    wanted = await session.manifest(source, root)
    return root if await repository.holds_image(reference, wanted) else None
