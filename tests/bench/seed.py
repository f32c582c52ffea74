"""Content for the benchmark, written straight into the storage of a docker-registry, which takes seconds.

The layout of that storage is distribution's own (docs/content/about/architecture, storage driver "filesystem"): blobs
by digest once for all repositories, and in each repository links to its layers, manifests and tags.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirrorsync.oci import media_types

_SEED = 20_240_501
_PIECE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Storage:
    """The storage directory of a docker-registry that is not running."""

    root: Path

    @property
    def _v2(self) -> Path:
        return self.root / "docker" / "registry" / "v2"

    def blob(self, data: bytes) -> tuple[str, int]:
        """Store content; return its digest and size."""
        encoded = hashlib.sha256(data).hexdigest()
        path = self._v2 / "blobs" / "sha256" / encoded[:2] / encoded / "data"
        if not path.exists():
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
        return f"sha256:{encoded}", len(data)

    def large_blob(self, size: int) -> tuple[str, int]:
        """Store `size` bytes that do not compress; return digest and size."""
        source = random.Random(_SEED)
        hasher = hashlib.sha256()
        incoming = self.root / "incoming"
        incoming.parent.mkdir(parents=True, exist_ok=True)
        with incoming.open("wb") as file:
            for offset in range(0, size, _PIECE):
                piece = source.randbytes(min(_PIECE, size - offset))
                hasher.update(piece)
                file.write(piece)
        encoded = hasher.hexdigest()
        path = self._v2 / "blobs" / "sha256" / encoded[:2] / encoded / "data"
        path.parent.mkdir(parents=True, exist_ok=True)
        incoming.rename(path)
        return f"sha256:{encoded}", size

    def largest(self) -> Path:
        """Return the file of the largest blob."""
        return max(self._v2.glob("blobs/*/*/*/data"), key=lambda path: path.stat().st_size)

    def image(self, repository: str, tag: str, config: tuple[str, int], layers: list[tuple[str, int]]) -> None:
        """Store an image manifest of blobs that are stored, under a tag of a repository."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": _descriptor(media_types.OCI_CONFIG, config),
            "layers": [_descriptor(media_types.OCI_LAYER_GZIP, layer) for layer in layers],
        }
        root, _ = self.blob(json.dumps(manifest).encode())
        place = self._v2 / "repositories" / repository
        for digest, _ in (config, *layers):
            _link(place / "_layers" / "sha256" / _hex(digest), digest)
        _link(place / "_manifests" / "revisions" / "sha256" / _hex(root), root)
        _link(place / "_manifests" / "tags" / tag / "current", root)
        _link(place / "_manifests" / "tags" / tag / "index" / "sha256" / _hex(root), root)


def docker_archive(path: Path, size: int) -> None:
    """Write a docker archive of one image, `bench/large:1`, with one uncompressed layer of about `size` bytes.

    Half of the layer does not compress, and half does to a half, as programs and their texts do.
    """
    source = random.Random(_SEED)
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w") as content:
        for number in range(max(1, size // _PIECE)):
            half = source.randbytes(_PIECE // 4).hex().encode() if number % 2 else source.randbytes(_PIECE // 2)
            data = half + source.randbytes(_PIECE // 2)
            member = tarfile.TarInfo(f"file{number}")
            member.size = len(data)
            content.addfile(member, io.BytesIO(data))
    with layer.open("rb") as file:
        encoded = hashlib.file_digest(file, "sha256").hexdigest()
    config = _config("large", [(f"sha256:{encoded}", 0)])
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = [{"Config": named, "RepoTags": ["bench/large:1"], "Layers": [f"{encoded}.tar"]}]
    with tarfile.open(path, "w") as archive:
        archive.add(layer, f"{encoded}.tar")
        for name, data in ((named, config), ("manifest.json", json.dumps(listed).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    layer.unlink()


def _descriptor(media_type: str, content: tuple[str, int]) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": content[0], "size": content[1]}


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _link(directory: Path, digest: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "link").write_text(digest)


def _config(name: str, layers: list[tuple[str, int]]) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest for digest, _ in layers]}
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}}, "rootfs": rootfs}
    return json.dumps(config).encode()


def small_images(storage: Storage, repositories: int, tags: int) -> None:
    """Store `repositories` x `tags` small images: each has a config and a layer of its own, a layer that its

    repository shares, and a base layer that all share.
    """
    source = random.Random(_SEED)
    base = storage.blob(source.randbytes(100_000))
    for number in range(repositories):
        shared = storage.blob(source.randbytes(20_000))
        for tag in range(tags):
            layers = [base, shared, storage.blob(source.randbytes(4_000))]
            config = storage.blob(_config(f"{number}-{tag}", layers))
            storage.image(f"bench/app{number:03}", f"v1.{tag}", config, layers)


def large_image(storage: Storage, size: int) -> None:
    """Store `bench/large:1`, an image of one layer of `size` bytes."""
    layers = [storage.large_blob(size)]
    storage.image("bench/large", "1", storage.blob(_config("large", layers)), layers)
