"""Other tags and indexes that share the digest of an image: looked up before a deletion by digest."""

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
    """Return the tags with a digest, and the tags of the indexes that it is reachable from.

    Every tag of the repository is resolved. An incomplete list is an error: without it nothing is deleted.
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
    """Return whether an index lists a manifest, directly or through other indexes."""
    waiting, seen = [root], {root.digest}
    while waiting:
        content = waiting.pop()
        if content.media_type not in media_types.INDEXES:
            continue
        check_bounds(1, len(seen))
        try:
            children = (await session.manifest(location, content.bare())).children
        except NotFound:
            continue  # a missing index cannot be broken by the deletion
        if any(child.digest == digest for child in children):
            return True
        waiting += [child for child in children if child.digest not in seen]
        seen |= {child.digest for child in children}
    return False
