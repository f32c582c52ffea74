"""The images of a simulation, made from a name; equal names are equal images, for all seeds of a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mirrorsync.oci.manifest import Manifest
from tests.parts import cosign
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
    def signed(self) -> bool:
        """Whether its publisher has signed it."""
        return not self.evil and sum(self.name.encode()) % 5 > 0

    @property
    def signature(self) -> Image:
        """Its signature, in the form of cosign 3."""
        return _signature(self.name)

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


class _SigningKey(cosign.Key):
    """A key that is the same in all processes, and signs without another process."""

    hint = ""

    def sign(self, message: bytes) -> bytes:
        return _private().sign(message, ec.ECDSA(hashes.SHA256()))


@cache
def _private() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(20_260_101, ec.SECP256R1())


def write_key(path: Path) -> None:
    """Write the public key of the publisher."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(_private().public_key().public_bytes(serialization.Encoding.PEM, form))


@cache
def _signature(name: str) -> Image:
    made = picture(name)
    return cosign.referrer(made.made, cosign.bundle_by(_SigningKey(Path(), Path(), "sha256"), made.digest))
