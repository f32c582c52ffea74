"""Keyless signatures: by a short-lived certificate for an identity, which a transparency log has seen in time.

The package `sigstore` verifies bundles (the extra mirrorsync[sigstore]), and `trust.authorities` the form of cosign 2;
both offline, with the authorities and logs of a trusted root file: the certificate's chain at the time of signing, its
entry in a certificate log, and the signature's entry in a transparency log. A certificate that has expired since proves
as much as a valid one.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat import asn1
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootValue

from mirrorsync.errors import GrammarError
from mirrorsync.text import printable
from mirrorsync.trust.authorities import Authorities
from mirrorsync.trust.evidence import NotProven, Signed, SimpleSigning
from mirrorsync.trust.signed_json import member, read_object

# sigstore/fulcio, docs/oid-info.md: the issuer as DER, and in older certificates as bare text.
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_OF_OLD = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_OTHER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
_LINES = 3
_DETAILS = re.compile(r" \[type=| \(encountered processing")
_REASON_SHOWN = 200
_NAME_SHOWN = 300
_ROOT_REMEDY = "give a trusted_root.json, as `cosign trusted-root create` writes it"

logging.getLogger("sigstore").addHandler(logging.NullHandler())  # its reasons are in our findings


@dataclass(frozen=True, slots=True)
class Keyless:
    """Identities, as signers. identities: shell patterns, of which one has to match. issuer: of their tokens."""

    identities: tuple[str, ...]
    issuer: str
    _verifier: Verifier = field(repr=False)
    _authorities: Authorities = field(repr=False)

    @classmethod
    def of(cls, identities: Sequence[str], issuer: str, root: bytes) -> Keyless:
        """Return the identities with the trusted root that proves them. Raises: GrammarError if it is not one."""
        try:
            value = TrustedRootValue.from_json(_completed_root(root))
            verifier, authorities = Verifier(trusted_root=TrustedRoot(value)), Authorities.of(value)
        except Exception as error:  # of several packages, without a common class
            raise GrammarError(f"is not a trusted root: {_reason(error)}", remedy=_ROOT_REMEDY) from error
        if not value.ctlogs:
            raise GrammarError("is a trusted root without a log of certificates", remedy=_ROOT_REMEDY)
        return cls(tuple(identities), issuer, verifier, authorities)

    def of_payload(self, signing: SimpleSigning) -> str:
        """Return the identity that signed a payload of cosign 2. Raises: NotProven, with what does not verify."""
        policy = _Identified(self.identities, self.issuer)
        with _refusing("its certificate or log entry cannot be read"):
            policy.verify(self._authorities.certificate_of(signing))
        return f"{policy.found} ({self.issuer})"

    def of_bundle(self, signed: Signed) -> str:
        """Return the identity that signed a bundle. Raises: NotProven, with what does not verify."""
        if signed.material.get("publicKey") is not None:
            raise NotProven("it was made with a key, and not for an identity")
        policy = _Identified(self.identities, self.issuer)
        with _refusing("it is not proven by the trusted root"):
            self._verify(signed, policy)
        return f"{policy.found} ({self.issuer})"

    def _verify(self, signed: Signed, policy: _Identified) -> None:
        bundle = Bundle.from_json(_completed_bundle(signed.raw))
        kind, payload = self._verifier.verify_dsse(bundle, policy)
        # Two parsers read the same JSON: what was verified has to be what our own has read.
        if b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload) != signed.message:
            raise NotProven("its envelope is ambiguous")


def _completed_bundle(raw: bytes) -> bytes:
    """Return a bundle with the members that JSON of protobuf leaves out, as zero or empty, and `sigstore` asks for.

    So cosign writes the first entry of a log (sigstore/protobuf-specs, sigstore_rekor.proto; protobuf.dev, ProtoJSON).
    """
    document = read_object(raw, "the bundle")
    for entry in _objects(member(document, "verificationMaterial", "tlogEntries")):
        entry.setdefault("logIndex", "0")
        for proof in _objects([entry.get("inclusionProof")]):
            proof.setdefault("logIndex", "0")
            proof.setdefault("hashes", [])
    return json.dumps(document).encode()


def _completed_root(raw: bytes) -> bytes:
    """Return a trusted root with addresses of its logs, which that of cosign 2 does not have. They are not asked."""
    document = read_object(raw, "the file")
    for log in _objects([*(document.get("tlogs") or []), *(document.get("ctlogs") or [])]):
        log.setdefault("baseUrl", "")
    return json.dumps(document).encode()


def _objects(values: object) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


class _Identified:
    """A policy for the verifier: whose certificate it is. found: the identity in it."""

    def __init__(self, identities: Sequence[str], issuer: str) -> None:
        self._identities = identities
        self._issuer = issuer
        self.found = ""

    def verify(self, cert: x509.Certificate) -> None:
        """Check the names in a certificate that was verified. Raises: NotProven."""
        issuer = _issuer_of(cert)
        if issuer != self._issuer:
            shown = "no issuer" if issuer is None else f"the issuer {printable(issuer, _NAME_SHOWN)}"
            raise NotProven(f"its certificate names {shown}, and not {self._issuer}")
        names = _names_of(cert)
        for name in names:
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._identities):
                self.found = printable(name, _NAME_SHOWN)
                return
        shown = printable(", ".join(names), _NAME_SHOWN) or "no identity"
        raise NotProven(f"its certificate is for {shown}, and not for {' or '.join(self._identities)}")


def _issuer_of(cert: x509.Certificate) -> str | None:
    for oid in (_ISSUER, _ISSUER_OF_OLD):
        try:
            value = cert.extensions.get_extension_for_oid(oid).value
        except x509.ExtensionNotFound:
            continue
        raw = value.public_bytes()
        return asn1.decode_der(str, raw) if oid == _ISSUER else raw.decode()
    return None


def _names_of(cert: x509.Certificate) -> list[str]:
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    others = [other.value for other in names.get_values_for_type(x509.OtherName) if other.type_id == _OTHER_NAME]
    return [
        *names.get_values_for_type(x509.UniformResourceIdentifier),
        *names.get_values_for_type(x509.RFC822Name),
        *(asn1.decode_der(str, other) for other in others),
    ]


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Raise NotProven for every error: parsers read a stranger's bytes, and whatever they raise is a refusal."""
    try:
        yield
    except NotProven:
        raise
    except Exception as error:
        raise NotProven(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what an error of the package says, without the values that it repeats (pydantic adds `[type=...`)."""
    lines = (str(error) or type(error).__name__).strip().splitlines()[:_LINES]
    text = ": ".join(line.strip() for line in lines)
    return printable(_DETAILS.split(text)[0], _REASON_SHOWN)
