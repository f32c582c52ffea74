"""Real images for tests: a Debian busybox root file system in layers, built without any code of the product."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
BUSYBOX = Path("/bin/busybox")


def digest(data: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of some bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def noise(seed: str, size: int) -> bytes:
    """Return `size` bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def layer(files: Mapping[str, bytes], *, compress: bool = True) -> bytes:
    """Return a layer: a tar of files, executable, gzipped unless told otherwise."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 1, mtime=0) if compress else buffer.getvalue()


@dataclass
class Image:
    """A manifest or index with all its content, as bytes."""

    media_type: str
    raw: bytes
    blobs: dict[str, bytes] = field(default_factory=dict)
    children: list[Image] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest(self.raw)

    @property
    def descriptor(self) -> dict[str, Any]:
        """The descriptor of the manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.raw)}

    def manifests(self) -> list[Image]:
        """Return all manifests, children before parents."""
        return [*(below for child in self.children for below in child.manifests()), self]

    def all_blobs(self) -> dict[str, bytes]:
        """Return all blobs by digest."""
        return {key: data for manifest in self.manifests() for key, data in manifest.blobs.items()}


@cache
def _busybox() -> bytes:
    return layer({"bin/busybox": BUSYBOX.read_bytes()})


@lru_cache(64)
def _diff_id(data: bytes) -> str:
    return digest(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


def image(
    layers: Sequence[bytes],
    *,
    architecture: str = "amd64",
    media_type: str = OCI_MANIFEST,
    created: str | None = None,
    **members: Any,
) -> Image:
    """Return a runnable image of some layers. created: in its config. members: more of the manifest (annotations)."""
    diff_ids = [_diff_id(data) for data in layers]
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/busybox", "echo", "it runs"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            **({} if created is None else {"created": created}),
        }
    ).encode()
    docker = media_type == DOCKER_MANIFEST
    config_type = "application/vnd.docker.container.image.v1+json" if docker else OCI_CONFIG
    layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip" if docker else OCI_LAYER
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": layer_type, "digest": digest(data), "size": len(data)} for data in layers],
        **members,
    }
    blobs = {digest(data): data for data in (config, *layers)}
    return Image(media_type, json.dumps(document, indent=3).encode(), blobs)


def index(children: Sequence[Image], *, media_type: str = OCI_INDEX, **members: Any) -> Image:
    """Return an index (or Docker list) of images; the second is for arm64, and so on."""
    platforms = [{"os": "linux", "architecture": name} for name in ("amd64", "arm64", "s390x", "ppc64le")]
    entries = [{**child.descriptor, "platform": platform} for child, platform in zip(children, platforms, strict=False)]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries, **members}
    return Image(media_type, json.dumps(document).encode(), children=list(children))


def artifact(subject: Image, content: bytes, artifact_type: str = "application/vnd.example.sbom") -> Image:
    """Return an artifact (OCI 1.1) that refers to another image."""
    empty = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": {"mediaType": OCI_EMPTY, "digest": digest(empty), "size": len(empty)},
        "layers": [{"mediaType": "text/plain", "digest": digest(content), "size": len(content)}],
        "subject": subject.descriptor,
        "annotations": {"org.example.about": "a test"},
    }
    return Image(OCI_MANIFEST, json.dumps(document).encode(), {digest(empty): empty, digest(content): content})


def multi_platform(
    name: str, version: str = "1", *, size: int = 4000, manifest: str = OCI_MANIFEST, list_type: str = OCI_INDEX
) -> Image:
    """Return an index of two platforms; images of all versions of a name share their base layers."""
    children = []
    for architecture in ("amd64", "arm64"):
        base = _busybox() if architecture == "amd64" else layer({"bin/none": b"arm"})
        shared = layer({f"usr/{name}": noise(f"{name} {architecture}", size)})
        top = layer({"etc/version": f"{name} {version} {architecture}".encode()})
        children.append(image([base, shared, top], architecture=architecture, media_type=manifest))
    return index(children, media_type=list_type)


def write_layout(directory: Path, images: Mapping[str, Image], untagged: Sequence[Image] = ()) -> None:
    """Write an OCI layout with images under the names that index.json gives them, and some without a name."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entries = []
    for name, root in [*images.items(), *((None, one) for one in untagged)]:
        for manifest in root.manifests():
            (blobs / manifest.digest.partition(":")[2]).write_bytes(manifest.raw)
        for key, data in root.all_blobs().items():
            (blobs / key.partition(":")[2]).write_bytes(data)
        named = {"annotations": {"org.opencontainers.image.ref.name": name}} if name is not None else {}
        entries.append({**root.descriptor, **named})
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
