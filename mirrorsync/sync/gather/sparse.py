"""Indexes whose images are not all at their source: docker saves one platform of an image that has several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.reference import Location
from mirrorsync.sync.session import Session

_WHERE: Final = {"oci:": "in this layout", "oci-archive:": "in this archive"}
_UNKNOWN: Final = "unknown/unknown"  # the platform that buildkit gives attestations


async def lacking(session: Session, source: Location, index: Descriptor, error: ContentNotFound) -> ContentNotFound:
    """Return the error for missing content of an index, with the platforms that are missing and those that are not.

    It is `error` itself if no image of the index is missing as a whole. Raises: MirrorsyncError.
    """
    repository = session.repository(source)
    entries = (await session.manifest(source, index)).entries
    found = [(child, await repository.resolve(child.digest) is not None) for child in entries]
    missing, present = (_names(child for child, there in found if there is wanted) for wanted in (False, True))
    if not missing:
        return error
    verb = "is" if len(missing) == 1 else "are"
    where = _WHERE.get(source.transport.scheme, "at the source")
    platforms = [name for name in present if "/" in name and name != _UNKNOWN]
    if not platforms:
        return error.with_(message=f"{', '.join(missing)} {verb} not {where}")
    options = " ".join(f"--platform {name}" for name in platforms)
    return error.with_(
        message=f"{', '.join(missing)} {verb} not {where}, which has {', '.join(platforms)}",
        remedy=f"copy only what it has: {options} (in a spec platforms: [{', '.join(platforms)}])",
    )


def _names(images: Iterable[Descriptor]) -> list[str]:
    named = (str(image.platform) if image.platform is not None else image.digest.short for image in images)
    return list(dict.fromkeys(named))
