"""The decision on each kind of signature, by values alone. docs/verifying.md has the same table."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.trust.cosign import examine
from mirrorsync.trust.evidence import Bundle, Evidence, Finding, SimpleSigning
from mirrorsync.trust.keys import Keys, PublicKey
from tests.parts import cosign
from tests.parts.cosign import ALGORITHMS, Key, encoded, make_key, pae, payload, statement

PAGE = Path(__file__).parents[2] / "docs" / "verifying.md"
IMAGE = Digest.of(b"an index")
CHILD = Digest.of(b"its child")
OTHER = Digest.of(b"another image")
SLSA = "https://slsa.dev/provenance/v1"
_KEYS = TemporaryDirectory()


@cache
def key(name: str) -> Key:
    """Return the key of that name: of the algorithm that it is called after, otherwise of P-256."""
    return make_key(Path(_KEYS.name), name, name if name in ALGORITHMS else "p256")


@cache
def public(name: str) -> PublicKey:
    return PublicKey.parse(key(name).public.read_bytes(), f"{name}.pub")


def legacy(signed: str = IMAGE, by: str = "site") -> SimpleSigning:
    text = payload(signed)
    return SimpleSigning(text, encoded(key(by).sign(text)))


def signed_payload(text: bytes) -> SimpleSigning:
    return SimpleSigning(text, encoded(key("site").sign(text)))


def bundle(signed: str = IMAGE, by: str = "site", **changes: Any) -> Bundle:
    return Bundle(cosign.bundle_by(key(by), signed, **changes))


def signed_statement(text: bytes) -> Bundle:
    return Bundle(cosign.bundle(text, key("site").sign(pae(text))))


def envelope(**changes: object) -> dict[str, object]:
    text = statement(IMAGE)
    signature = {"sig": encoded(key("site").sign(pae(text)))}
    return {"payload": encoded(text), "payloadType": cosign.IN_TOTO, "signatures": [signature], **changes}


def message(content: bytes = b"an index", claimed: bytes | None = None) -> Bundle:
    """Return a bundle with a signature of a manifest's bytes. claimed: the bytes whose digest it names."""
    named = {"algorithm": "SHA2_256", "digest": encoded(hashlib.sha256(claimed or content).digest())}
    signed = {"messageDigest": named, "signature": encoded(key("site").sign(content))}
    return Bundle(cosign.bundle(b"", b"", dsseEnvelope=None, messageSignature=signed))


Make = Callable[[], tuple[SimpleSigning | Bundle, ...]]


@dataclass(frozen=True)
class Case:
    """A case of the table: its name there, the signatures, and the fact that has to be said."""

    name: str
    make: Make
    proven: bool
    fact: str


NOT_BY = "it was not made with the key site.pub or next.pub, or its payload was changed"
BYTES = "it signs bytes, and not a statement about the image"
CERTIFICATE = {"certificate": {"rawBytes": "MIIC"}}
CASES = [
    Case("unsigned", lambda: (), False, "no signature found: there is no tag"),
    Case("cosign 2: signed", lambda: (legacy(),), True, "cosign 2 signature, by site.pub"),
    Case("cosign 2: signed with the second key", lambda: (legacy(by="next"),), True, "by next.pub"),
    Case("cosign 2: signed with another key", lambda: (legacy(by="other"),), False, NOT_BY),
    Case("cosign 2: two signers, one of them known", lambda: (legacy(by="other"), legacy()), True, "by site.pub"),
    Case(
        "cosign 2: signature of another image (replayed)",
        lambda: (legacy(OTHER),),
        False,
        f"it signs another image, {OTHER}",
    ),
    Case(
        "cosign 2: digest in the payload changed (swapped)",
        lambda: (SimpleSigning(payload(IMAGE), legacy(OTHER).signature),),
        False,
        NOT_BY,
    ),
    Case("cosign 2: only a child of the index is signed", lambda: (legacy(CHILD),), False, f"another image, {CHILD}"),
    Case("cosign 2: no signature annotation", lambda: (SimpleSigning(payload(IMAGE), None),), False, "is missing"),
    Case("cosign 2: signature is not base64", lambda: (SimpleSigning(payload(IMAGE), "!"),), False, "is not base64"),
    Case("cosign 2: signature is random bytes", lambda: (SimpleSigning(payload(IMAGE), "AAAA"),), False, NOT_BY),
    Case("cosign 2: payload is not JSON", lambda: (signed_payload(b"sha256"),), False, "the payload is not JSON"),
    Case(
        "cosign 2: payload with the digest twice",
        lambda: (signed_payload(payload(OTHER).replace(b'"image":', b'"image":{},"image":', 1)),),
        False,
        "the payload is not JSON",
    ),
    Case("cosign 2: payload without a digest", lambda: (signed_payload(payload(IMAGE, image={})),), False, "another"),
    Case(
        "cosign 2: payload of another type",
        lambda: (signed_payload(payload(IMAGE, type="atomic container signature")),),
        False,
        "the payload is of type atomic container signature",
    ),
    Case("cosign 3: signed", lambda: (bundle(),), True, "cosign 3 bundle, by site.pub"),
    Case("cosign 3: signed with the second key", lambda: (bundle(by="next"),), True, "by next.pub"),
    Case("cosign 3: signed with another key", lambda: (bundle(by="other"),), False, NOT_BY),
    Case(
        "cosign 3: signature of another image (replayed)",
        lambda: (bundle(OTHER),),
        False,
        f"it signs another image, {OTHER}",
    ),
    Case(
        "cosign 3: digest in the statement changed (swapped)",
        lambda: (Bundle(cosign.bundle(statement(IMAGE), key("site").sign(pae(statement(OTHER))))),),
        False,
        NOT_BY,
    ),
    Case("cosign 3: only a child of the index is signed", lambda: (bundle(CHILD),), False, f"another image, {CHILD}"),
    Case(
        "cosign 3: keyless (a certificate and no key)",
        lambda: (bundle(verificationMaterial=CERTIFICATE),),
        False,
        "it names no public key, and has a certificate instead",
    ),
    Case("cosign 3: bundle without a key", lambda: (bundle(verificationMaterial=None),), False, "it names no public"),
    Case(
        "cosign 3: bundle of an old version",
        lambda: (bundle(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),),
        False,
        "version=0.1 is not known",
    ),
    Case("cosign 3: bundle is not JSON", lambda: (Bundle(b"{"),), False, "the bundle is not JSON"),
    Case("cosign 3: no envelope", lambda: (bundle(dsseEnvelope=None),), False, "it has no DSSE envelope"),
    Case(
        "cosign 3: envelope of another type",
        lambda: (bundle(dsseEnvelope=envelope(payloadType="text/plain")),),
        False,
        "its envelope is of type text/plain",
    ),
    Case(
        "cosign 3: envelope with two signatures",
        lambda: (bundle(dsseEnvelope=envelope(signatures=[{"sig": "AAAA"}, {"sig": "AAAA"}])),),
        False,
        "does not have exactly one signature",
    ),
    Case(
        "cosign 3: payload signed without the envelope's encoding",
        lambda: (Bundle(cosign.bundle(statement(IMAGE), key("site").sign(statement(IMAGE)))),),
        False,
        NOT_BY,
    ),
    Case(
        "cosign 3: an attestation with the right key",
        lambda: (signed_statement(statement(IMAGE, SLSA)),),
        False,
        f"it is an attestation ({SLSA})",
    ),
    Case(
        "cosign 3: statement of another type",
        lambda: (signed_statement(statement(IMAGE, _type="x")),),
        False,
        "the statement is of type x",
    ),
    Case(
        "cosign 3: statement without a subject",
        lambda: (signed_statement(statement(IMAGE, subject=[])),),
        False,
        "another image, that it does not name",
    ),
    Case("cosign 3: signature of the manifest itself", lambda: (message(),), False, BYTES),
    Case("cosign 3: signature of another manifest", lambda: (message(b"another image"),), False, BYTES),
    Case(
        "cosign 3: signature of another manifest that claims this one",
        lambda: (message(b"another image", claimed=b"an index"),),
        False,
        BYTES,
    ),
    Case(
        "both forms: one of them with another key", lambda: (bundle(by="other"), legacy()), True, "cosign 2 signature"
    ),
    Case("both forms: both wrong", lambda: (bundle(OTHER), legacy(by="other")), False, "; cosign 2 signature: it was"),
]


def found(signatures: tuple[SimpleSigning | Bundle, ...], missing: tuple[str, ...] = ()) -> Finding:
    evidence = Evidence(signatures, missing, "there is no tag sha256-x.sig, and no referrer")
    return examine(IMAGE, evidence, Keys((public("site"), public("next"))))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_decision_on_a_case(case: Case) -> None:
    finding = found(case.make())
    assert finding.proven == case.proven, finding
    assert case.fact in finding.fact


def test_the_table_in_the_docs_has_these_cases_and_decisions() -> None:
    rows = re.findall(r"^\| (.*?) \| (mirrored|refused) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    decided = [(case.name, "mirrored" if case.proven else "refused") for case in CASES]
    assert [row for row in rows if row[0] in {case.name for case in CASES}] == decided


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_of_every_algorithm_verify_their_signatures_and_no_others(algorithm: str) -> None:
    text, own = payload(IMAGE), key(algorithm)
    signed: list[tuple[SimpleSigning | Bundle, SimpleSigning | Bundle]] = [
        (SimpleSigning(text, encoded(own.sign(text))), SimpleSigning(text + b" ", encoded(own.sign(text)))),
        (bundle(by=algorithm), Bundle(cosign.bundle(statement(IMAGE), own.sign(pae(statement(OTHER)))))),
    ]
    for one, other in signed:
        keys = Keys((public(algorithm),))
        assert examine(IMAGE, Evidence((one,)), keys).proven
        assert not examine(IMAGE, Evidence((other,)), keys).proven
        assert not examine(IMAGE, Evidence((one,)), Keys((public("site"),))).proven


def test_what_could_not_be_read_is_said_unless_another_signature_is_valid() -> None:
    missing = ("the referrers of sha256:1 could not be read: timed out",)
    assert found((), missing) == Finding(False, missing[0])
    assert found((legacy(by="other"),), missing).fact.endswith(f"; {missing[0]}")
    assert found((legacy(),), missing).proven


def test_signatures_of_notation_are_named_and_prove_nothing() -> None:
    absent = Evidence((), (), "there is no tag", notation=2)
    only = examine(IMAGE, absent, Keys((public("site"),)))
    assert only == Finding(False, "2 signatures of notation, which cannot be verified here")
    assert "| notation: signed | refused |" in PAGE.read_text("utf-8")
    both = examine(IMAGE, replace(absent, signatures=(legacy(),), notation=1), Keys((public("site"),)))
    assert both.proven


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_of_bytes_proves_nothing_by_a_key_of_any_algorithm(algorithm: str) -> None:
    signed = {"signature": encoded(key(algorithm).sign(b"an index"))}
    made = Bundle(cosign.bundle(b"", b"", dsseEnvelope=None, messageSignature=signed))
    assert BYTES in examine(IMAGE, Evidence((made,)), Keys((public(algorithm),))).fact


def test_a_fact_names_three_reasons_and_counts_the_others() -> None:
    fact = found(tuple(legacy(Digest.of(bytes([number]))) for number in range(5))).fact
    assert fact.count("it signs another image") == 3
    assert fact.endswith("; and 2 more reasons")


PEM = "-----BEGIN {0}-----\nMFkw\n-----END {0}-----\n"


@pytest.mark.parametrize(
    ("pem", "wrong"),
    [
        (b"", "is not a public key in PEM"),
        (b"ssh-ed25519 AAAA", "is not a public key in PEM"),
        (PEM.format("CERTIFICATE").encode(), "is not a public key in PEM"),
        (PEM.format("PUBLIC KEY").encode(), "is not a public key that can be read"),
        (PEM.format("ENCRYPTED SIGSTORE PRIVATE KEY").encode(), "is a private key"),
    ],
)
def test_a_file_that_is_not_a_public_key_is_rejected(pem: bytes, wrong: str) -> None:
    with pytest.raises(Exception, match=wrong):
        PublicKey.parse(pem, "x.pub")


@pytest.mark.parametrize(
    "options",
    [
        ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        ["-algorithm", "X25519"],
    ],
)
def test_a_key_that_is_too_short_or_of_another_algorithm_is_rejected(options: list[str], tmp_path: Path) -> None:
    cosign._openssl("genpkey", *options, "-out", str(tmp_path / "key"))
    cosign._openssl("pkey", "-in", str(tmp_path / "key"), "-pubout", "-out", str(tmp_path / "pub"))
    with pytest.raises(Exception, match="unknown algorithm or size"):
        PublicKey.parse((tmp_path / "pub").read_bytes(), "x.pub")
