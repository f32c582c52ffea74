"""Public keys, and signatures by them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from mirrorsync.errors import GrammarError
from mirrorsync.trust.evidence import NotProven, Signed, SimpleSigning
from mirrorsync.trust.signed_json import decoded, member

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
        return cls.of(key, name)

    @classmethod
    def of(cls, key: PublicKeyTypes, name: str) -> PublicKey:
        """Return a key that was read. Raises: GrammarError if it is not of these kinds."""
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
            return cls(name, key)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
            return cls(name, key)
        if isinstance(key, ed25519.Ed25519PublicKey):
            return cls(name, key)
        kinds = f"ECDSA (P-256, P-384, P-521), Ed25519 and RSA from {_MIN_RSA_BITS} bits on"
        raise GrammarError("is a public key of an unknown algorithm or size", remedy=f"known: {kinds}")

    @property
    def is_ed25519(self) -> bool:
        """Whether it is a key of Ed25519."""
        return isinstance(self._key, ed25519.Ed25519PublicKey)

    @property
    def hint(self) -> str:
        """The name that bundles give to it: the hash of its DER form, in base64 (sigstore-go, pkg/sign/keys.go)."""
        der = self._key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether `signature` is one of this key over `message`."""
        key = self._key
        if isinstance(key, ed25519.Ed25519PublicKey):
            return _is_valid(lambda: key.verify(signature, message))
        if isinstance(key, rsa.RSAPublicKey):
            return _is_valid(lambda: key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256()))
        return any(
            _is_valid(lambda one=one: key.verify(signature, message, ec.ECDSA(one)))  # type: ignore[misc]
            for one in _HASHES[key.curve.name]
        )


@dataclass(frozen=True, slots=True)
class Keys:
    """The owners of public keys, as signers: one of the keys is enough. Certificates and logs are not looked at."""

    keys: tuple[PublicKey, ...]

    def of_payload(self, signing: SimpleSigning) -> str:
        """Return the name of the key that signed a payload. Raises: NotProven if it is not one of the keys."""
        signature = decoded(signing.signature, "the signature")
        return self._signer(lambda key: key.verifies(signature, signing.payload))

    def of_bundle(self, signed: Signed) -> str:
        """Return the name of the key that signed a bundle. Raises: NotProven, also for a bundle with a certificate."""
        if signed.material.get("publicKey") is None:
            has = {"certificate", "x509CertificateChain"} & signed.material.keys()
            why = "a certificate instead, which a key cannot verify" if has else "nothing to verify it with"
            raise NotProven(f"it names no public key, and has {why}")
        try:
            return self._signer(lambda key: key.verifies(signed.signature, signed.message))
        except NotProven:
            self._check_scheme(signed.material)
            raise

    def _check_scheme(self, material: Mapping[str, Any]) -> None:
        """Say which scheme it probably is, if the bundle names an Ed25519 key that does not verify it.

        cosign 3.1 signs with Ed25519ph and verifies Ed25519, so that it rejects its own (sigstore/cosign#5074).
        """
        named = member(dict(material), "publicKey", "hint")
        for key in self.keys:
            if key.is_ed25519 and key.hint == named:
                raise NotProven(
                    f"it names the key {key.name}, which does not verify it: cosign 3 signs with Ed25519ph, which "
                    "cosign does not verify either; or its payload was changed"
                )

    def _signer(self, verifies: Callable[[PublicKey], bool]) -> str:
        for key in self.keys:
            if verifies(key):
                return key.name
        names = " or ".join(key.name for key in self.keys)
        raise NotProven(f"it was not made with the key {names}, or its payload was changed")


def _is_valid(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True
