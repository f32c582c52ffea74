"""Write and read layouts: helpers of the tests of this folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import WritableRepository
from tests.parts.images import Image

REF_NAME = "org.opencontainers.image.ref.name"


def parsed(made: Image) -> Manifest:
    return Manifest.parse(made.raw, made.media_type)


def described(data: bytes) -> Descriptor:
    return Descriptor.of(data, "application/octet-stream")


async def store_image(repository: WritableRepository, made: Image, tag: str | None = None) -> None:
    """Write an image with all content that it leads to, through the store."""
    for data in made.all_blobs().values():
        await repository.write(described(data), data)
    for manifest in made.manifests():
        await repository.put_manifest(parsed(manifest))
    if tag is not None:
        await repository.tag(parsed(made), Tag(tag))


def index_of(layout: Path) -> dict[str, Any]:
    """Return index.json."""
    document = json.loads((layout / "index.json").read_bytes())
    assert isinstance(document, dict)
    return document


def names_of(layout: Path) -> dict[str, str]:
    """Return digests by the names that index.json gives them."""
    entries = [entry for entry in index_of(layout)["manifests"] if REF_NAME in entry.get("annotations", {})]
    return {entry["annotations"][REF_NAME]: entry["digest"] for entry in entries}


def blob_file(layout: Path, digest: str) -> Path:
    algorithm, _, encoded = digest.partition(":")
    return layout / "blobs" / algorithm / encoded


def wrong_files(layout: Path) -> list[Path]:
    """Return the files under blobs/ whose content does not match their name."""
    return [
        path
        for path in layout.glob("blobs/*/*")
        if hashlib.new(path.parent.name, path.read_bytes()).hexdigest() != path.name
    ]


def holds(layout: Path, name: str, made: Image) -> bool:
    """Return whether a name has an image whose content is complete and correct."""
    contents = {one.digest: one.raw for one in made.manifests()} | made.all_blobs()
    return names_of(layout).get(name) == made.digest and all(
        blob_file(layout, digest).read_bytes() == data for digest, data in contents.items()
    )


def files_at_rest(layout: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of all files of a layout, to be compared later."""
    paths = [path for path in layout.rglob("*") if path.is_file()]
    return {str(path.relative_to(layout)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
