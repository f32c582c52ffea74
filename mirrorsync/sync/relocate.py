"""References in files, rewritten to the names that a mirror gives to the images; digests are asked of the mirror."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mirrorsync.errors import MirrorsyncError
from mirrorsync.foreign.relocation import Use, find_images, replaced
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Reference
from mirrorsync.spec.lock import Lock
from mirrorsync.spec.placement import Placement
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located

Fate = Literal["rewritten", "unchanged", "failed"]
_UNASKED: Final = "no mirror of the spec asks for its tag: ask the destination with --pin"
_NO_TAG: Final = "its tag is in another file, so that it cannot be pinned here: write it here, too"


@dataclass(frozen=True, slots=True)
class Moved:
    """An image in a file, and what became of it. target: its reference at the mirror, None if it failed.

    unchanged: it is that of the mirror already. trouble: why it failed, or why the mirror may not have it, else "".
    """

    use: Use
    fate: Fate
    target: Reference | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Relocated:
    """A file with rewritten references: its name, its images in the order of the file, and its new bytes."""

    name: str
    images: tuple[Moved, ...]
    data: bytes


# Of references at the mirror: their digests, or why there is none.
Digests = Mapping[Reference, Digest | str]


def relocate(files: Sequence[tuple[str, bytes]], placement: Placement) -> list[Relocated]:
    """Return files with the references of the mirror in the place of those of the sources. Nothing is contacted.

    files: the name and the bytes of each. What cannot be rewritten stays as it is, and is reported. Raises: UsageError
    if a file is not YAML.
    """
    return [_made(name, data, moves) for name, data, moves in _moves(files, placement)]


def relocate_pinned(files: Sequence[tuple[str, bytes]], placement: Placement, lock: Lock) -> list[Relocated]:
    """Return the same with the digests of a lock. Raises: as `relocate`."""

    def pinned(one: Moved) -> Moved:
        source = one.use.reference
        # A reference to the mirror itself has no name in the lock, which has those at the sources.
        if source is None or source.digest is not None or one.fate == "unchanged":
            return one
        if not source.names_one:
            return _pinned(one, _NO_TAG)
        mirrored = placement.source(source) or source.location
        return _pinned(one, lock.images.get((mirrored, source.asked), "the lock does not have it"))

    return [_made(name, data, map(pinned, moves)) for name, data, moves in _moves(files, placement)]


async def relocate_pinning(
    files: Sequence[tuple[str, bytes]], placement: Placement, session: Session
) -> list[Relocated]:
    """Return the same with the digests that the mirror has now: one request for each image. Raises: as `relocate`."""
    found = _moves(files, placement)
    digests = await _digests(session, [one.target for _, _, moves in found for one in moves if one.target])
    return [
        _made(name, data, [_pinned(one, digests[one.target]) if one.target else one for one in moves])
        for name, data, moves in found
    ]


def _moves(files: Sequence[tuple[str, bytes]], placement: Placement) -> list[tuple[str, bytes, list[Moved]]]:
    """Return the name and the bytes of each file, and what becomes of its images without digests."""
    found = [(name, data, find_images(data, name)) for name, data in files]
    replacing = {use.replaces: name for name, _, uses in found for use in uses if use.replaces}
    return [
        (
            name,
            data,
            [_left_to(replacing[use.name], use) if use.name in replacing else _moved(use, placement) for use in uses],
        )
        for name, data, uses in found
    ]


def _left_to(kustomization: str, use: Use) -> Moved:
    """Return that an image stays: with another name, what the kustomization writes for it would have no effect."""
    return Moved(use, "failed", None, f"{kustomization} replaces it: relocate only one of the two files")


def _made(name: str, data: bytes, moves: Iterable[Moved]) -> Relocated:
    images = tuple(moves)
    targets = [(one.use, one.target) for one in images if one.fate == "rewritten" and one.target]
    return Relocated(name, images, replaced(data, targets))


def _moved(use: Use, placement: Placement) -> Moved:
    if use.reference is None or use.trouble:
        return Moved(use, "failed", None, use.trouble)
    if placement.is_placed(use.reference.location):
        return Moved(use, "unchanged", use.reference)
    try:
        target = placement.place(use.reference)
    except MirrorsyncError as error:
        return Moved(use, "failed", None, error.message)
    if target is None:
        return Moved(use, "failed", None, "no mirror of the spec has it")
    return Moved(use, "rewritten", target, "" if placement.asks_for(use.reference) else _UNASKED)


def _pinned(one: Moved, digest: Digest | str) -> Moved:
    """Return the same with a digest. digest: a text says why there is none."""
    if one.target is None:
        return one
    if not isinstance(digest, Digest):
        return Moved(one.use, "failed", None, digest)
    if one.target.digest is not None:
        return replace(one, trouble="")
    return replace(one, fate="rewritten", target=replace(one.target, digest=digest), trouble="")


async def _digests(session: Session, targets: Iterable[Reference]) -> Digests:
    """Return what the mirror has. A digest in the file is asked for, too: the mirror could lack it."""
    found: dict[Reference, Digest | str] = {}
    unique = list(dict.fromkeys(targets))

    async def ask(number: int) -> None:
        target = unique[number]
        if not target.names_one:
            found[target] = _NO_TAG
            return
        try:
            with located("destination", target.location, target.asked):
                root = await session.repository(target.location).resolve(target.asked)
            found[target] = root.digest if root else f"the mirror does not have {target}"
        except MirrorsyncError as error:
            found[target] = str(error)

    await for_each(range(len(unique)), ask)
    return found
