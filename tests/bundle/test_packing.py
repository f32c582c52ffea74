"""Objects in parts: as whole and as together as they fit, never more than the size, and the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from mirrorsync.bundle.encoding import encode
from mirrorsync.bundle.layout import layout, span
from mirrorsync.bundle.model import Bundle, Image, Member, Object, Pieces, Whole, blob_name
from mirrorsync.bundle.packing import head_bytes, pack, with_pieces
from mirrorsync.bundle.reading import parse
from mirrorsync.errors import UsageError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from tests.bundle.values import example

KIB = 1024
NO_FORM = Whole((1,))


def descriptor(name: str, size: int, media_type: str = media_types.OCI_LAYER_GZIP) -> Descriptor:
    """Return a descriptor of content that does not exist."""
    return Descriptor(media_type, Digest.of(name.encode()), size)


def draft(images: Mapping[str, Mapping[str, int]], site: tuple[Member, ...] = ()) -> Bundle:
    """Return a bundle that is not packed. images: of each image (`repository:tag`), the sizes of its blobs by name."""
    objects: dict[Digest, Object] = {}
    listed = []
    for name, sizes in sorted(images.items()):
        repository, _, tag = name.partition(":")
        blobs = [descriptor(blob, size) for blob, size in sizes.items()]
        root = descriptor(name, 400, media_types.OCI_MANIFEST)
        listed.append(Image(repository, Tag(tag), root, f"src.example/{repository}"))
        for blob in blobs:
            known = objects.get(blob.digest)
            repositories = {*(known.repositories if known else ()), repository}
            objects[blob.digest] = Object(blob, False, tuple(sorted(repositories)), (), NO_FORM)
        objects[root.digest] = Object(root, True, (repository,), tuple(blob.digest for blob in blobs), NO_FORM)
    ordered = sorted(objects.values(), key=lambda one: one.digest)
    empty = replace(example(), images=tuple(listed), objects=tuple(ordered), assumes=(), parts=(), site=site)
    return replace(empty, have=(), previous=None)


def finished(bundle: Bundle) -> Bundle:
    """Return a packed bundle with digests for its pieces."""
    pieces = {
        one.digest: [Digest.of(f"{one.digest}{number}".encode()) for number in range(len(one.form.pieces))]
        for one in bundle.objects
        if isinstance(one.form, Pieces)
    }
    return with_pieces(bundle, pieces)


def placed(bundle: Bundle) -> list[list[str]]:
    """Return the content of each part, without manifests: the names of blobs as the tests call them."""
    names = {Digest.of(name.encode()).encoded: name for name in NAMES}
    return [
        [
            f"{names[encoded]}{dot}{number.lstrip('0')}"
            for member in part.members
            for encoded, dot, number in [member.name.rpartition("/")[2].partition(".")]
            if encoded in names
        ]
        for part in bundle.parts
    ]


NAMES = ("a", "b", "c", "d", "e", "base")

# The blobs of each image in KiB, the size of a part in KiB, and the blobs of each part.
CASES: dict[str, tuple[dict[str, dict[str, int]], int | None, list[list[str]]]] = {
    "one part": ({"x:1": {"a": 9, "b": 9}}, None, [["a", "b"]]),
    "nothing but a manifest": ({"x:1": {}}, 20, [[]]),
    "all in one part that is large enough": ({"x:1": {"a": 9}, "x:2": {"b": 9}}, 60, [["a", "b"]]),
    "each image in a part": ({"x:1": {"a": 9, "b": 9}, "x:2": {"c": 9, "d": 9}}, 40, [["a", "b"], ["c", "d"]]),
    "the third image fills the first part": (
        {"x:1": {"a": 15}, "x:2": {"b": 25}, "x:3": {"c": 9}},
        42,
        [["a", "c"], ["b"]],
    ),
    "an image that is larger than a part": ({"x:1": {"a": 20, "b": 20, "c": 1}}, 40, [["a", "c"], ["b"]]),
    "a blob that is larger than a part": ({"x:1": {"a": 50, "b": 1}}, 40, [["a.1"], ["a.2", "b"]]),
    "a layer that two images share": (
        {"x:1": {"base": 9, "a": 9}, "x:2": {"base": 9, "b": 15}},
        40,
        [["base", "a"], ["b"]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_blobs_are_placed(case: str) -> None:
    images, part_size, expected = CASES[case]
    sized = {name: {blob: size * KIB for blob, size in blobs.items()} for name, blobs in images.items()}
    packed = finished(pack(draft(sized), part_size=part_size * KIB if part_size else None))
    assert placed(packed) == expected
    assert parse(encode(packed)) == packed


@pytest.mark.parametrize("signatures", [0, 2])
@pytest.mark.parametrize("part_size", [90, 103, 117, 200, 1000])
def test_no_part_is_larger_than_the_size(part_size: int, signatures: int) -> None:
    images = {f"x:{number}": {f"own-{number}": number * 2000, "base": 7000} for number in range(1, 21)}
    part_size = (part_size + 16 * signatures) * KIB
    packed = finished(pack(draft(images), part_size=part_size, signatures=signatures))
    document = encode(packed)
    for number, part in enumerate(packed.parts, 1):
        assert layout(packed, number, document, [b"s" * 8000] * signatures).size <= part_size
        assert head_bytes(len(document), signatures) + part.body <= part_size
    assert parse(document) == packed


def test_twenty_small_parts_hold_every_object_once_and_the_manifests_of_their_blobs() -> None:
    images = {f"x:{number:02}": {f"own-{number}": 50_000, "base": 50_000} for number in range(1, 21)}
    packed = finished(pack(draft(images), part_size=110 * KIB))
    assert len(packed.parts) >= 20
    blobs = [member.name for part in packed.parts for member in part.members if member.size == 50_000]
    assert len(blobs) == len(set(blobs)) == 21
    for part in packed.parts:
        names = {member.name for member in part.members}
        for image in packed.images:
            needs = packed.by_digest[image.content.digest].needs
            if any(blob_name(digest) in names for digest in needs):
                assert blob_name(image.content.digest) in names


def test_a_part_of_exactly_the_size_is_not_divided() -> None:
    one = pack(draft({"x:1": {"a": 100_000}}))
    exact = head_bytes(len(encode(one)), 0) + one.parts[0].body
    room = 2048  # what is reserved for index.json
    assert len(pack(draft({"x:1": {"a": 100_000}}), part_size=exact + room).parts) == 1
    assert len(pack(draft({"x:1": {"a": 100_000}}), part_size=exact - 512).parts) > 1


def test_the_same_objects_are_packed_the_same_way_in_any_order() -> None:
    images = {f"x:{number}": {f"own-{number}": number * 3000, "base": 9000} for number in range(1, 12)}
    reversed_images = dict(reversed(list(images.items())))
    assert encode(pack(draft(images), part_size=70 * KIB)) == encode(pack(draft(reversed_images), part_size=70 * KIB))


@pytest.mark.parametrize("part_size", [1, 600, 4096])
def test_parts_that_are_too_small_are_refused_with_a_size_that_works(part_size: int) -> None:
    images = draft({"x:1": {"a": 100_000, "b": 5}, "x:2": {"c": 7}})
    with pytest.raises(UsageError) as found:
        pack(images, part_size=part_size)
    least = int(found.value.remedy.rpartition(" ")[2].removesuffix("KiB"))
    assert pack(images, part_size=least * KIB).parts
    assert least < 64


def test_files_of_the_site_are_in_the_first_part() -> None:
    site = (Member("site/mirror.lock", 9000, Digest.of(b"lock")),)
    packed = pack(draft({"x:1": {"a": 30_000}, "x:2": {"b": 30_000}}, site), part_size=50 * KIB)
    assert packed.parts[0].members[0].name == "site/mirror.lock"
    assert all(not member.name.startswith("site/") for part in packed.parts[1:] for member in part.members)
    assert parse(encode(packed)) == packed


def test_the_pieces_of_a_blob_are_all_of_it_in_order() -> None:
    packed = finished(pack(draft({"x:1": {"a": 1_000_000}}), part_size=64 * KIB))
    form = packed.by_digest[Digest.of(b"a")].form
    assert isinstance(form, Pieces)
    assert sum(piece.size for piece in form.pieces) == 1_000_000
    assert [piece.part for piece in form.pieces] == sorted(piece.part for piece in form.pieces)
    assert all(span("x", piece.size) <= 64 * KIB for piece in form.pieces)
    assert len(form.pieces) == len(packed.parts) < 25
