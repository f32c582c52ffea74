"""Signatures of images in the two forms of cosign: what they sign, and whether that is the image.

cosign 2 signs a JSON payload ("simple signing"), and writes the signature into an annotation of its layer in the image
under the tag sha256-<hex>.sig. cosign 3 signs an in-toto statement in a DSSE envelope, in a Sigstore bundle that is a
referrer of the image. (sigstore/cosign: specs/SIGNATURE_SPEC.md, specs/BUNDLE_SPEC.md, cmd/cosign/cli/sign/sign.go;
sigstore/protobuf-specs: sigstore_bundle.proto, envelope.proto.)
"""

from __future__ import annotations

from typing import Any, Final

from mirrorsync.oci.digest import Digest
from mirrorsync.trust.evidence import Bundle, Evidence, Finding, NotProven, Signed, Signers, SimpleSigning, unproven
from mirrorsync.trust.signed_json import decoded, member, read_object, shown

_PAYLOAD_TYPE: Final = "cosign container image signature"
_BUNDLES: Final = frozenset(
    {"application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"}
)
_IN_TOTO: Final = "application/vnd.in-toto+json"
_STATEMENTS: Final = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
_LEGACY: Final = "cosign 2 signature"
_BUNDLE: Final = "cosign 3 bundle"


def examine(digest: Digest, evidence: Evidence, signers: Signers) -> Finding:
    """Return whether one of the signatures is valid, by one of the signers, and for the manifest with that digest.

    One valid signature is enough, in either form: others may be of other signers. If there is none, the fact names
    what is wrong with each signature, what could not be read, or that no signature was found.
    """
    reasons: list[str] = []
    for one in evidence.signatures:
        form, check = (_LEGACY, _simple_signing) if isinstance(one, SimpleSigning) else (_BUNDLE, _bundle)
        try:
            signer = check(digest, one, signers)
        except NotProven as reason:
            reasons.append(f"{form}: {reason}")
        else:
            return Finding(True, f"{form}, by {signer}")
    reasons += evidence.missing
    if evidence.notation:
        signed = "1 signature" if evidence.notation == 1 else f"{evidence.notation} signatures"
        reasons.append(f"{signed} of notation, which cannot be verified here")
    return unproven(tuple(reasons or [f"no signature found: {evidence.absent}"]))


def _simple_signing(digest: Digest, found: Any, signers: Signers) -> str:
    signing: SimpleSigning = found
    signer = signers.of_payload(signing)
    payload = read_object(signing.payload, "the payload")
    kind = member(payload, "critical", "type")
    if kind != _PAYLOAD_TYPE:
        raise NotProven(f"the payload is of type {shown(kind)}, and not of {_PAYLOAD_TYPE!r}")
    named = member(payload, "critical", "image", "docker-manifest-digest")
    if named != str(digest):
        raise NotProven(f"it signs another image, {shown(named)}")
    return signer


def _bundle(digest: Digest, found: Any, signers: Signers) -> str:
    bundle: Bundle = found
    value = read_object(bundle.raw, "the bundle")
    if value.get("mediaType") not in _BUNDLES:
        raise NotProven(f"version {shown(value.get('mediaType'))} is not known")
    material = value.get("verificationMaterial")
    material = material if isinstance(material, dict) else {}
    if "dsseEnvelope" not in value and "messageSignature" in value:  # cosign asks for an envelope, too
        raise NotProven("it signs bytes, and not a statement about the image")
    payload, signature = _envelope(value.get("dsseEnvelope"))
    statement = read_object(payload, "the statement")
    if statement.get("_type") not in _STATEMENTS:
        raise NotProven(f"the statement is of type {shown(statement.get('_type'))}, and not of in-toto's")
    predicate = statement.get("predicateType")
    if predicate != _SIGN:  # of any signer: an image may have many attestations
        raise NotProven(f"it is an attestation ({shown(predicate)}), and not a signature of the image")
    signer = signers.of_bundle(Signed(bundle.raw, material, _pae(_IN_TOTO, payload), signature))
    _check_subject(digest, statement.get("subject"))
    return signer


def _envelope(envelope: object) -> tuple[bytes, bytes]:
    """Return the payload and the only signature of a DSSE envelope. Raises: NotProven."""
    if not isinstance(envelope, dict):
        raise NotProven("it has no DSSE envelope")
    if envelope.get("payloadType") != _IN_TOTO:
        raise NotProven(f"its envelope is of type {shown(envelope.get('payloadType'))}, and not of {_IN_TOTO}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise NotProven("its envelope does not have exactly one signature")  # sigstore_bundle.proto: MUST be rejected
    return decoded(envelope.get("payload"), "the payload"), decoded(signatures[0].get("sig"), "the signature")


def _check_subject(digest: Digest, subjects: object) -> None:
    """Check that a statement is about an image. Raises: NotProven."""
    named = [member(one, "digest", digest.algorithm) for one in subjects] if isinstance(subjects, list) else []
    if digest.encoded not in named:
        others = ", ".join(f"{digest.algorithm}:{one}" for one in named if isinstance(one, str))
        raise NotProven(f"it signs another image, {shown(others or None)}")


def _pae(kind: str, payload: bytes) -> bytes:
    """Return what a DSSE signature is over: the Pre-Authentication Encoding (secure-systems-lab/dsse, protocol.md)."""
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
