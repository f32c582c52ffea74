"""Divide the objects of a bundle among parts: whole objects, images together where they fit, blobs in pieces at worst.

A part has the manifests of every image of which it has a blob, so that it can be imported alone, and last: whichever
part completes an image can also push its manifests.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mirrorsync.bundle.encoding import encode
from mirrorsync.bundle.layout import BLOCK, DOCUMENT_NAME, LAYOUT_CONTENT, LAYOUT_NAME, signature_name, span, with_parts
from mirrorsync.bundle.model import (
    MAX_PARTS,
    Bundle,
    Delta,
    Form,
    Image,
    Member,
    Object,
    Piece,
    Pieces,
    Whole,
    blob_name,
    delta_name,
    members_of,
    piece_name,
)
from mirrorsync.errors import UsageError
from mirrorsync.oci.digest import Digest

# Only so many of the last parts are tried for what does not fit into the current one.
_LOOK_BACK: Final = 32
# An armored SSH signature by the largest key that ssh-keygen makes is smaller; its size is not known before.
SIGNATURE_BYTES: Final = 8192
# index.json: what is around the list, its end, and its header; and what is around each name in it.
_INDEX_BYTES: Final = 4 * BLOCK
_ENTRY_BYTES: Final = 320
_UNKNOWN: Final = Digest("sha256:" + "0" * 64)
_ROUNDS: Final = 12


class _TooSmall(Exception):
    """The parts have no room for what has to be in one part."""


def pack(bundle: Bundle, *, part_size: int | None = None, signatures: int = 0) -> Bundle:
    """Return a bundle with its objects in parts of at most `part_size` bytes, None = one part.

    bundle: with all its images and objects, and without parts. Of their forms only deltas matter: they are kept, unless
    one is larger than a part; then its blob goes whole. signatures: for how many there has to be room in each part. The
    digests of pieces are not known yet: `with_pieces` fills them in. The same input gives the same parts. Raises:
    UsageError, with the least size that works, if parts are too small.
    """
    if part_size is None:
        return _packed(bundle, math.inf)
    if (found := _within(bundle, part_size, signatures)) is not None:
        return found
    least = max(BLOCK, 1 << max(0, part_size.bit_length() - 1))
    while _within(bundle, least, signatures) is None:
        least = math.ceil(least * 1.25)
    raise UsageError(
        f"parts of {part_size} bytes are too small for this bundle: each has its document, {len(bundle.images)} images "
        "in it, and the manifests of images",
        remedy=f"use parts of at least {math.ceil(least / 1024)}KiB",
    )


def with_pieces(bundle: Bundle, pieces: Mapping[Digest, Sequence[Digest]]) -> Bundle:
    """Return a packed bundle with the digests of the pieces of its blobs."""
    objects = tuple(_pieced(one, pieces[one.digest]) if one.digest in pieces else one for one in bundle.objects)
    known = {member.name: member for one in objects if one.digest in pieces for member in members_of(one).values()}
    members = [[known.get(member.name, member) for member in part.members] for part in bundle.parts]
    return with_parts(replace(bundle, objects=objects), members)


def _pieced(one: Object, digests: Sequence[Digest]) -> Object:
    if not isinstance(one.form, Pieces):
        return one
    pieces = tuple(replace(piece, digest=digest) for piece, digest in zip(one.form.pieces, digests, strict=True))
    return replace(one, form=Pieces(pieces))


def head_bytes(document: int, signatures: int) -> int:
    """Return the bytes of a part before its index.json. document: its size. signatures: how many there are, at most."""
    signed = sum(span(signature_name(number), SIGNATURE_BYTES) for number in range(1, signatures + 1))
    return span(LAYOUT_NAME, len(LAYOUT_CONTENT)) + span(DOCUMENT_NAME, document) + signed


def _within(bundle: Bundle, part_size: int, signatures: int) -> Bundle | None:
    """Return the bundle in parts of this size, None if they are too small. The document says how it is divided, so its
    size is found by trying.
    """
    reserved = head_bytes(len(encode(bundle)), signatures)
    for _ in range(_ROUNDS):
        try:
            packed = _packed(bundle, part_size - reserved)
        except _TooSmall:
            return None
        head = head_bytes(len(encode(packed)), signatures)
        if all(head + part.body <= part_size for part in packed.parts):
            return packed
        reserved = max(head, reserved + BLOCK)
    return None


def _packed(bundle: Bundle, room: float) -> Bundle:
    packer = _Packer(bundle, room)
    packer.fill()
    return packer.packed()


@dataclass(slots=True)
class _Bin:
    """A part that is being filled. left: the bytes that it has room for."""

    number: int
    left: float
    manifests: set[Digest] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    content: list[Member] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Group:
    """What has to be in each part that has a blob of some images: manifests, and names in index.json, with bytes."""

    manifests: Mapping[Digest, int]
    names: Mapping[str, int]

    def cost(self, part: _Bin) -> int:
        missing = sum(size for digest, size in self.manifests.items() if digest not in part.manifests)
        return missing + sum(size for name, size in self.names.items() if name not in part.names)


class _Packer:
    def __init__(self, bundle: Bundle, room: float) -> None:
        self._bundle = bundle
        self._room = room - _INDEX_BYTES
        self._objects = bundle.by_digest
        self._bins: list[_Bin] = []
        self._placed: dict[Digest, Form] = {}
        self._images: defaultdict[Digest, list[Image]] = defaultdict(list)
        for image in bundle.images:
            if image.content.digest in self._objects:
                self._images[image.content.digest].append(image)
        self._closures = {root: self._closure(root) for root in self._images}
        self._users: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for root, (_, blobs) in self._closures.items():
            for blob in blobs:
                self._users[blob].append(root)

    def _closure(self, root: Digest) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
        """Return the manifests and the blobs of an image that the bundle carries, in the order of its manifests."""
        manifests: dict[Digest, None] = {}
        blobs: dict[Digest, None] = {}
        pending = [root]
        while pending:
            digest = pending.pop()
            one = self._objects.get(digest)
            if one is None or digest in manifests or digest in blobs:
                continue
            if one.manifest:
                manifests[digest] = None
                pending.extend(reversed(one.needs))
            else:
                blobs[digest] = None
        return tuple(manifests), tuple(blobs)

    def fill(self) -> None:
        """Place all objects. Raises: _TooSmall."""
        first = self._open()
        first.left -= sum(span(member.name, member.size) for member in self._bundle.site)
        if first.left < 0:
            raise _TooSmall
        for root, (_, blobs) in self._closures.items():
            if not blobs:
                self._add(self._fitting(group := self._group([root]), ()), group, ())
        for root, (_, blobs) in self._closures.items():
            if left := [blob for blob in blobs if blob not in self._placed]:
                self._place(root, left)

    def _place(self, root: Digest, blobs: Sequence[Digest]) -> None:
        """Place blobs of an image: together, or if they do not fit into one part, one by one."""
        group = self._group(dict.fromkeys([root, *(user for blob in blobs for user in self._users[blob])]))
        try:
            self._add(self._fitting(group, blobs), group, blobs)
        except _TooSmall:
            if len(blobs) > 1:
                for blob in blobs:
                    self._place(root, [blob])
            else:
                self._split(blobs[0], group)

    def _group(self, roots: Iterable[Digest]) -> _Group:
        found = list(roots)
        manifests = {digest: self._span(digest) for root in found for digest in self._closures[root][0]}
        names = {image.name: len(image.name) + _ENTRY_BYTES for root in found for image in self._images[root]}
        return _Group(manifests, names)

    def _span(self, digest: Digest) -> int:
        return span(blob_name(digest), self._objects[digest].content.size)

    def _blob(self, digest: Digest) -> Member:
        """Return the member with a blob or its delta."""
        one = self._objects[digest]
        if isinstance(one.form, Delta):
            return Member(delta_name(digest), one.form.size, one.form.digest)
        return Member(blob_name(digest), one.content.size, digest)

    def _blob_span(self, digest: Digest) -> int:
        member = self._blob(digest)
        return span(member.name, member.size)

    def _fitting(self, group: _Group, blobs: Sequence[Digest]) -> _Bin:
        """Return the first of the last parts with room for a group and blobs, or else a new one. Raises: _TooSmall."""
        size = sum(self._blob_span(blob) for blob in blobs)
        for part in self._bins[-_LOOK_BACK:]:
            if size + group.cost(part) <= part.left:
                return part
        empty = _Bin(0, self._room)
        if size + group.cost(empty) > empty.left:
            raise _TooSmall
        return self._open()

    def _open(self) -> _Bin:
        if len(self._bins) == MAX_PARTS or self._room <= 0:
            raise _TooSmall
        self._bins.append(_Bin(len(self._bins) + 1, self._room))
        return self._bins[-1]

    def _add(self, part: _Bin, group: _Group, blobs: Sequence[Digest]) -> None:
        self._include(part, group)
        for blob in blobs:
            member, form = self._blob(blob), self._objects[blob].form
            part.left -= span(member.name, member.size)
            part.content.append(member)
            self._placed[blob] = replace(form, part=part.number) if isinstance(form, Delta) else Whole((part.number,))

    def _include(self, part: _Bin, group: _Group) -> None:
        part.left -= group.cost(part)
        part.manifests |= group.manifests.keys()
        part.names |= group.names.keys()

    def _split(self, blob: Digest, group: _Group) -> None:
        """Divide a blob that is larger than a part into pieces, each in a part of its own. Raises: _TooSmall."""
        pieces: list[Piece] = []
        left = self._objects[blob].content.size
        while left:
            part = self._open() if pieces or self._bins[-1].content else self._bins[-1]
            self._include(part, group)
            name = piece_name(blob, len(pieces) + 1)
            size = min(left, int(part.left - span(name, 0)) // BLOCK * BLOCK)
            if size <= 0 or (size == left and not pieces):
                raise _TooSmall
            part.left -= span(name, size)
            part.content.append(Member(name, size, _UNKNOWN))
            pieces.append(Piece(part.number, size, _UNKNOWN))
            left -= size
        self._placed[blob] = Pieces(tuple(pieces))

    def packed(self) -> Bundle:
        """Return the bundle with its parts."""
        objects = tuple(replace(one, form=self._form(one)) for one in self._bundle.objects)
        members = []
        for part in self._bins:
            names = sorted((blob_name(digest), digest) for digest in part.manifests)
            manifests = [Member(name, self._objects[digest].content.size, digest) for name, digest in names]
            members.append([*(self._bundle.site if part.number == 1 else ()), *manifests, *part.content])
        return with_parts(replace(self._bundle, objects=objects), members)

    def _form(self, one: Object) -> Form:
        if not one.manifest:
            return self._placed[one.digest]
        return Whole(tuple(part.number for part in self._bins if one.digest in part.manifests))
