"""The types of referrers: their artifact types, and the friendly kinds that these are known as. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

from mirrorsync.oci.descriptor import Descriptor

Kind = Literal["signature", "sbom", "attestation", "other"]

KINDS: Final[tuple[Kind, ...]] = tuple(kind for kind in get_args(Kind) if kind != "other")
# The kinds of what has one of cosign's tags (`names.COSIGN_SUFFIXES`).
BY_SUFFIX: Final[Mapping[str, Kind]] = {".sig": "signature", ".att": "attestation", ".sbom": "sbom"}
# Parts of artifact types, in the order in which they are tried: an attestation may be about an SBOM.
_BY_WORD: Final[tuple[tuple[str, Kind], ...]] = (
    ("in-toto", "attestation"),
    ("attestation", "attestation"),
    ("provenance", "attestation"),
    ("slsa", "attestation"),
    ("spdx", "sbom"),
    ("cyclonedx", "sbom"),
    ("syft", "sbom"),
    ("sbom", "sbom"),
    ("signature", "signature"),
    ("cosign.artifact.sig", "signature"),
)
# A sigstore bundle is either; cosign writes which into the referrer's annotations (its BUNDLE_SPEC.md). Both are
# envelopes with a statement: that of a signature of cosign 3 only states that the image is signed.
_BUNDLE: Final = "vnd.dev.sigstore.bundle"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"
_SIGNED: Final = "https://sigstore.dev/cosign/sign/"
_BUNDLE_CONTENT: Final = "dev.sigstore.bundle.content"
_BY_BUNDLE_CONTENT: Final[dict[str, Kind]] = {"message-signature": "signature", "dsse-envelope": "attestation"}


@dataclass(frozen=True, slots=True)
class ReferrerType:
    """The type of one referrer. artifact_type: "" if its manifest has none."""

    kind: Kind
    artifact_type: str = ""

    @classmethod
    def of(cls, referrer: Descriptor, suffix: str = "") -> Self:
        """Return the type of a referrer. suffix: of cosign's tag, if it has one."""
        return cls(BY_SUFFIX.get(suffix) or kind_of(referrer), referrer.artifact_type)


def kind_of(referrer: Descriptor) -> Kind:
    """Return the kind of a referrer, by its artifact type."""
    artifact_type = referrer.artifact_type.lower()
    if _BUNDLE in artifact_type:
        if referrer.annotations.get(_PREDICATE, "").startswith(_SIGNED):
            return "signature"
        return _BY_BUNDLE_CONTENT.get(referrer.annotations.get(_BUNDLE_CONTENT, ""), "other")
    return next((kind for word, kind in _BY_WORD if word in artifact_type), "other")
