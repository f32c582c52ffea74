"""Resolve a ref: at the source of an image, or at its destination."""

from __future__ import annotations

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import Confirming
from mirrorsync.sync.session import Session


async def named_at(session: Session, source: Location, ref: Ref) -> Descriptor | None:
    """Return the manifest that `ref` names at `source`, None if there is no such tag or digest.

    A missing ref fails the image, so an answer that may be wrong is confirmed. At a destination this would cost a
    request for each tag of a first copy, and setting a tag again is harmless.
    """
    repository = session.repository(source)
    found = await repository.resolve(ref)
    if found is None and isinstance(repository, Confirming):
        return await repository.confirm(ref)
    return found


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
