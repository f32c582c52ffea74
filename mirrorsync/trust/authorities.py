"""Certificates and log entries of keyless signatures in the form of cosign 2, unknown to the package `sigstore`.

The form has no proof that a log has included the signature, only the log's promise to do so, with the time
(sigstore/cosign, specs/SIGNATURE_SPEC.md and pkg/cosign/verify.go; sigstore/rekor, pkg/types/hashedrekord; RFC 6962,
3.2 for the log of certificates). Everything has to be signed by an authority or a log of the trusted root.
"""

from __future__ import annotations

import calendar
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from sigstore_models.trustroot.v1 import TransparencyLogInstance, TrustedRoot

from mirrorsync.errors import GrammarError
from mirrorsync.trust.evidence import NotProven, SimpleSigning
from mirrorsync.trust.keys import PublicKey
from mirrorsync.trust.signed_json import decoded, member, read_object

_PROMISED = ("body", "integratedTime", "logID", "logIndex")


@dataclass(frozen=True, slots=True)
class Log:
    """A log of a trusted root, and when its key is valid."""

    key: PublicKey
    start: datetime | None
    end: datetime | None

    def has_signed(self, signature: bytes, message: bytes, at: datetime) -> bool:
        """Return whether the log has signed a message at a time when its key was valid."""
        valid = (self.start is None or self.start <= at) and (self.end is None or at <= self.end)
        return valid and self.key.verifies(signature, message)


@dataclass(frozen=True, slots=True)
class Authorities:
    """The authorities of a trusted root, its logs of signatures and of certificates, both by their IDs."""

    certificates: tuple[x509.Certificate, ...]
    logs: Mapping[bytes, Log]
    certificate_logs: Mapping[bytes, Log]

    @classmethod
    def of(cls, root: TrustedRoot) -> Authorities:
        """Return those of a trusted root. Keys of unknown algorithms are left out. Raises: ValueError."""
        chains = [one.cert_chain.certificates for one in root.certificate_authorities]
        certificates = [x509.load_der_x509_certificate(one.raw_bytes) for chain in chains for one in chain]
        return cls(tuple(certificates), _logs(root.tlogs), _logs(root.ctlogs))

    def certificate_of(self, signing: SimpleSigning) -> x509.Certificate:
        """Return the certificate that made a signature of cosign 2, after all has been verified. Raises: NotProven."""
        cert = _certificate(signing.certificate)
        signature = decoded(signing.signature, "the signature")
        at = self._logged(signing, cert, signature)
        issuer = self._issuer(cert, at)
        self._check_listed(cert, issuer)
        if not _key_of(cert).verifies(signature, signing.payload):
            raise NotProven("it was not made with the key of its certificate, or its payload was changed")
        return cert

    def _logged(self, signing: SimpleSigning, cert: x509.Certificate, signature: bytes) -> datetime:
        """Return when a log has promised to include exactly this signature. Raises: NotProven."""
        if signing.entry is None:
            raise NotProven("it has no promise of a transparency log (dev.sigstore.cosign/bundle)")
        value = read_object(signing.entry.encode(), "the log's promise")
        promised = {name: member(value, "Payload", name) for name in _PROMISED}
        moment, log = promised["integratedTime"], self.logs.get(_hex(promised["logID"]))
        if log is None or type(moment) is not int:
            raise NotProven("its promise is of a transparency log that the trusted root does not have")
        at = datetime.fromtimestamp(moment, UTC)
        canonical = json.dumps(promised, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        if not log.has_signed(decoded(value.get("SignedEntryTimestamp"), "the log's promise"), canonical, at):
            raise NotProven("the log has not signed the promise, or it was changed")
        _check_entry(read_object(decoded(promised["body"], "the log entry"), "the log entry"), signing, cert, signature)
        return at

    def _issuer(self, cert: x509.Certificate, at: datetime) -> x509.Certificate:
        """Return the authority that has issued a certificate, which was valid at a time. Raises: NotProven."""
        ca, own = verification.ExtensionPolicy.webpki_defaults_ca(), verification.ExtensionPolicy.webpki_defaults_ee()
        usual = verification.Criticality.AGNOSTIC
        builder = verification.PolicyBuilder().store(verification.Store(list(self.certificates))).time(at)
        # The usage is checked below: these are for signing code, and not for TLS.
        builder = builder.extension_policies(
            ca_policy=ca.may_be_present(x509.ExtendedKeyUsage, usual, None),
            ee_policy=own.may_be_present(x509.ExtendedKeyUsage, usual, None),
        )
        try:
            chain = builder.build_client_verifier().verify(cert, []).chain
        except (verification.VerificationError, x509.UnsupportedGeneralNameType) as error:
            reason = str(error).partition(" (encountered processing")[0]
            raise NotProven(f"its certificate does not verify: {reason}") from error
        usage = cert.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if not usage.digital_signature or ExtendedKeyUsageOID.CODE_SIGNING not in extended:
            raise NotProven("its certificate is not for signing")
        return chain[1]

    def _check_listed(self, cert: x509.Certificate, issuer: x509.Certificate) -> None:
        """Check that a log of certificates has a certificate. Raises: NotProven."""
        spki = issuer.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        tbs = cert.tbs_precertificate_bytes
        entry = hashlib.sha256(spki).digest() + struct.pack("!I", len(tbs))[1:] + tbs
        listed = cert.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
        for one in listed:
            at = one.timestamp.replace(tzinfo=UTC)
            moment = calendar.timegm(at.utctimetuple()) * 1000 + at.microsecond // 1000
            begin = struct.pack("!BBQH", one.version.value, 0, moment, one.entry_type.value)
            message = begin + entry + struct.pack("!H", len(one.extension_bytes)) + one.extension_bytes
            log = self.certificate_logs.get(one.log_id)
            if log is not None and log.has_signed(one.signature, message, at):
                return
        raise NotProven("its certificate is in no log of certificates that the trusted root has")


def _check_entry(entry: dict[str, Any], signing: SimpleSigning, cert: x509.Certificate, signature: bytes) -> None:
    """Check that a log entry is about exactly this signature. Raises: NotProven."""
    kind = (entry.get("kind"), entry.get("apiVersion"))
    algorithm, hashed = (member(entry, "spec", "data", "hash", name) for name in ("algorithm", "value"))
    content = decoded(member(entry, "spec", "signature", "content"), "the signature in the log entry")
    key = decoded(member(entry, "spec", "signature", "publicKey", "content"), "the key in the log entry")
    is_same = (algorithm, hashed) == ("sha256", hashlib.sha256(signing.payload).hexdigest()) and content == signature
    if kind != ("hashedrekord", "0.0.1") or not is_same or _certificate(key.decode("ascii")) != cert:
        raise NotProven("the log entry is of another signature")


def _certificate(pem: str | None) -> x509.Certificate:
    if pem is None:
        raise NotProven("it was made with a key, and not for an identity")
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise NotProven("its certificate cannot be read") from error


def _key_of(cert: x509.Certificate) -> PublicKey:
    try:
        return PublicKey.of(cert.public_key(), "the certificate")
    except (GrammarError, UnsupportedAlgorithm, ValueError) as error:
        raise NotProven("its certificate has a key of an unknown algorithm or size") from error


def _logs(logs: Sequence[TransparencyLogInstance]) -> dict[bytes, Log]:
    found = {}
    for one in logs:
        valid = one.public_key.valid_for
        try:
            key = PublicKey.of(serialization.load_der_public_key(one.public_key.raw_bytes or b""), "a log")
        except (GrammarError, UnsupportedAlgorithm, ValueError):
            continue
        found[one.log_id.key_id] = Log(key, valid.start if valid else None, valid.end if valid else None)
    return found


def _hex(text: object) -> bytes:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
