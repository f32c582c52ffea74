"""Which old layers a new one may be expressed by: a table of images."""

from __future__ import annotations

import pytest

from mirrorsync.bundle.bases import Layer, diff_ids_of, previous, ranked
from mirrorsync.bundle.held import Held
from mirrorsync.bundle.model import Image
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag

MIB = 1024 * 1024


def layer(name: str, size: int = MIB, place: int = 0, diff_ids: tuple[str, ...] = (), age: int = 0) -> Layer:
    return Layer(
        Descriptor("application/x" + "".join(name.partition("+")[1:]), Digest.of(name.encode()), size),
        place,
        diff_ids,
        age,
    )


NEW = layer("new", 10 * MIB, 1, ("a", "b2"))


@pytest.mark.parametrize(
    ("old", "chosen"),
    [
        ([layer("far", 10 * MIB, 3), layer("near", 10 * MIB, 1)], ["near", "far"]),
        ([layer("other age", 10 * MIB, 1, age=1), layer("same tag", 10 * MIB, 1)], ["same tag", "other age"]),
        ([layer("there", 40 * MIB, 1), layer("of its size", 11 * MIB, 2)], ["of its size", "there"]),
        ([layer("there", 10 * MIB, 1), layer("same below", 30 * MIB, 1, ("a", "b1"))], ["same below", "there"]),
        (
            [layer("same below", 10 * MIB, 1, ("a", "b1")), layer("same content", 30 * MIB, 4, ("x", "b2"), 2)],
            ["same content", "same below"],
        ),
        ([layer("tiny", MIB // 2, 1)], []),
        ([NEW], []),
        ([layer(str(number), 10 * MIB, number) for number in range(9)], ["1", "0"]),
        ([layer("twice", 10 * MIB, 1), layer("twice", 10 * MIB, 5, age=1)], ["twice"]),
        ([layer(name, 10 * MIB, 1) for name in ("a+zstd", "b+encrypted", "c+tar.zstd")], []),
        ([], []),
    ],
)
def test_what_is_most_like_a_layer_is_tried_first(old: list[Layer], chosen: list[str]) -> None:
    names = [Digest.of(name.encode()) for name in chosen]
    found = [one.content.digest for one in ranked(NEW, old)]
    assert found[: len(names)] == names
    assert len(found) <= (2 if chosen else 0)


def test_no_layer_is_like_one_that_is_not_decoded() -> None:
    assert ranked(layer("new+zstd"), [layer("old"), layer("old+zstd")]) == []


def image(tag: str) -> Image:
    return Image("app", Tag(tag), Descriptor("application/x", Digest.of(b"new"), 1), "src.example/app")


@pytest.mark.parametrize(
    ("tags", "tag", "chosen"),
    [
        (["1.9", "1.10", "2.0"], "1.11", ["1.10", "1.9", "2.0"]),
        (["latest", "1.0"], "latest", ["latest", "1.0"]),
        (["3", "1.4.9-a", "1.5.3", "1.5.2-a"], "1.5.3-a", ["1.5.3", "1.5.2-a", "1.4.9-a"]),
        ([], "1", []),
    ],
)  # fmt: skip
def test_the_image_that_the_tag_named_comes_before_those_with_tags_like_it(
    tags: list[str], tag: str, chosen: list[str]
) -> None:
    held = Held()
    for name in tags:
        digest = Digest.of(name.encode())
        held.repository("app").tags[Tag(name)] = digest
        held.repository("app").manifests[digest] = Descriptor("application/x", digest, 2)
    assert [one.digest for one in previous(image(tag), held)] == [Digest.of(name.encode()) for name in chosen]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (b'{"rootfs": {"diff_ids": ["a", "b"]}}', ("a", "b")),
        (b'{"rootfs": {"diff_ids": [1]}}', ()),
        (b'{"rootfs": []}', ()),
        (b"[" * 100_000, ()),
        (b"\xff", ()),
    ],
)
def test_a_config_without_diff_ids_only_helps_less(config: bytes, found: tuple[str, ...]) -> None:
    assert diff_ids_of(config) == found
