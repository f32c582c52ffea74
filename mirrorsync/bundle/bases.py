"""Choose the old blobs that a new one may be expressed by: layers of images that the far side has. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mirrorsync.bundle.held import Held
from mirrorsync.bundle.model import Image
from mirrorsync.oci.descriptor import Descriptor

# A smaller blob costs more requests than its delta saves.
LEAST_BYTES: Final = 256 * 1024
MOST_TRIED: Final = 2
MOST_IMAGES: Final = 3
# An old layer cannot spare more than its own size.
_LEAST_PART: Final = 10
# Not decoded as gzip, and content that is compressed in another way has nothing in common with its last version. The
# second is that of Docker's media types.
_NOT_DECODED: Final = ("+zstd", ".zstd", "+encrypted")
_NUMBERS: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image. place: from the bottom, from 0. age: of the image, 0 = what the tag named, 1 = another.

    diff_ids: of it and of all below it, the lowest first; () if they are not known.
    """

    content: Descriptor
    place: int
    diff_ids: tuple[str, ...] = ()
    age: int = 0


def ranked(new: Layer, old: Iterable[Layer]) -> list[Layer]:
    """Return the old layers that are most like a new one by what is known without reading them, the best first.

    The same content that is only compressed in another way; then the layer above the same layers; then one of about
    the same size that is near in its image. Layers that deltas do not decode are left out.
    """
    found: dict[str, Layer] = {}
    if new.content.media_type.endswith(_NOT_DECODED):
        return []
    for one in sorted(old, key=lambda one: _unlike(new, one)):
        if one.content.media_type.endswith(_NOT_DECODED):
            continue
        if one.content.digest != new.content.digest and one.content.size * _LEAST_PART > new.content.size:
            found.setdefault(one.content.digest, one)
    return list(found.values())[:MOST_TRIED]


def _unlike(new: Layer, old: Layer) -> tuple[bool, bool, bool, int, int, int, str]:
    known = bool(new.diff_ids) and bool(old.diff_ids)
    small, large = sorted((new.content.size, old.content.size))
    return (
        not (known and new.diff_ids[-1] == old.diff_ids[-1]),
        not (known and new.diff_ids[:-1] == old.diff_ids[:-1]),
        large > 2 * small,
        abs(new.place - old.place),
        old.age,
        large - small,
        old.content.digest,
    )


def previous(image: Image, held: Held) -> list[Descriptor]:
    """Return the images that the far side has in the repository of one: what its tag names, then those with tags that
    begin most like it, the newest of these first.
    """
    repository = held.repositories.get(image.repository)
    if repository is None:
        return []
    tag = image.tag or ""
    names = sorted(repository.tags, key=lambda name: (name == tag, _common(name, tag), _natural(name)), reverse=True)
    found = dict.fromkeys(repository.tags[name] for name in names)
    listed = [digest for digest in found if digest != image.content.digest and digest in repository.manifests]
    return [repository.manifests[digest] for digest in listed[:MOST_IMAGES]]


def _common(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in _NUMBERS.split(name)]


def diff_ids_of(config: bytes) -> tuple[str, ...]:
    """Return the diff_ids of a config of an image, () if it has none: they only help to choose."""
    try:
        found = json.loads(config)["rootfs"]["diff_ids"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ()
    return tuple(found) if isinstance(found, list) and all(isinstance(one, str) for one in found) else ()
