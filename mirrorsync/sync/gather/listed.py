"""A run that is restricted to a list of images, such as those that failed in an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath

from mirrorsync.errors import UsageError
from mirrorsync.events import Noticed, Observer
from mirrorsync.oci.names import COSIGN_SUFFIXES
from mirrorsync.oci.ref import THE_ONLY_ONE
from mirrorsync.oci.reference import Reference
from mirrorsync.spec.model import Mirror
from mirrorsync.spec.selection import Wanted
from mirrorsync.sync.gather.choose import Chosen, Lookup

_SHOWN = 5  # of the images that no mirror wants


class ListedImages:
    """The images of a list, by their references at the sources.

    A reference without a tag or digest stands for every wanted image of its repository. mirrors: those that can want
    one of the images. Raises: UsageError, naming the images that no mirror can want, before anything is contacted.
    """

    def __init__(self, images: Iterable[Reference], mirrors: Sequence[Mirror], spec: str) -> None:
        self._images = tuple(dict.fromkeys(images))
        unknown = [str(one) for one in self._images if not any(_can_want(mirror, one) for mirror in mirrors)]
        if unknown:
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            raise UsageError(
                f"no mirror of {PurePath(spec).name} wants {', '.join(unknown[:_SHOWN])}{more}",
                remedy="list images by their names at the source, as `mirrorsync images` does",
            )
        self.mirrors = tuple(mirror for mirror in mirrors if any(_can_want(mirror, one) for one in self._images))

    def of(self, chosen: Chosen, announce: Observer) -> Chosen:
        """Return only the listed ones of the chosen names; those that are not wanted any more are announced."""
        used: set[Reference] = set()
        lookups = []
        for lookup in chosen.lookups:
            asking = [one for one in self._images if _names(one, lookup)]
            used.update(asking)
            lookups += [lookup] if asking else []
        failed = {failure.source for failure in chosen.failures}
        for one in self._images:
            if one not in used and one.location not in failed:
                announce(Noticed(str(one), "skipped: it is in the list of images, but no mirror wants it any more"))
        return replace(chosen, lookups=tuple(lookups))


def _can_want(mirror: Mirror, image: Reference) -> bool:
    """Return whether a mirror can want an image, whatever the tags of its source are."""
    location = image.location
    if location != mirror.source and not mirror.covers(location):
        return False
    if _is_whole(image) or _is_attached(mirror, image):
        return True
    choices = mirror.selection.choose([image.tag] if image.tag is not None and image.digest is None else [])
    return any(_is(image, choice) for choice in (*choices, *mirror.selection.exact))


def _is_whole(image: Reference) -> bool:
    """Return whether all images of a repository are meant, or of a store on disk."""
    return not image.names_one or (not image.location.repository and image.pick == THE_ONLY_ONE)


def _is_attached(mirror: Mirror, image: Reference) -> bool:
    """Return whether an image may be a referrer of one that the mirror wants, and is mirrored with it."""
    return mirror.referrers is not None and (image.tag is None or image.tag.endswith(COSIGN_SUFFIXES))


def _is(image: Reference, wanted: Wanted) -> bool:
    if image.digest is not None:
        return image.digest == wanted.ref
    return image.asked == wanted.ref or (image.tag is not None and image.tag == wanted.written_tag)


def _names(image: Reference, lookup: Lookup) -> bool:
    if _is_whole(image) and not image.location.repository:
        return image.location.store == lookup.source.store
    if _is_whole(image) and image.location == lookup.mirror.source:
        return True
    if image.location != lookup.source:
        return False
    return _is_whole(image) or _is(image, lookup.wanted) or _is_attached(lookup.mirror, image)
