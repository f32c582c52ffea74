"""A Sigstore of our own: a certificate authority, a log of certificates, one of signatures, and time stamps.

Made with `cryptography` and openssl, without code of the product or of the package `sigstore`. The layout follows
sigstore/protobuf-specs (sigstore_bundle.proto, sigstore_rekor.proto, sigstore_trustroot.proto), sigstore/fulcio
(docs/certificate-specification.md, docs/oid-info.md), sigstore/rekor (pkg/types/dsse, pkg/types/hashedrekord) and
RFC 6962; checkpoints are signed notes (transparency-dev/formats).
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.parts.cosign import BUNDLE, IN_TOTO, encoded, pae, statement

IDENTITY = "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1.0"
ISSUER = "https://token.actions.githubusercontent.com"
SIGNED_AT = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
LIFETIME = timedelta(minutes=10)
_LOG = "rekor.example"
_START = datetime(2020, 1, 1, tzinfo=UTC)
_END = datetime(2060, 1, 1, tzinfo=UTC)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_der(key)).digest()


def _sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    return key.sign(message, ec.ECDSA(SHA256()))


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its root, and an intermediate that issues certificates."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def make(cls, usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING) -> Authority:
        root_key, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
        root = _authority("root", root_key, "root", root_key, None)
        return cls(key, (_authority("intermediate", key, "root", root_key, usage), root))


@dataclass(frozen=True)
class Certified:
    """A key with a certificate, as a client has it for some minutes."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def sign(self, message: bytes) -> bytes:
        return _sign(self.key, message)


@dataclass(frozen=True)
class Sigstore:
    """An instance: what signs in it, each exchangeable for that of another instance."""

    authority: Authority = field(default_factory=Authority.make)
    certificate_log: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    stamps: Authority | None = None

    def trusted_root(self, **changes: Any) -> bytes:
        """Return the trusted_root.json of this instance. changes: of its members."""
        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log_json(self.log)],
            "certificateAuthorities": [_authority_json(self.authority)],
            "ctlogs": [_log_json(self.certificate_log)],
            "timestampAuthorities": [_authority_json(self.stamps)] if self.stamps else [],
            **changes,
        }
        return json.dumps(document).encode()

    def certify(
        self,
        identity: str = IDENTITY,
        issuer: str = ISSUER,
        at: datetime = SIGNED_AT,
        listed_by: ec.EllipticCurvePrivateKey | None = None,
        use: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        *,
        signs: bool = True,
    ) -> Certified:
        """Return a key with a certificate for an identity, valid for some minutes from a moment on.

        listed_by: signs in the name of the log of certificates. use, signs: what the key is for.
        """
        key, signer = _key(), self.authority
        names = (
            x509.RFC822Name(identity) if "@" in identity.partition("/")[0] else x509.UniformResourceIdentifier(identity)
        )
        usage = x509.KeyUsage(signs, False, False, False, not signs, False, False, False, False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(signer.chain[0].subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - timedelta(minutes=1))
            .not_valid_after(at + LIFETIME)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([names]), critical=True)
            .add_extension(_text("1.3.6.1.4.1.57264.1.1", issuer.encode()), critical=False)
            .add_extension(
                _text("1.3.6.1.4.1.57264.1.8", b"\x0c" + _length(len(issuer)) + issuer.encode()), critical=False
            )
        )
        before = builder.sign(signer.key, SHA384()).tbs_certificate_bytes  # what the log of certificates signs
        listed = self._listed(before, at, listed_by or self.certificate_log)
        return Certified(key, builder.add_extension(listed, critical=False).sign(signer.key, SHA384()))

    def _listed(self, tbs: bytes, at: datetime, by: ec.EllipticCurvePrivateKey) -> x509.UnrecognizedExtension:
        """Return the proof that a certificate is in the log of certificates (RFC 6962, 3.2 and 3.3)."""
        moment = int(at.timestamp() * 1000)
        entry = struct.pack("!BBQH", 0, 0, moment, 1) + _id(self.authority.key) + struct.pack("!I", len(tbs))[1:] + tbs
        signature = _sign(by, entry + b"\0\0")
        one = b"\0" + _id(self.certificate_log) + struct.pack("!QHBBH", moment, 0, 4, 3, len(signature)) + signature
        several = struct.pack("!H", len(one)) + one
        several = struct.pack("!H", len(several)) + several
        return _text("1.3.6.1.4.1.11129.2.4.2", b"\x04" + _length(len(several)) + several)

    def entry(self, kind: str, version: str, spec: dict[str, Any], at: datetime | None) -> dict[str, Any]:
        """Return an entry of the log of signatures, with its proofs. at: when it was added, None without a promise."""
        body = _canonical({"apiVersion": version, "kind": kind, "spec": spec})
        leaf, other = hashlib.sha256(b"\0" + body).digest(), hashlib.sha256(b"\0another entry").digest()
        root = hashlib.sha256(b"\1" + leaf + other).digest()
        note = f"{_LOG} - 1\n2\n{encoded(root)}\n"
        signed = f"{note}\n\u2014 {_LOG} {encoded(_id(self.log)[:4] + _sign(self.log, note.encode()))}\n"
        made: dict[str, Any] = {
            "logIndex": "0",
            "logId": {"keyId": encoded(_id(self.log))},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": encoded(root),
                "treeSize": "2",
                "hashes": [encoded(other)],
                "checkpoint": {"envelope": signed},
            },
            "canonicalizedBody": encoded(body),
        }
        if at is not None:
            moment = int(at.timestamp())
            promise = {"body": encoded(body), "integratedTime": moment, "logID": _id(self.log).hex(), "logIndex": 0}
            made["integratedTime"] = str(moment)
            made["inclusionPromise"] = {"signedEntryTimestamp": encoded(_sign(self.log, _canonical(promise)))}
        return made

    def sign(
        self,
        signed: str,
        by: Certified | None = None,
        *,
        text: bytes | None = None,
        at: datetime | None = SIGNED_AT,
        entries: list[dict[str, Any]] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """Return the bundle that `cosign sign` makes for a digest, keyless.

        text: the statement, if it is another one. at: the time of the log. entries: of the log, if they are others.
        """
        by, text = by or self.certify(), text or statement(signed)
        signature = by.sign(pae(text))
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(text).hexdigest()},
            "signatures": [{"signature": encoded(signature), "verifier": encoded(by.pem)}],
        }
        if entries is None:
            entries = [self.entry("dsse", "0.0.1", spec, at)]
        envelope = {"payload": encoded(text), "payloadType": IN_TOTO, "signatures": [{"sig": encoded(signature)}]}
        return {**_material(by, entries), "dsseEnvelope": envelope, **changes}

    def sign_stamped(self, signed: str, directory: Path) -> dict[str, Any]:
        """Return a bundle as for the newer log, which says no time: a time stamping service says it (now)."""
        by, text = self.certify(at=datetime.now(UTC)), statement(signed)
        signature = by.sign(pae(text))
        verifier = {"x509Certificate": {"rawBytes": encoded(by.der)}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        spec = {
            "hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": encoded(hashlib.sha256(pae(text)).digest())},
                "signature": {"content": encoded(signature), "verifier": verifier},
            }
        }
        made = self.sign(signed, by, text=text, entries=[self.entry("hashedrekord", "0.0.2", spec, None)])
        made["dsseEnvelope"]["signatures"] = [{"sig": encoded(signature)}]
        assert self.stamps is not None
        stamp = {"signedTimestamp": encoded(_stamp(self.stamps, signature, directory))}
        made["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
        return made

    def sign_2(
        self,
        text: bytes,
        by: Certified | None = None,
        at: datetime = SIGNED_AT,
        kind: str = "hashedrekord",
        **changes: Any,
    ) -> dict[str, str]:
        """Return the annotations of a keyless signature in the form of cosign 2. text: the payload.

        changes: of the log entry's specification.
        """
        by = by or self.certify()
        signature = by.sign(text)
        spec = {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(text).hexdigest()}},
            "signature": {"content": encoded(signature), "publicKey": {"content": encoded(by.pem)}},
            **changes,
        }
        entry = self.entry(kind, "0.0.1", spec, at)
        promise = {
            "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "Payload": {
                "body": entry["canonicalizedBody"],
                "integratedTime": int(entry["integratedTime"]),
                "logIndex": 0,
                "logID": _id(self.log).hex(),
            },
        }
        return {
            "dev.cosignproject.cosign/signature": encoded(signature),
            "dev.sigstore.cosign/certificate": by.pem.decode(),
            "dev.sigstore.cosign/chain": "".join(
                one.public_bytes(Encoding.PEM).decode() for one in self.authority.chain
            ),
            "dev.sigstore.cosign/bundle": json.dumps(promise),
        }

    def sign_message(self, content: bytes) -> dict[str, Any]:
        """Return a bundle with a signature of bytes, such as those of a manifest."""
        by = self.certify()
        signature, hashed = by.sign(content), hashlib.sha256(content)
        spec = {
            "data": {"hash": {"algorithm": "sha256", "value": hashed.hexdigest()}},
            "signature": {"content": encoded(signature), "publicKey": {"content": encoded(by.pem)}},
        }
        digest = {"algorithm": "SHA2_256", "digest": encoded(hashed.digest())}
        message = {"messageDigest": digest, "signature": encoded(signature)}
        entry = self.entry("hashedrekord", "0.0.1", spec, SIGNED_AT)
        return {**_material(by, [entry]), "messageSignature": message}


def _material(by: Certified, entries: list[dict[str, Any]]) -> dict[str, Any]:
    material = {"certificate": {"rawBytes": encoded(by.der)}, "tlogEntries": entries}
    return {"mediaType": BUNDLE, "verificationMaterial": material}


def _authority(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by_name: str,
    by: ec.EllipticCurvePrivateKey,
    usage: x509.ObjectIdentifier | None,
) -> x509.Certificate:
    usages = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(by_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_START)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usages, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(by, SHA384())


def _name(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "corp.example"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _text(oid: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def _length(number: int) -> bytes:
    """Return a length in DER."""
    if number < 128:
        return bytes([number])
    size = (number.bit_length() + 7) // 8
    return bytes([0x80 | size]) + number.to_bytes(size, "big")


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _log_json(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    public = {"rawBytes": encoded(_der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": _valid()}
    identity = {"keyId": encoded(_id(key))}
    return {"baseUrl": f"https://{_LOG}", "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": identity}


def _authority_json(authority: Authority) -> dict[str, Any]:
    chain = [{"rawBytes": encoded(one.public_bytes(Encoding.DER))} for one in authority.chain]
    subject = {"organization": "corp.example", "commonName": "fulcio"}
    return {
        "subject": subject,
        "uri": "https://fulcio.example",
        "certChain": {"certificates": chain},
        "validFor": _valid(),
    }


def _valid() -> dict[str, str]:
    return {"start": _START.strftime("%Y-%m-%dT%H:%M:%SZ")}


_CONFIG = """[tsa]
default_tsa = one
[one]
serial = {0}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def time_stamping() -> Authority:
    """Return a time stamping service: a signing certificate and its root."""
    root_key, key = (_key() for _ in range(2))
    root = _authority("stamps", root_key, "stamps", root_key, None)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(_name("stamp"))
        .issuer_name(_name("stamps"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_START)
        .not_valid_after(_END)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, SHA384())
    )
    return Authority(key, (leaf, root))


def _stamp(service: Authority, message: bytes, directory: Path) -> bytes:
    """Return the answer of a time stamping service for a message (RFC 3161), made by openssl."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {name: directory / name for name in ("message", "query", "answer", "key.pem", "cert.pem", "config")}
    files["message"].write_bytes(message)
    files["key.pem"].write_bytes(service.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files["cert.pem"].write_bytes(service.chain[0].public_bytes(Encoding.PEM))
    files["config"].write_text(_CONFIG.format(directory))
    (directory / "serial").write_text("01\n")
    _openssl("-query", "-data", files["message"], "-sha256", "-cert", "-out", files["query"])
    by = ("-signer", files["cert.pem"], "-inkey", files["key.pem"])
    _openssl("-reply", "-config", files["config"], "-queryfile", files["query"], "-out", files["answer"], *by)
    return files["answer"].read_bytes()


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", "ts", *arguments], check=True, capture_output=True)


def raw(document: dict[str, Any]) -> bytes:
    """Return a bundle as JSON."""
    return json.dumps(document).encode()


def other_bytes(text: str) -> str:
    """Return base64 of the same length with one bit changed."""
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return encoded(bytes(data))
