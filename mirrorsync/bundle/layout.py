"""Where each byte of a part is: its members in order, with computed tar headers, and its index.json."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from mirrorsync.bundle.encoding import canonical, tree_digest
from mirrorsync.bundle.model import Bundle, Member, Names, Part
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import REF_NAME
from mirrorsync.oci.digest import Digest

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
LAYOUT_NAME: Final = "oci-layout"
LAYOUT_CONTENT: Final = canonical({"imageLayoutVersion": "1.0.0"})
DOCUMENT_NAME: Final = "mirrorsync-bundle.json"
INDEX_NAME: Final = "index.json"
_MODE: Final = 0o644


def header(name: str, size: int) -> bytes:
    """Return the tar header of a member, in GNU's format: a function of its name and its size in bytes.

    GNU's format has sizes of 8 GiB and more, and names of more than 100 bytes (sha512), which ustar has not.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8")


def padding(size: int) -> bytes:
    """Return the zeros after the content of a member."""
    return bytes(-size % BLOCK)


def span(name: str, size: int) -> int:
    """Return the bytes of a member in a part: header, content and padding."""
    return _header_bytes(len(name.encode())) + size + -size % BLOCK


@cache
def _header_bytes(length: int) -> int:
    """Return the size of a header, which depends only on the length of the name, in bytes."""
    return len(header("x" * length, 0))


def signature_name(number: int) -> str:
    """Return the name of the member with a signature over the document; number: from 1."""
    return f"{DOCUMENT_NAME}.{'' if number == 1 else f'{number}.'}sig"


@dataclass(frozen=True, slots=True)
class Entry:
    """A member at its place: the offset of its header in the file, the header, and the content if it is known.

    data: of oci-layout, the document, its signatures and index.json; None for members that the document lists.
    """

    offset: int
    header: bytes
    member: Member
    data: bytes | None = None

    @property
    def start(self) -> int:
        """The offset of the content."""
        return self.offset + len(self.header)

    @property
    def end(self) -> int:
        """The offset of the next header, or of the end of the archive."""
        return self.start + self.member.size + -self.member.size % BLOCK


@dataclass(frozen=True, slots=True)
class Layout:
    """All bytes of a part: its members in order. size: of the file, in bytes."""

    entries: tuple[Entry, ...]
    size: int


def layout(bundle: Bundle, number: int, document: bytes, signatures: Sequence[bytes] = ()) -> Layout:
    """Return where each byte of a part is. number: of the part, from 1.

    document: the bytes of the bundle's document. signatures: over these bytes, in order.
    """
    known = [(LAYOUT_NAME, LAYOUT_CONTENT), (DOCUMENT_NAME, document)]
    known += [(signature_name(at), signature) for at, signature in enumerate(signatures, 1)]
    known.append((INDEX_NAME, index_json(bundle, number)))
    return placed(
        [
            *((Member(name, len(data), Digest.of(data)), data) for name, data in known),
            *((member, None) for member in bundle.parts[number - 1].members),
        ]
    )


def placed(members: Iterable[tuple[Member, bytes | None]]) -> Layout:
    """Return an archive of these members, in order, each with its content if that is known."""
    entries: list[Entry] = []
    offset = 0
    for member, data in members:
        entry = Entry(offset, header(member.name, member.size), member, data)
        entries.append(entry)
        offset = entry.end
    return Layout(tuple(entries), offset + len(END))


def body_bytes(bundle: Bundle, number: int) -> int:
    """Return the size of a part in bytes without oci-layout, the document and its signatures; number: from 1."""
    members = bundle.parts[number - 1].members
    listed = sum(span(member.name, member.size) for member in members)
    return span(INDEX_NAME, len(index_json(bundle, number))) + listed + len(END)


def with_parts(bundle: Bundle, members: Sequence[Sequence[Member]]) -> Bundle:
    """Return a bundle with the parts for its objects: their names, digests and sizes. members: of each part."""
    names = Names(bundle.stem, len(members))
    parts = tuple(
        Part(names.part(number), 0, tree_digest(listed), tuple(listed)) for number, listed in enumerate(members, 1)
    )
    bundle = replace(bundle, parts=parts)
    return replace(
        bundle, parts=tuple(replace(part, body=body_bytes(bundle, number)) for number, part in enumerate(parts, 1))
    )


def index_json(bundle: Bundle, number: int) -> bytes:
    """Return the index.json of a part: the images that are whole in it, so that it is an OCI layout; number: from 1."""
    manifests = [
        {
            "mediaType": image.content.media_type,
            "digest": str(image.content.digest),
            "size": image.content.size,
            "annotations": {REF_NAME: image.name},
        }
        for image in bundle.roots.get(number, ())
        if bundle.whole.get(image.content.digest, 0) >> number & 1
    ]
    return canonical({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests})
