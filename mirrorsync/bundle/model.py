"""The document of a bundle as values: images, objects, assumptions about the far side, and parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final

from mirrorsync.bundle.graph import bottom_up
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref, Tag, written

FORMAT: Final = "mirrorsync.bundle"
VERSION: Final = 1
MAX_PARTS: Final = 9999


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the tar archive of a part: its name, its size in bytes, and the digest of its content."""

    name: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Whole:
    """An object is carried whole, in each of these parts (numbers from 1): a blob in one, a manifest in several."""

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the bytes of a blob, in one part."""

    part: int
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Pieces:
    """A blob is larger than a part: its bytes are those of these pieces, in this order."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """A blob is rebuilt from another blob, `base`, and a delta of `size` bytes. kind: the format of the delta."""

    part: int
    size: int
    digest: Digest
    base: Digest
    kind: str


Form = Whole | Pieces | Delta


@dataclass(frozen=True, slots=True)
class Object:
    """A manifest or blob that the bundle carries.

    repositories: that need it, sorted, at least one. needs: of a manifest, the content without which it cannot be
    pushed: its blobs and children, as far as they are mirrored; also if they are not in the bundle.
    """

    content: Descriptor
    manifest: bool
    repositories: tuple[str, ...]
    needs: tuple[Digest, ...]
    form: Form

    @property
    def digest(self) -> Digest:
        """The digest."""
        return self.content.digest


@dataclass(frozen=True, slots=True)
class Assumed:
    """Content that the destination is assumed to have: changed images need it, or it is the root of unchanged ones.

    sent: the sequence number of the bundle that carried it, 0 if it is not known.
    """

    content: Descriptor
    manifest: bool
    repositories: tuple[str, ...]
    sent: int = 0

    @property
    def digest(self) -> Digest:
        """The digest."""
        return self.content.digest


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the wanted state, unchanged ones too.

    repository: at the destination, without its prefix. tag: None for a root without a tag. source: the repository that
    it was read from, as docker.io/library/alpine. subject: of a referrer, the manifest that it refers to. platforms: of
    an index that is mirrored without some of its images, those that it is mirrored for.
    """

    repository: str
    tag: Tag | None
    content: Descriptor
    source: str
    subject: Digest | None = None
    platforms: tuple[Platform, ...] = ()

    @property
    def ref(self) -> Ref:
        """The tag, or else the digest."""
        return self.tag or self.content.digest

    @property
    def name(self) -> str:
        """Its name inside a store: `repository:tag` or `repository@digest`."""
        return written(self.repository, self.ref)


@dataclass(frozen=True, slots=True)
class Part:
    """A part: the name of its file, the size of its body (from index.json to the end) in bytes, and its members.

    digest: of the list of members (`encoding.tree_digest`). members: without oci-layout, the document, its signatures
    and index.json.
    """

    name: str
    body: int
    digest: Digest
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What a bundle was made against: an inventory, an older bundle, a generation, or what was sent before."""

    kind: str
    digest: Digest
    created: str


@dataclass(frozen=True, slots=True)
class Link:
    """A bundle of the same sender, by its sequence number and the digest of its document."""

    sequence: int
    digest: Digest


@dataclass(frozen=True)
class Bundle:
    """The document of a bundle; valid if it comes from `reading.parse`.

    name: of all its files, before the sequence number. created: UTC, as 2026-11-26T03:17:00Z. chain: 64 hex digits,
    the same in all bundles of one sender and spec (`link` in the document). spec: digest of the spec's bytes.
    destination: the address that it was made for, None for any. answers: the bundle whose answer code it answers.
    images, objects and assumes are sorted, as `consistency.check` says.
    """

    name: str
    sequence: int
    created: str
    chain: str
    previous: Link | None
    spec: Digest
    destination: str | None
    have: tuple[Source, ...]
    answers: Link | None
    tool: str
    images: tuple[Image, ...]
    objects: tuple[Object, ...]
    assumes: tuple[Assumed, ...]
    parts: tuple[Part, ...]
    site: tuple[Member, ...] = ()

    @cached_property
    def by_digest(self) -> Mapping[Digest, Object]:
        """The objects, by their digests."""
        return MappingProxyType({one.digest: one for one in self.objects})

    @property
    def deltas(self) -> tuple[Object, ...]:
        """The objects that are rebuilt from a delta."""
        return tuple(one for one in self.objects if isinstance(one.form, Delta))

    @property
    def bytes_saved(self) -> int:
        """How many bytes more all of these have than their deltas."""
        return sum(one.content.size - one.form.size for one in self.objects if isinstance(one.form, Delta))

    @cached_property
    def roots(self) -> Mapping[int, tuple[Image, ...]]:
        """The images whose root is in a part, by the number of the part, in the order of `images`."""
        found: dict[int, list[Image]] = {}
        for image in self.images:
            root = self.by_digest.get(image.content.digest)
            if root is not None and isinstance(root.form, Whole):
                for part in root.form.parts:
                    found.setdefault(part, []).append(image)
        return MappingProxyType({part: tuple(images) for part, images in found.items()})

    @cached_property
    def whole(self) -> Mapping[Digest, int]:
        """Of each manifest, the parts that have it with all that it needs, as bits: `1 << number` of each part."""
        bits = [1 << number for number in range(len(self.parts) + 1)]
        forms = ((one.digest, one.form) for one in self.objects)
        here = {digest: sum(bits[part] for part in form.parts) for digest, form in forms if isinstance(form, Whole)}
        found: dict[Digest, int] = {}
        equal: dict[int, int] = {}  # thousands of parts make large numbers, most of them of many manifests
        needs = {one.digest: one.needs for one in self.objects if one.manifest}
        for digest in bottom_up(needs):
            parts = here.get(digest, 0)
            for need in needs[digest]:
                parts &= found[need] if need in needs else here.get(need, 0)
            found[digest] = equal.setdefault(parts, parts)
        return MappingProxyType({digest: found.get(digest, 0) for digest in needs})

    @property
    def stem(self) -> str:
        """The beginning of the names of all its files: shop-000007."""
        return stem_of(self.name, self.sequence)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the files of one bundle. parts: how many it has."""

    stem: str
    parts: int = field(default=1)

    def part(self, number: int) -> str:
        """Return the name of a part's file; number: from 1."""
        return f"{self.stem}.{number:03d}of{self.parts:03d}.tar"

    @property
    def document(self) -> str:
        """The name of the document's file."""
        return f"{self.stem}.json"

    def signature(self, number: int = 1) -> str:
        """Return the name of a signature's file; number: from 1."""
        return f"{self.stem}.json.{'' if number == 1 else f'{number}.'}sig"

    @property
    def checksums(self) -> str:
        """The name of the file for `sha256sum -c`."""
        return f"{self.stem}.sha256"


def stem_of(name: str, sequence: int) -> str:
    """Return the beginning of the names of a bundle's files."""
    return f"{name}-{sequence:06d}"


def blob_name(digest: Digest) -> str:
    """Return the name of the member with a manifest or a whole blob."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def piece_name(digest: Digest, number: int) -> str:
    """Return the name of the member with a piece of a blob; number: from 1."""
    return f"pieces/{digest.algorithm}/{digest.encoded}.{number:06d}"


def delta_name(digest: Digest) -> str:
    """Return the name of the member with the delta from which a blob is rebuilt; digest: of that blob."""
    return f"deltas/{digest.algorithm}/{digest.encoded}"


def members_of(one: Object) -> dict[int, Member]:
    """Return the members that carry an object, by the number of their part.

    A part has at most one member of an object: of the pieces of a blob, each is in another part.
    """
    form = one.form
    if isinstance(form, Whole):
        return dict.fromkeys(form.parts, Member(blob_name(one.digest), one.content.size, one.digest))
    if isinstance(form, Pieces):
        return {
            piece.part: Member(piece_name(one.digest, number), piece.size, piece.digest)
            for number, piece in enumerate(form.pieces, 1)
        }
    return {form.part: Member(delta_name(one.digest), form.size, form.digest)}
