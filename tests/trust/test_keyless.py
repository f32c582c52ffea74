"""The decision on each kind of keyless signature, by values alone. docs/verifying.md has the same table."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.trust.cosign import examine
from mirrorsync.trust.evidence import Bundle, Evidence, Finding, SimpleSigning
from mirrorsync.trust.keyless import Keyless
from tests.parts import cosign
from tests.parts.cosign import encoded, make_key, payload, statement
from tests.parts.sigstore import (
    IDENTITY,
    ISSUER,
    LIFETIME,
    SIGNED_AT,
    Certified,
    Sigstore,
    other_bytes,
    raw,
    time_stamping,
)

PAGE = Path(__file__).parents[2] / "docs" / "verifying.md"
MANIFEST = b"an index"
IMAGE = Digest.of(MANIFEST)
OTHER = Digest.of(b"another image")
PATTERN = "https://github.com/org/app/.github/workflows/release.yml@refs/tags/*"
_FILES = TemporaryDirectory()
Document = dict[str, Any]


@cache
def site() -> Sigstore:
    return Sigstore(stamps=time_stamping())


@cache
def stranger() -> Sigstore:
    return Sigstore(stamps=time_stamping())


@cache
def keyless(pattern: str = PATTERN, issuer: str = ISSUER) -> Keyless:
    return Keyless.of([pattern], issuer, site().trusted_root())


def entry(document: Document) -> Document:
    """Return the log entry of a bundle."""
    found: Document = document["verificationMaterial"]["tlogEntries"][0]
    return found


def without(document: Document, *names: str) -> Document:
    for name in names:
        del entry(document)[name]
    return document


def swapped_envelope() -> Document:
    """Return a bundle with an envelope for this image, and under another spelling the one that was signed."""
    made = site().sign(OTHER)
    mine = {"payload": encoded(statement(IMAGE)), "payloadType": cosign.IN_TOTO, "signatures": [{"sig": "AAAA"}]}
    return {**made, "dsseEnvelope": mine, "dsse_envelope": made["dsseEnvelope"]}


def flipped_promise() -> Document:
    made = site().sign(IMAGE)
    promise = entry(made)["inclusionPromise"]
    promise["signedEntryTimestamp"] = other_bytes(promise["signedEntryTimestamp"])
    return made


def moved_time() -> Document:
    made = site().sign(IMAGE)
    entry(made)["integratedTime"] = str(int(SIGNED_AT.timestamp()) + 60)
    return made


def other_root() -> Document:
    made = site().sign(IMAGE)
    entry(made)["inclusionProof"]["hashes"] = [encoded(b"x" * 32)]
    return made


def keyed() -> Document:
    made: Document = json.loads(cosign.bundle_by(make_key(Path(_FILES.name), "site"), IMAGE))
    return made


def signing(text: bytes, made: dict[str, str], **changes: str | None) -> SimpleSigning:
    """Return a payload with the annotations of its signature."""
    names = ("dev.cosignproject.cosign/signature", "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle")
    values = {name.rpartition("/")[2]: made.get(name) for name in names} | changes
    return SimpleSigning(text, values["signature"], values["certificate"], values["bundle"])


def legacy(
    signed: str = IMAGE, by: Certified | None = None, *, log: Sigstore | None = None, **spec: Any
) -> SimpleSigning:
    """Return a keyless signature in the form of cosign 2. log: whose log it is in; spec: changes of its entry."""
    return signing(payload(signed), (log or site()).sign_2(payload(signed), by, **spec))


def signed_by_another() -> SimpleSigning:
    """Return a signature that log and certificate agree on, and that the certificate's key has not made."""
    mine, text = site().certify(), payload(IMAGE)
    return signing(text, site().sign_2(text, replace(mine, key=site().certify().key)))


def entry_of_another_signature() -> SimpleSigning:
    by = site().certify()
    entry = {"content": encoded(by.sign(payload(IMAGE))), "publicKey": {"content": encoded(by.pem)}}
    return legacy(by=by, signature=entry)


def keyed_2() -> SimpleSigning:
    return signing(payload(IMAGE), site().sign_2(payload(IMAGE)), certificate=None, bundle=None)


def moved_promise() -> SimpleSigning:
    made = site().sign_2(payload(IMAGE))
    promise = json.loads(made["dev.sigstore.cosign/bundle"])
    promise["Payload"]["integratedTime"] += 1
    return signing(payload(IMAGE), made, bundle=json.dumps(promise))


def of_another(**changes: str) -> SimpleSigning:
    """Return a signature of this image with the annotations of another signature of it, as named by changes."""
    made, other = site().sign_2(payload(IMAGE)), site().sign_2(payload(IMAGE))
    return signing(payload(IMAGE), made, **{key: other[name] for key, name in changes.items()})


def stamped(service: Sigstore) -> Document:
    return replace(site(), stamps=service.stamps).sign_stamped(IMAGE, Path(_FILES.name) / "stamps")


@dataclass(frozen=True)
class Case:
    """A case of the table: its name there, the bundle, and the fact that has to be said."""

    name: str
    make: Callable[[], Document | SimpleSigning]
    proven: bool
    fact: str


LATE = SIGNED_AT + LIFETIME + timedelta(minutes=1)
CASES = [
    Case("keyless: signed (the certificate has expired since)", lambda: site().sign(IMAGE), True, f"by {IDENTITY} ("),
    Case(
        "keyless: signed, the time by a time stamping service",
        lambda: stamped(site()),
        True,
        f"cosign 3 bundle, by {IDENTITY} ({ISSUER})",
    ),
    Case(
        "keyless: signature of the manifest itself",
        lambda: site().sign_message(MANIFEST),
        False,
        "it signs bytes, and not a statement about the image",
    ),
    Case(
        "keyless: signature of another manifest",
        lambda: site().sign_message(b"another image"),
        False,
        "it signs bytes, and not a statement about the image",
    ),
    Case(
        "keyless: another identity",
        lambda: site().sign(IMAGE, site().certify(IDENTITY.replace("/tags/", "/heads/"))),
        False,
        f"for {IDENTITY.replace('/tags/', '/heads/')}, and not for {PATTERN}",
    ),
    Case(
        "keyless: the right identity of another issuer",
        lambda: site().sign(IMAGE, site().certify(issuer="https://login.example")),
        False,
        f"names the issuer https://login.example, and not {ISSUER}",
    ),
    Case(
        "keyless: certificate of another authority",
        lambda: site().sign(IMAGE, replace(site(), authority=stranger().authority).certify()),
        False,
        "failed to build timestamp certificate chain",
    ),
    Case(
        "keyless: certificate that no log of certificates has",
        lambda: site().sign(IMAGE, replace(site(), certificate_log=stranger().certificate_log).certify()),
        False,
        "failed to verify SCT",
    ),
    Case(
        "keyless: certificate for TLS",
        lambda: site().sign(IMAGE, site().certify(use=ExtendedKeyUsageOID.SERVER_AUTH)),
        False,
        "Extended usage does not contain `code signing`",
    ),
    Case(
        "keyless: signed after the certificate had expired",
        lambda: site().sign(IMAGE, at=LATE),
        False,
        "cert is not valid at validation time",
    ),
    Case("keyless: time of the log changed", moved_time, False, "SET: invalid inclusion promise"),
    Case("keyless: promise of the log changed", flipped_promise, False, "SET: invalid inclusion promise"),
    Case("keyless: no time (no promise, no time stamp)", lambda: site().sign(IMAGE, at=None), False, "must contain an"),
    Case(
        "keyless: time stamp of another service",
        lambda: stamped(stranger()),
        False,
        "not enough sources of verified time",
    ),
    Case("keyless: no log entry", lambda: site().sign(IMAGE, entries=[]), False, "expected exactly one log entry"),
    Case(
        "keyless: log entry without proof of inclusion",
        lambda: without(site().sign(IMAGE), "inclusionProof"),
        False,
        "inclusionProof: Field required",
    ),
    Case("keyless: proof of inclusion in another tree", other_root, False, "invalid log entry"),
    Case(
        "keyless: entry of another log",
        lambda: replace(site(), log=stranger().log).sign(IMAGE),
        False,
        "invalid log entry: checkpoint",
    ),
    Case(
        "keyless: log entry of another signature (swapped)",
        lambda: site().sign(IMAGE, entries=[entry(site().sign(IMAGE))]),
        False,
        "log entry signatures do not match bundle",
    ),
    Case(
        "keyless: signature of another image (replayed)",
        lambda: site().sign(OTHER),
        False,
        f"it signs another image, {OTHER}",
    ),
    Case(
        "keyless: digest in the statement changed (swapped)",
        lambda: site().sign(OTHER, dsseEnvelope=site().sign(IMAGE)["dsseEnvelope"]),
        False,
        "DSSE: invalid signature",
    ),
    Case("keyless: two envelopes in two spellings", swapped_envelope, False, "it is not proven by the trusted root"),
    Case(
        "keyless: an attestation with the right identity",
        lambda: site().sign(IMAGE, text=statement(IMAGE, "https://slsa.dev/provenance/v1")),
        False,
        "it is an attestation",
    ),
    Case(
        "keyless: bundle of an old version",
        lambda: site().sign(IMAGE, mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),
        False,
        "version=0.1 is not known",
    ),
    Case("keyless: signed with a key", keyed, False, "it was made with a key, and not for an identity"),
    Case("keyless: cosign 2, signed", legacy, True, f"cosign 2 signature, by {IDENTITY} ({ISSUER})"),
    Case("keyless: cosign 2, signed with a key", keyed_2, False, "it was made with a key, and not for an identity"),
    Case(
        "keyless: cosign 2, another identity",
        lambda: legacy(by=site().certify("https://github.com/evil/app")),
        False,
        f"for https://github.com/evil/app, and not for {PATTERN}",
    ),
    Case(
        "keyless: cosign 2, another issuer",
        lambda: legacy(by=site().certify(issuer="https://login.example")),
        False,
        "names the issuer https://login.example",
    ),
    Case(
        "keyless: cosign 2, signature of another image (replayed)",
        lambda: legacy(OTHER),
        False,
        f"it signs another image, {OTHER}",
    ),
    Case(
        "keyless: cosign 2, digest in the payload changed (swapped)",
        lambda: replace(legacy(OTHER), payload=payload(IMAGE)),
        False,
        "the log entry is of another signature",
    ),
    Case(
        "keyless: cosign 2, certificate of another authority",
        lambda: legacy(by=replace(site(), authority=stranger().authority).certify()),
        False,
        "its certificate does not verify: ",
    ),
    Case(
        "keyless: cosign 2, certificate that no log of certificates has",
        lambda: legacy(by=replace(site(), certificate_log=stranger().certificate_log).certify()),
        False,
        "in no log of certificates that the trusted root has",
    ),
    Case(
        "keyless: cosign 2, certificate that a log of certificates has not signed",
        lambda: legacy(by=site().certify(listed_by=stranger().certificate_log)),
        False,
        "in no log of certificates that the trusted root has",
    ),
    Case(
        "keyless: cosign 2, certificate for TLS",
        lambda: legacy(by=site().certify(use=ExtendedKeyUsageOID.SERVER_AUTH)),
        False,
        "its certificate is not for signing",
    ),
    Case(
        "keyless: cosign 2, certificate whose key is not for signatures",
        lambda: legacy(by=site().certify(signs=False)),
        False,
        "its certificate is not for signing",
    ),
    Case(
        "keyless: cosign 2, signed after the certificate had expired",
        lambda: legacy(at=LATE),
        False,
        "cert is not valid at validation time",
    ),
    Case("keyless: cosign 2, time of the log changed", moved_promise, False, "the log has not signed the promise"),
    Case(
        "keyless: cosign 2, promise of another log",
        lambda: legacy(log=replace(site(), log=stranger().log)),
        False,
        "a transparency log that the trusted root does not have",
    ),
    Case(
        "keyless: cosign 2, no promise of a log",
        lambda: replace(legacy(), entry=None),
        False,
        "it has no promise of a transparency log",
    ),
    Case(
        "keyless: cosign 2, promise for another signature",
        lambda: of_another(bundle="dev.sigstore.cosign/bundle"),
        False,
        "the log entry is of another signature",
    ),
    Case(
        "keyless: cosign 2, certificate of another signature",
        lambda: of_another(certificate="dev.sigstore.cosign/certificate"),
        False,
        "the log entry is of another signature",
    ),
    Case(
        "keyless: cosign 2, log entry with another payload",
        lambda: legacy(data={"hash": {"algorithm": "sha256", "value": "0" * 64}}),
        False,
        "the log entry is of another signature",
    ),
    Case(
        "keyless: cosign 2, log entry with another signature of the same payload",
        entry_of_another_signature,
        False,
        "the log entry is of another signature",
    ),
    Case(
        "keyless: cosign 2, log entry of another kind",
        lambda: legacy(kind="intoto"),
        False,
        "the log entry is of another signature",
    ),
    Case(
        "keyless: cosign 2, the certificate is not the key of the signature",
        signed_by_another,
        False,
        "it was not made with the key of its certificate",
    ),
]


def evidence(made: Document | SimpleSigning) -> Evidence:
    return Evidence((made if isinstance(made, SimpleSigning) else Bundle(raw(made)),))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_decision_on_a_case(case: Case) -> None:
    finding = examine(IMAGE, evidence(case.make()), keyless())
    assert finding.proven == case.proven, finding
    assert case.fact in finding.fact


def test_the_table_in_the_docs_has_these_cases_and_decisions() -> None:
    rows = re.findall(r"^\| (keyless: .*?) \| (mirrored|refused) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [(case.name, "mirrored" if case.proven else "refused") for case in CASES]


@pytest.mark.parametrize(
    "pattern", [IDENTITY, "https://github.com/org/*", "https://github.com/or?/app/*@refs/tags/v1.0"]
)
def test_a_pattern_matches_the_whole_identity(pattern: str) -> None:
    assert examine(IMAGE, evidence(site().sign(IMAGE)), keyless(pattern)).proven
    assert not examine(IMAGE, evidence(site().sign(IMAGE)), keyless(pattern[8:])).proven
    assert not examine(IMAGE, evidence(site().sign(IMAGE)), keyless(pattern.removesuffix("0"), "x")).proven


@pytest.mark.parametrize("logs", ["tlogs", "ctlogs"])
def test_a_log_of_cosign_2_counts_only_while_its_key_is_valid(logs: str) -> None:
    root = json.loads(site().trusted_root())
    valid = root[logs][0]["publicKey"]["validFor"]
    for end, proven in (("2025-06-01T12:00:00Z", True), ("2025-05-01T00:00:00Z", False)):
        valid["end"] = end
        signers = Keyless.of([PATTERN], ISSUER, json.dumps(root).encode())
        assert examine(IMAGE, evidence(legacy()), signers).proven == proven
    valid.update(start="2025-07-01T00:00:00Z", end="2026-01-01T00:00:00Z")
    signers = Keyless.of([PATTERN], ISSUER, json.dumps(root).encode())
    assert not examine(IMAGE, evidence(legacy()), signers).proven


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"certificate": "-----BEGIN CERTIFICATE-----\n!"}, "its certificate cannot be read"),
        ({"signature": None}, "the signature is missing"),
        ({"bundle": "{"}, "the log's promise is not JSON"),
        ({"bundle": "{}"}, "a transparency log that the trusted root does not have"),
        ({"bundle": '{"Payload": {"logID": "zz", "integratedTime": 1}}'}, "a transparency log that the trusted root"),
    ],
)
def test_annotations_that_cannot_be_read_are_a_refusal(changes: dict[str, str | None], fact: str) -> None:
    made = signing(payload(IMAGE), site().sign_2(payload(IMAGE)), **changes)
    finding = examine(IMAGE, Evidence((made,)), keyless())
    assert not finding.proven
    assert fact in finding.fact


@pytest.mark.parametrize("moment", [True, -1, 10**30, "1748779200", None])
def test_a_time_that_is_not_one_is_a_refusal(moment: object) -> None:
    made = site().sign_2(payload(IMAGE))
    promise = json.loads(made["dev.sigstore.cosign/bundle"])
    promise["Payload"]["integratedTime"] = moment
    finding = examine(IMAGE, Evidence((signing(payload(IMAGE), made, bundle=json.dumps(promise)),)), keyless())
    assert not finding.proven


class OtherParser:
    """A verifier that reads another envelope in the bundle than our own parser."""

    def verify_dsse(self, *_: object) -> tuple[str, bytes]:
        return cosign.IN_TOTO, statement(OTHER)


def test_what_was_verified_is_what_is_read() -> None:
    other: Any = OtherParser()
    finding = examine(IMAGE, evidence(site().sign(IMAGE)), replace(keyless(), _verifier=other))
    assert finding == Finding(False, "cosign 3 bundle: its envelope is ambiguous")


def test_an_address_is_an_identity() -> None:
    made = evidence(site().sign(IMAGE, site().certify("build@corp.example", "https://login.example")))
    proven = examine(IMAGE, made, keyless("*@corp.example", "https://login.example"))
    assert proven.fact == "cosign 3 bundle, by build@corp.example (https://login.example)"


@pytest.mark.parametrize(
    ("root", "wrong"),
    [
        (b"", "is not a trusted root"),
        (b"{}", "is not a trusted root: 4 validation errors for TrustedRoot: mediaType: Field required"),
        (Sigstore().trusted_root(tlogs=[]), "trusted root contains no transparency log instances"),
        (Sigstore().trusted_root(ctlogs=[]), "is a trusted root without a log of certificates"),
        (Sigstore().trusted_root(certificateAuthorities=[]), "Fulcio certificates not found"),
    ],
)
def test_a_file_that_is_not_a_trusted_root_is_rejected(root: bytes, wrong: str) -> None:
    with pytest.raises(GrammarError, match=wrong):
        Keyless.of([PATTERN], ISSUER, root)


def test_nothing_is_asked_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", connect)
    fresh = Keyless.of([PATTERN], ISSUER, site().trusted_root())
    assert examine(IMAGE, evidence(site().sign(IMAGE)), fresh).proven


def test_the_package_is_loaded_only_if_a_spec_needs_it() -> None:
    code = "import sys, mirrorsync, mirrorsync.app.specs; assert not {'sigstore', 'cryptography'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
