"""What is said of an image that is not there: the repository or the tag, with those that are written much like it."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Sequence

from mirrorsync.errors import ContentNotFound, MirrorsyncError, RepositoryNotFound
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Pick, Ref, Tag
from mirrorsync.oci.reference import Location

_LISTED = "`mirrorsync list-tags` shows those that are there"


async def missing(location: Location, ref: Ref, list_tags: Callable[[], Awaitable[Sequence[Tag]]]) -> MirrorsyncError:
    """Return the error for an image that was asked for and is not there.

    list_tags: returns the tags of its repository; it is called only now that something failed.
    """
    place = location.at(ref)
    try:
        tags = await list_tags()
    except RepositoryNotFound as error:
        return error.at(place)
    except MirrorsyncError:
        tags = ()  # a registry may answer questions and refuse lists; the tag is missing all the same
    if isinstance(ref, Digest):
        absent = ContentNotFound("the repository has no image with this digest", remedy="check the digest")
    elif isinstance(ref, Pick):
        absent = ContentNotFound("there is no such image", remedy=_LISTED)
    else:
        close = difflib.get_close_matches(ref, tags, n=3)
        remedy = f"there is {', '.join(close)}" if close else _LISTED
        absent = ContentNotFound("the repository has no such tag", remedy=remedy)
    return absent.at(place)
