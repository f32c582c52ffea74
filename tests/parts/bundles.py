"""Bundles of images, written by a packer of the tests: what readers of bundles are tried with."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mirrorsync.bundle.encoding import encode
from mirrorsync.bundle.layout import END, layout, padding, with_parts
from mirrorsync.bundle.model import (
    Assumed,
    Bundle,
    Image,
    Link,
    Member,
    Object,
    Piece,
    Pieces,
    Whole,
    members_of,
)
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from tests.parts.images import Image as Made

# The images of a bundle: by repository and tag, or with `repository@` for a referrer of another one.
Wanted = Mapping[str, Made]


@dataclass
class Packed:
    """A bundle in memory: its document and the content of its members."""

    bundle: Bundle
    content: dict[str, bytes] = field(repr=False)

    @property
    def document(self) -> bytes:
        return encode(self.bundle)

    def part(self, number: int, signatures: Sequence[bytes] = ()) -> bytes:
        """Return the bytes of a part."""
        data = bytearray()
        for entry in layout(self.bundle, number, self.document, signatures).entries:
            content = self.content[entry.member.name] if entry.data is None else entry.data
            data += entry.header + content + padding(len(content))
        return bytes(data + END)

    def write(self, directory: Path, parts: Set[int] | None = None) -> Path:
        """Write the document and some parts, None = all; return the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.bundle.stem}.json").write_bytes(self.document)
        for number, part in enumerate(self.bundle.parts, 1):
            if parts is None or number in parts:
                (directory / part.name).write_bytes(self.part(number))
        return directory


def pack(
    wanted: Wanted,
    *,
    has: Set[str] = frozenset(),
    part_size: int = 1 << 40,
    name: str = "shop",
    sequence: int = 1,
    previous: Link | None = None,
    **fields: Any,
) -> Packed:
    """Return a bundle. wanted: keys are `repository:tag`, or `repository` without a tag.

    has: the digests that the far side has. part_size: bytes of content in a part, about; larger blobs are cut.
    """
    needs: dict[str, list[str]] = {}
    data: dict[str, bytes] = {}
    types: dict[str, str] = {}
    repositories: defaultdict[str, set[str]] = defaultdict(set)
    images = []
    for key, made in sorted(wanted.items()):
        repository, _, tag = key.partition(":")
        content = Descriptor(made.media_type, Digest(made.digest), len(made.raw))
        subject = json.loads(made.raw).get("subject", {}).get("digest")
        source = f"docker.io/{repository}"
        images.append(
            Image(repository, Tag(tag) if tag else None, content, source, Digest(subject) if subject else None)
        )
        for manifest in made.manifests():
            document = json.loads(manifest.raw)
            named = [*document.get("manifests", ()), *document.get("layers", ())]
            named += [document["config"]] if "config" in document else []
            needs[manifest.digest] = list(dict.fromkeys(one["digest"] for one in named))
            data[manifest.digest], types[manifest.digest] = manifest.raw, manifest.media_type
            types |= {one["digest"]: one["mediaType"] for one in named}
            data |= manifest.blobs
            for digest in (manifest.digest, *needs[manifest.digest]):
                repositories[digest].add(repository)
    images.sort(key=lambda image: (image.repository, image.tag or "", image.content.digest))
    placed, content_of = _placed([image.content.digest for image in images], needs, data, has, part_size)
    objects = [
        Object(
            Descriptor(types[digest], Digest(digest), len(data[digest])),
            digest in needs,
            tuple(sorted(repositories[digest])),
            tuple(map(Digest, needs.get(digest, ()))),
            form,
        )
        for digest, form in sorted(placed.items())
    ]
    named_by = {need for one in objects for need in one.needs} | {image.content.digest for image in images}
    assumes = [
        Assumed(Descriptor(types[digest], Digest(digest), len(data[digest])), digest in needs,
                tuple(sorted(repositories[digest])))
        for digest in sorted(has)
        if digest in data and Digest(digest) in named_by
    ]  # fmt: skip
    bundle = Bundle(
        name=name,
        sequence=sequence,
        created="2026-11-26T03:17:00Z",
        chain=hashlib.sha256(name.encode()).hexdigest(),
        previous=previous,
        spec=Digest.of(b"spec"),
        destination=None,
        have=(),
        answers=None,
        tool="tests",
        images=tuple(images),
        objects=tuple(objects),
        assumes=tuple(assumes),
        parts=(),
    )
    return Packed(with_members(replace(bundle, **fields)), content_of)


def _placed(
    roots: Sequence[str], needs: Mapping[str, Sequence[str]], data: Mapping[str, bytes], has: Set[str], part_size: int
) -> tuple[dict[str, Whole | Pieces], dict[str, bytes]]:
    """Return where each object is, and the content of the members."""
    forms: dict[str, Whole | Pieces] = {}
    content: dict[str, bytes] = {}
    number, left = 1, part_size
    manifests: defaultdict[str, set[int]] = defaultdict(set)
    for root in roots:
        own = list(dict.fromkeys(_closure(root, needs)))
        used: set[int] = set()
        for digest in own:
            if digest in has or digest in needs:
                continue
            if digest not in forms:
                raw, cut = data[digest], []
                if len(raw) > left and left < part_size:
                    number, left = number + 1, part_size
                while len(raw) > part_size:
                    cut.append(Piece(number, part_size, Digest.of(raw[:part_size])))
                    content[_piece(digest, len(cut))] = raw[:part_size]
                    raw, number, left = raw[part_size:], number + 1, part_size
                left -= len(raw)
                if cut:
                    cut.append(Piece(number, len(raw), Digest.of(raw)))
                    content[_piece(digest, len(cut))] = raw
                    forms[digest] = Pieces(tuple(cut))
                else:
                    content[f"blobs/sha256/{digest[7:]}"] = raw
                    forms[digest] = Whole((number,))
            form = forms[digest]
            used.update(form.parts if isinstance(form, Whole) else (piece.part for piece in form.pieces))
        for digest in own:
            if digest in needs and digest not in has:
                manifests[digest] |= used or {1}
                content[f"blobs/sha256/{digest[7:]}"] = data[digest]
    return forms | {digest: Whole(tuple(sorted(parts))) for digest, parts in manifests.items()}, content


def _piece(digest: str, number: int) -> str:
    return f"pieces/sha256/{digest[7:]}.{number:06d}"


def _closure(digest: str, needs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield digest
    for need in needs.get(digest, ()):
        yield from _closure(need, needs)


def with_members(bundle: Bundle) -> Bundle:
    """Return a bundle whose parts have the members that its objects say."""
    members: defaultdict[int, list[tuple[bool, str, Member]]] = defaultdict(list)
    for one in bundle.objects:
        for number, member in members_of(one).items():
            members[number].append((not one.manifest, member.name, member))
    count = max(members, default=1)
    return with_parts(
        bundle, [[member for *_, member in sorted(members[at], key=lambda one: one[:2])] for at in range(1, count + 1)]
    )
