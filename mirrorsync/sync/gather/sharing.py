"""What else has the digest of an image in its repository: found out before anything is deleted by its digest."""

from __future__ import annotations

from mirrorsync.errors import MirrorsyncError, NotFound
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.deletion import Sharing
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session


async def sharing_of(session: Session, location: Location, digest: Digest) -> Sharing:
    """Return the tags that name a digest, and the tags of the indexes that lead to it.

    Every tag of the repository is asked for. A list that breaks off is an error: what is not known is not deleted.
    """
    tags = [tag async for tag in session.repository(location).tags()]
    named: dict[Tag, Descriptor] = {}
    failures: list[MirrorsyncError] = []

    async def ask(tag: Tag) -> None:
        try:
            found = await named_at(session, location, tag) if not failures else None
        except MirrorsyncError as error:
            failures.append(error)
            return
        if found is not None:
            named[tag] = found

    await for_each(tags, ask)
    if failures:
        raise failures[0]
    listed = [(tag, named[tag]) for tag in tags if tag in named]
    same = tuple(tag for tag, root in listed if root.digest == digest)
    return Sharing(same, tuple([tag for tag, root in listed if await _leads_to(session, location, root, digest)]))


async def _leads_to(session: Session, location: Location, root: Descriptor, digest: Digest) -> bool:
    """Tell whether an index names a manifest, itself or by an index that it names."""
    waiting, seen = [root], {root.digest}
    while waiting:
        content = waiting.pop()
        if content.media_type not in media_types.INDEXES:
            continue
        check_bounds(1, len(seen))
        try:
            children = (await session.manifest(location, content.bare())).children
        except NotFound:
            continue  # an index that is not there cannot be broken
        if any(child.digest == digest for child in children):
            return True
        waiting += [child for child in children if child.digest not in seen]
        seen |= {child.digest for child in children}
    return False
