"""The demo's images: a few small multi-platform images, generated, the same bytes every time."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Sequence
from typing import Any, Final

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store, WritableRepository

# repository -> its tags; `web` has the mix of tags that filters are for.
IMAGES: Final = {
    "demo/web": ("1.26.2", "1.27.0", "1.27.1", "1.27.1-alpine", "1.28.0-rc1"),
    "demo/worker": ("2024.10", "latest"),
}
_PLATFORMS: Final = (Platform("linux", "amd64"), Platform("linux", "arm64"))
_BASE_BYTES: Final = 1_500_000
_TOP_BYTES: Final = 200_000


async def fill(store: Store) -> None:
    """Write all images to a store."""
    for name, tags in IMAGES.items():
        repository = store.repository(name)
        for tag in tags:
            await repository.tag(await _index(repository, name, tag), Tag(tag))
    await store.flush()


async def _index(repository: WritableRepository, name: str, tag: str) -> Manifest:
    """Store an image for every platform, and return their index."""
    children = []
    for platform in _PLATFORMS:
        manifest = await _image(repository, name, tag, platform)
        children.append({**manifest.descriptor.to_json(), "platform": platform.to_json()})
    return _manifest({"mediaType": media_types.OCI_INDEX, "manifests": children})


async def _image(repository: WritableRepository, name: str, tag: str, platform: Platform) -> Manifest:
    files = {
        "usr/lib/base": _bytes(f"base {platform}", _BASE_BYTES),  # the same in every image: one shared blob
        f"opt/{name}": _bytes(f"{name} {tag} {platform}", _TOP_BYTES),
    }
    layers, diff_ids = [], []
    for path, content in files.items():
        tar = _tar(path, content)
        data = gzip.compress(tar, mtime=0)
        layers.append(await _store(repository, data, media_types.OCI_LAYER_GZIP))
        diff_ids.append(str(Digest.of(tar)))
    config = {
        **platform.to_json(),
        "config": {"Cmd": [f"/opt/{name}"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    stored = await _store(repository, json.dumps(config).encode(), media_types.OCI_CONFIG)
    document = {"mediaType": media_types.OCI_MANIFEST, "config": stored.to_json(), "layers": _json(layers)}
    manifest = _manifest(document)
    await repository.put_manifest(manifest)
    return manifest


async def _store(repository: WritableRepository, data: bytes, media_type: str) -> Descriptor:
    blob = Descriptor.of(data, media_type)
    if not await repository.has(blob):
        await repository.write(blob, data)
    return blob


def _json(descriptors: Sequence[Descriptor]) -> list[dict[str, Any]]:
    return [descriptor.to_json() for descriptor in descriptors]


def _manifest(members: dict[str, Any]) -> Manifest:
    return Manifest.parse(json.dumps({"schemaVersion": 2, **members}).encode())


def _tar(path: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(path)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _bytes(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - content that does not compress, not a secret
