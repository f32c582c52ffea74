"""Bundles as values, made without I/O: an image in two parts, one of them a blob in pieces, and an unchanged image."""

from __future__ import annotations

from collections.abc import Sequence

from mirrorsync.bundle.layout import with_parts
from mirrorsync.bundle.model import (
    Assumed,
    Bundle,
    Delta,
    Image,
    Link,
    Member,
    Object,
    Piece,
    Pieces,
    Source,
    Whole,
    members_of,
)
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag

CONTENT = {name: f"content {name}".encode() * 100 for name in ("config", "small", "large", "delta", "old", "first")}
MANIFEST = b'{"of": "web"}'
OTHER = b'{"of": "other"}'
UNCHANGED = b'{"of": "unchanged"}'
LOCK = b"a lock\n"


def blob(name: str) -> Descriptor:
    """Return the descriptor of some content."""
    return Descriptor.of(CONTENT[name], media_types.OCI_LAYER_GZIP)


def manifest(raw: bytes) -> Descriptor:
    """Return the descriptor of a manifest."""
    return Descriptor.of(raw, media_types.OCI_MANIFEST)


def pieces(name: str, sizes: Sequence[int]) -> Pieces:
    """Return a blob in pieces, in parts from 1 on."""
    made, at = [], 0
    for part, size in enumerate(sizes, 1):
        made.append(Piece(part, size, Digest.of(CONTENT[name][at : at + size])))
        at += size
    return Pieces(tuple(made))


def example() -> Bundle:
    """Return a bundle of two parts: `other:1` is whole in part 2, and `web:1.0` is in both."""
    both = ("other", "shop/web")
    web, other, unchanged = manifest(MANIFEST), manifest(OTHER), manifest(UNCHANGED)
    small, config, large, rebuilt = blob("small"), blob("config"), blob("large"), blob("delta")
    size = large.size
    site = (Member("site/mirror.lock", len(LOCK), Digest.of(LOCK)),)
    first = CONTENT["first"]
    objects = [
        Object(config, False, both, (), Whole((2,))),
        Object(small, False, ("shop/web",), (), Whole((1,))),
        Object(large, False, ("shop/web",), (), pieces("large", [1000, size - 1000])),
        Object(rebuilt, False, ("shop/web",), (), Delta(1, len(first), Digest.of(first), blob("old").digest, "tokens")),
        Object(web, True, ("shop/web",), (config.digest, small.digest, large.digest, rebuilt.digest), Whole((1, 2))),
        Object(other, True, ("other",), (config.digest,), Whole((2,))),
    ]
    objects.sort(key=lambda one: one.digest)
    bundle = Bundle(
        name="shop",
        sequence=7,
        created="2026-11-26T03:17:00Z",
        chain="c" * 64,
        previous=Link(6, Digest.of(b"previous")),
        spec=Digest.of(b"spec"),
        destination="harbor.corp/mirror",
        have=(Source("inventory", Digest.of(b"inventory"), "2026-11-25T00:00:00Z"),),
        answers=None,
        tool="mirrorsync 0.9",
        images=(
            Image("other", Tag("1"), other, "docker.io/library/other"),
            Image("shop/web", Tag("0.9"), unchanged, "src.example/shop/web"),
            Image("shop/web", Tag("1.0"), web, "src.example/shop/web"),
        ),
        objects=tuple(objects),
        assumes=(
            Assumed(unchanged, True, ("shop/web",)),
            Assumed(blob("old"), False, ("shop/web",), sent=5),
        ),
        parts=(),
        site=site,
    )
    return with_parts(bundle, [members(bundle, 1), members(bundle, 2)])


def members(bundle: Bundle, part: int) -> list[Member]:
    """Return the members of a part, in order: the site's files, manifests, content."""
    manifests = [members_of(one)[part] for one in bundle.objects if one.manifest and part in members_of(one)]
    content = [members_of(one)[part] for one in bundle.objects if not one.manifest and part in members_of(one)]
    return [*(bundle.site if part == 1 else ()), *manifests, *content]
