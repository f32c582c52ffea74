"""What a source has about an image, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# The media types and the annotation of cosign (sigstore/cosign, specs/SIGNATURE_SPEC.md and specs/BUNDLE_SPEC.md).
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle"  # followed by a version
# A signed payload has less than a kilobyte, a bundle with a log entry some kilobytes.
MAX_SIGNATURE_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 100

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class SimpleSigning:
    """A signature as cosign 2 writes it. payload: the signed JSON. signature: in base64, None if it is missing."""

    payload: bytes
    signature: str | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A Sigstore bundle as cosign 3 writes it, as JSON."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """All signatures of an image that its source has.

    missing: what could not be read, as sentences. absent: where no signature was found, for messages.
    """

    signatures: tuple[SimpleSigning | Bundle, ...] = ()
    missing: tuple[str, ...] = ()
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether an image is proven to be from the owner of a key, and the fact that proves it or is missing."""

    proven: bool
    fact: str


class NotProven(Exception):
    """A signature does not prove anything. Its text is the reason."""


def unproven(reasons: tuple[str, ...]) -> Finding:
    """Return the finding for an image without a valid signature. reasons: one or more."""
    different = tuple(dict.fromkeys(reasons))
    more = f"; and {len(different) - _SHOWN} more reasons" if len(different) > _SHOWN else ""
    return Finding(False, "; ".join(different[:_SHOWN]) + more)
