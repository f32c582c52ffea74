"""The image at a destination under a wanted tag or digest."""

from __future__ import annotations

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.sync.session import Session


async def present_at(
    session: Session, target: Location, ref: Tag | Digest, root: Descriptor, source: Location
) -> Descriptor | None:
    """Return the manifest that `ref` names at `target`, None if there is no such tag or digest.

    A store that keeps images in another form is asked whether it has the config of `root`, the wanted image of
    `source`: if so, its image counts as `root`; a different image there has no known digest.
    """
    converting = session.converting(target)
    if converting is None:
        return await session.destination(target).resolve(ref)
    wanted = await session.manifest(source, root)
    return root if await converting.holds_image(ref, wanted) else None
