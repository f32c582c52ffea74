"""Resolve a ref where an image is read from."""

from __future__ import annotations

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Ref
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
