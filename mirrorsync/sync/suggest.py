"""The error for an image that does not exist: the repository or the tag, with suggestions of similar tags."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Sequence

from mirrorsync.errors import ContentNotFound, MirrorsyncError, RepositoryNotFound
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Pick, Ref, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.sync.session import Session

_LISTED = "`mirrorsync list-tags` shows the available ones"


async def absent(session: Session, reference: Reference) -> MirrorsyncError:
    """Return the error for an image that does not exist."""

    async def list_tags() -> list[Tag]:
        return [tag async for tag in session.repository(reference.location).tags()]

    return await missing(reference.location, reference.asked, list_tags)


async def missing(location: Location, ref: Ref, list_tags: Callable[[], Awaitable[Sequence[Tag]]]) -> MirrorsyncError:
    """Return the error for an image that does not exist.

    list_tags: returns the tags of its repository; called only for this error.
    """
    where = location.at(ref)
    try:
        tags = await list_tags()
    except RepositoryNotFound as error:
        return error.at(where)
    except MirrorsyncError:
        tags = ()  # a registry may resolve tags but reject lists; the tag is missing in any case
    if isinstance(ref, Digest):
        not_found = ContentNotFound("the repository has no image with this digest", remedy="check the digest")
    elif isinstance(ref, Pick):
        not_found = ContentNotFound("no such image", remedy=_LISTED)
    else:
        close = difflib.get_close_matches(ref, tags, n=3)
        remedy = f"did you mean {' or '.join(close)}?" if close else _LISTED
        not_found = ContentNotFound("the repository has no such tag", remedy=remedy)
    return not_found.at(where)
