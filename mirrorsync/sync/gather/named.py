"""What a reference names where an image is read from."""

from __future__ import annotations

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import Confirming
from mirrorsync.sync.session import Session


async def named_at(session: Session, source: Location, ref: Ref) -> Descriptor | None:
    """Return what `ref` names at `source`, None when it is not there.

    Without it an image fails, so that an absence which may be a wrong answer is asked about again. At a destination
    that would cost a question for each tag of a first copy, and a tag that is set again does no harm.
    """
    repository = session.repository(source)
    found = await repository.resolve(ref)
    if found is None and isinstance(repository, Confirming):
        return await repository.confirm(ref)
    return found
