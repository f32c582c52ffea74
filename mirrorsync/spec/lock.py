"""Locks: which digest each image of a spec, or of any location, has. The value, its difference, and its text. Pure.

A lock is a file for reviews: one line for each image, sorted, so that a diff shows which tags appear, move and go, and
branches that change different images merge. Nothing else is in it: a digest of the spec, or the time, would change with
every comment and make every merge a conflict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location, Reference

VERSION: Final = 1
KEY: Final = "lock"
IMAGES: Final = "images"
# These need no quotes as a key of YAML. All other names are quoted.
_PLAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/@:+-]*[A-Za-z0-9._/@+-])?")
_HEADS: Final = {
    "spec": (
        "The images that a spec wants, by `mirrorsync lock`. `mirrorsync apply --locked` mirrors exactly these;",
        "`mirrorsync lock --update GLOB` takes what the sources have now. Lines can be changed and removed by hand.",
    ),
    "snapshot": ("The images of one location, by `mirrorsync snapshot`.",),
}

# An image: a repository, and the tag, digest or pick that names it there.
Name = tuple[Location, Ref]
Difference = Literal["new", "moved", "gone"]


@dataclass(frozen=True, slots=True)
class Lock:
    """The digests of images. source: the path of its file, "" without one; digest: of the bytes of that file."""

    images: Mapping[Name, Digest]
    source: str = ""
    digest: Digest = field(default_factory=lambda: Digest.of(b""))

    def __iter__(self) -> Iterator[Name]:
        """Yield the names of the images, sorted."""
        return iter(sorted(self.images, key=_order))


@dataclass(frozen=True, slots=True)
class LockChange:
    """An image that differs between two locks. before, after: its digests, None if the lock lacks it."""

    location: Location
    ref: Ref
    before: Digest | None
    after: Digest | None

    @property
    def state(self) -> Difference:
        """How it differs."""
        if self.before is None:
            return "new"
        return "gone" if self.after is None else "moved"

    def __str__(self) -> str:
        return str(Reference.of(self.location, self.ref))


def changes(old: Lock, new: Lock) -> tuple[LockChange, ...]:
    """Return the images that differ, sorted by name."""
    return tuple(
        LockChange(*name, old.images.get(name), new.images.get(name))
        for name in sorted({**old.images, **new.images}, key=_order)
        if old.images.get(name) != new.images.get(name)
    )


def lock_text(lock: Lock, kind: Literal["spec", "snapshot"], base: str = "") -> Iterator[str]:
    """Yield the lines of a lock's file.

    base: the directory of the file: stores on disk below it are written by their path from there, so that the file can
    move together with them; "" writes absolute paths.
    """
    yield from (f"# {line}\n" for line in _HEADS[kind])
    yield f"{KEY}: {VERSION}\n"
    yield f"{IMAGES}:\n" if lock.images else f"{IMAGES}: {{}}\n"
    for name in lock:
        yield f"  {_quoted(_relative(*name, base))}: {lock.images[name]}\n"


def _relative(location: Location, ref: Ref, base: str) -> str:
    text = str(Reference.of(location, ref))
    start = f"{location.transport.scheme}{base.rstrip('/')}/"
    if not base or not location.transport.has_path or not text.startswith(start):
        return text
    return location.transport.scheme + text.removeprefix(start)


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text) and ("/" in text or not text[0].isdigit()):
        return text
    return json.dumps(text, ensure_ascii=False)  # a name has no character that YAML does not allow in such a string


def _order(name: Name) -> tuple[Location, str]:
    return name[0], str(name[1])


def kept(old: Lock, lost: Iterable[tuple[Location, Ref | None]]) -> dict[Name, Digest]:
    """Return the images of a lock that failed to resolve. lost: ref None is a whole repository, or store on disk."""
    single = set(lost)
    below = {(location.store, location.repository) for location, ref in single if ref is None}
    return {
        (location, ref): digest
        for (location, ref), digest in old.images.items()
        if (location, ref) in single
        or (location, None) in single
        or any(
            location.store == store and f"{location.repository}/".startswith(f"{name}/".lstrip("/"))
            for store, name in below
        )
    }
