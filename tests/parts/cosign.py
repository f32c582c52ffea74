"""Signatures as cosign 2 and cosign 3 write them, made with openssl and without code of the product.

The layout follows sigstore/cosign v3.1.2: specs/SIGNATURE_SPEC.md and sigstore's payload.go for cosign 2; sign.go,
write.go and specs/BUNDLE_SPEC.md for cosign 3; the envelope is that of secure-systems-lab/dsse, protocol.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.images import OCI_CONFIG, OCI_EMPTY, OCI_MANIFEST, Image, digest

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
# Options of `openssl genpkey`, and the hash that cosign 2 and cosign 3 sign with (None: of the algorithm itself).
ALGORITHMS: dict[str, tuple[list[str], str | None]] = {
    "p256": (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "sha256"),
    "p384": (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "sha384"),
    "p384 by cosign 2": (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "sha256"),
    "p521": (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], "sha512"),
    "rsa": (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "sha256"),
    "ed25519": (["-algorithm", "ED25519"], None),
}


@dataclass(frozen=True)
class Key:
    """A key pair in two files."""

    private: Path
    public: Path
    hash: str | None

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message: DER for ECDSA, PKCS #1 v1.5 for RSA, raw for Ed25519."""
        if self.hash is not None:
            command = ["openssl", "dgst", f"-{self.hash}", "-sign", str(self.private)]
            return subprocess.run(command, input=message, check=True, capture_output=True).stdout
        text = self.private.with_suffix(".message")
        text.write_bytes(message)
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(self.private), "-in", str(text)]
        return subprocess.run(command, check=True, capture_output=True).stdout

    @property
    def hint(self) -> str:
        """The hint of the key in a bundle: the hash of its DER form, in base64."""
        command = ["openssl", "pkey", "-pubin", "-in", str(self.public), "-outform", "DER"]
        der = subprocess.run(command, check=True, capture_output=True).stdout
        return base64.b64encode(hashlib.sha256(der).digest()).decode()


def make_key(directory: Path, name: str, algorithm: str = "p256") -> Key:
    """Make a key pair: NAME.key and NAME.pub."""
    options, hashed = ALGORITHMS[algorithm]
    private, public = directory / f"{name}.key", directory / f"{name}.pub"
    _openssl("genpkey", *options, "-out", str(private))
    _openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
    return Key(private, public, hashed)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def payload(signed: str, **changes: Any) -> bytes:
    """Return the payload that cosign 2 signs. signed: the digest of the image; changes: of `critical`."""
    critical = {
        "identity": {"docker-reference": "registry.example/app"},
        "image": {"docker-manifest-digest": signed},
        "type": "cosign container image signature",
        **changes,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def legacy(*signatures: tuple[bytes, str | dict[str, str] | None], **members: Any) -> Image:
    """Return the image of signatures that cosign 2 pushes under sha256-<hex>.sig: payloads and base64 signatures.

    A keyless signature has several annotations.
    """
    config = json.dumps({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    layers = []
    for text, signature in signatures:
        named = {} if signature is None else {"dev.cosignproject.cosign/signature": signature}
        annotations = signature if isinstance(signature, dict) else named
        layers.append({**_descriptor(SIMPLE_SIGNING, text), "annotations": annotations})
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(OCI_CONFIG, config),
        "layers": layers,
        **members,
    }
    blobs = {digest(data): data for data in (config, *(text for text, _ in signatures))}
    return Image(OCI_MANIFEST, json.dumps(document).encode(), blobs)


def legacy_by(key: Key, signed: str) -> Image:
    """Return what `cosign sign --key` of cosign 2 pushes for a digest."""
    text = payload(signed)
    return legacy((text, encoded(key.sign(text))))


def statement(signed: str, predicate: str = SIGN, **changes: Any) -> bytes:
    """Return the in-toto statement that cosign 3 signs."""
    algorithm, _, hexes = signed.partition(":")
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {algorithm: hexes}}],
        "predicateType": predicate,
        "predicate": {},
        **changes,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def pae(text: bytes, kind: str = IN_TOTO) -> bytes:
    """Return what a DSSE signature is over."""
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(text)).encode(), text])


def bundle(text: bytes, signature: bytes, hint: str = "", **changes: Any) -> bytes:
    """Return a Sigstore bundle around a statement, as protobuf's JSON. changes: of its members; None leaves one out."""
    document = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": hint}},
        "dsseEnvelope": {
            "payload": encoded(text),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": encoded(signature)}],
        },
        **changes,
    }
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def bundle_by(key: Key, signed: str, **changes: Any) -> bytes:
    """Return the bundle that `cosign sign --key` of cosign 3 makes for a digest."""
    text = statement(signed)
    return bundle(text, key.sign(pae(text)), key.hint, **changes)


def referrer(subject: Image, raw: bytes) -> Image:
    """Return the manifest that cosign 3 pushes for a bundle, with the image as its subject."""
    empty = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": _descriptor(OCI_EMPTY, empty),
        "layers": [_descriptor(BUNDLE, raw)],
        "subject": subject.descriptor,
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": SIGN,
            "org.opencontainers.image.created": "2026-11-25T00:00:00Z",
        },
    }
    return Image(OCI_MANIFEST, json.dumps(document).encode(), {digest(empty): empty, digest(raw): raw})


def fallback(*referrers: Image, artifact_type: str = BUNDLE) -> Image:
    """Return the index that a client keeps under the tag sha256-<hex> where there is no referrers API."""
    entries = [{**one.descriptor, "artifactType": artifact_type} for one in referrers]
    document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    return Image("application/vnd.oci.image.index.v1+json", json.dumps(document).encode())


def encoded(data: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}
