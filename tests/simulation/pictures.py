"""The images of a simulation, made from a name; equal names are equal images, for all seeds of a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from tests.parts.images import Image, image, index


@dataclass(frozen=True)
class Picture:
    """An image with its manifests, parsed once. evil: what an attacker has published."""

    name: str
    made: Image
    evil: bool = False

    @property
    def digest(self) -> str:
        """The digest of the root."""
        return str(self.manifests[-1].digest)

    @property
    def manifests(self) -> list[Manifest]:
        """All manifests, the root last."""
        return _manifests(self.name)

    @property
    def blobs(self) -> dict[str, bytes]:
        """All blobs by digest."""
        return _blobs(self.name)


@cache
def picture(name: str) -> Picture:
    """Return the image of a name; one whose name begins with `evil` is evil."""
    parts = 2 if sum(name.encode()) % 3 == 0 else 1
    children = [image([f"{name} {part}".encode()]) for part in range(parts)]
    return Picture(name, index(children) if parts > 1 else children[0], name.startswith("evil"))


@cache
def _manifests(name: str) -> list[Manifest]:
    return [Manifest.parse(one.raw, one.media_type) for one in picture(name).made.manifests()]


@cache
def _blobs(name: str) -> dict[str, bytes]:
    return picture(name).made.all_blobs()


def blob_of(digest: Digest, data: bytes) -> Descriptor:
    """Return the descriptor of a blob."""
    return Descriptor("application/octet-stream", digest, len(data))
