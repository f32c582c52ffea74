"""What a source has about an image, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

# The media types and the annotation of cosign (sigstore/cosign, specs/SIGNATURE_SPEC.md and specs/BUNDLE_SPEC.md).
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
CERTIFICATE_ANNOTATION: Final = "dev.sigstore.cosign/certificate"
ENTRY_ANNOTATION: Final = "dev.sigstore.cosign/bundle"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle"  # followed by a version
# The artifact type of notation's signatures (notaryproject/specifications, signature-specification.md).
NOTATION: Final = "application/vnd.cncf.notary.signature"
# A signed payload has less than a kilobyte, a bundle with a log entry some kilobytes.
MAX_SIGNATURE_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 100

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class SimpleSigning:
    """A signature as cosign 2 writes it. payload: the signed JSON. signature: in base64, None if it is missing.

    Of a keyless one, certificate: in PEM; entry: the promise of a transparency log, as JSON.
    """

    payload: bytes
    signature: str | None
    certificate: str | None = None
    entry: str | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A Sigstore bundle as cosign 3 writes it, as JSON."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """All signatures of an image that its source has.

    missing: what could not be read, as sentences. absent: where no signature was found, for messages. notation: the
    number of signatures of notation, which cannot be verified here.
    """

    signatures: tuple[SimpleSigning | Bundle, ...] = ()
    missing: tuple[str, ...] = ()
    absent: str = ""
    notation: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether an image is proven to be from the owner of a key, and the fact that proves it or is missing."""

    proven: bool
    fact: str


@dataclass(frozen=True, slots=True)
class Signed:
    """The content of a bundle before its signature is verified.

    raw: the bundle as it is. material: what it has for verifying. message: the bytes that are signed. signature: of
    these bytes.
    """

    raw: bytes
    material: Mapping[str, Any]
    message: bytes
    signature: bytes


class Signers(Protocol):
    """Those whose signatures count for a mirror: the owners of public keys, or identities with a certificate."""

    def of_payload(self, signing: SimpleSigning) -> str:
        """Return which of them signed a payload of cosign 2, for messages. Raises: NotProven."""

    def of_bundle(self, signed: Signed) -> str:
        """Return which of them signed the content of a bundle, for messages. Raises: NotProven."""


class NotProven(Exception):
    """A signature does not prove anything. Its text is the reason."""


def unproven(reasons: tuple[str, ...]) -> Finding:
    """Return the finding for an image without a valid signature. reasons: one or more."""
    different = tuple(dict.fromkeys(reasons))
    more = f"; and {len(different) - _SHOWN} more reasons" if len(different) > _SHOWN else ""
    return Finding(False, "; ".join(different[:_SHOWN]) + more)
