"""What a destination holds under the name of an image that is wanted there."""

from __future__ import annotations

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.sync.session import Session


async def held_at(
    session: Session, target: Location, ref: Tag | Digest, root: Descriptor, source: Location
) -> Descriptor | None:
    """Return what `ref` names at `target`, None when nothing.

    A place that keeps images in another form is asked whether it has the config of `root`, the wanted image of
    `source`: it then counts as the same, and what else it may be is not known there.
    """
    converting = session.converting(target)
    if converting is None:
        return await session.destination(target).resolve(ref)
    wanted = await session.manifest(source, root)
    return root if await converting.holds_image(ref, wanted) else None
