"""Public keys, and signatures by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from mirrorsync.errors import GrammarError

_Key = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
# The hashes of each curve (sigstore/sigstore, pkg/signature/algorithm_registry.go). cosign 2 hashed with SHA-256 for
# all curves, cosign 3 hashes with the one of the curve's size.
_HASHES: Final[Mapping[str, tuple[hashes.HashAlgorithm, ...]]] = {
    "secp256r1": (hashes.SHA256(),),
    "secp384r1": (hashes.SHA384(), hashes.SHA256()),
    "secp521r1": (hashes.SHA512(), hashes.SHA256()),
}
_MIN_RSA_BITS: Final = 2048
_MARKS: Final = (b"-----BEGIN PUBLIC KEY-----", b"-----BEGIN RSA PUBLIC KEY-----")
_REMEDY: Final = "give the public key in PEM, as cosign generate-key-pair writes cosign.pub"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key of ECDSA (P-256, P-384, P-521), Ed25519 or RSA (PKCS #1 v1.5, SHA-256). name: as it is shown."""

    name: str
    _key: _Key = field(repr=False)

    @classmethod
    def parse(cls, pem: bytes, name: str) -> PublicKey:
        """Read a key in PEM. Raises: GrammarError if it is not a public key, or not of these kinds."""
        if b"PRIVATE KEY-----" in pem:
            raise GrammarError("is a private key, and verifying needs the public one", remedy=_REMEDY)
        if not pem.lstrip().startswith(_MARKS):
            raise GrammarError("is not a public key in PEM", remedy=_REMEDY)
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise GrammarError("is not a public key that can be read", remedy=_REMEDY) from error
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
            return cls(name, key)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
            return cls(name, key)
        if isinstance(key, ed25519.Ed25519PublicKey):
            return cls(name, key)
        kinds = f"ECDSA (P-256, P-384, P-521), Ed25519 and RSA from {_MIN_RSA_BITS} bits on"
        raise GrammarError("is a public key of an unknown algorithm or size", remedy=f"known: {kinds}")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether `signature` is one of this key over `message`."""
        key = self._key
        if isinstance(key, ec.EllipticCurvePublicKey):
            return any(self._by_curve(key, signature, message, one) for one in _HASHES[key.curve.name])
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            else:
                key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @staticmethod
    def _by_curve(
        key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes, algorithm: hashes.HashAlgorithm
    ) -> bool:
        try:
            key.verify(signature, message, ec.ECDSA(algorithm))
        except InvalidSignature:
            return False
        return True
