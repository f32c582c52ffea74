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

from mirrorsync.errors import GrammarError
from mirrorsync.oci.digest import Digest
from mirrorsync.trust.cosign import examine
from mirrorsync.trust.evidence import Bundle, Evidence, SimpleSigning
from mirrorsync.trust.keyless import Keyless
from tests.parts import cosign
from tests.parts.cosign import encoded, make_key, payload, statement
from tests.parts.sigstore import (
    IDENTITY,
    ISSUER,
    LIFETIME,
    SIGNED_AT,
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


def legacy(*, certified: bool) -> SimpleSigning:
    text = payload(IMAGE)
    return SimpleSigning(text, encoded(site().certify().sign(text)), certified)


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
    Case("keyless: signature of the manifest itself", lambda: site().sign_message(MANIFEST), True, f"by {IDENTITY}"),
    Case(
        "keyless: signature of another manifest",
        lambda: site().sign_message(b"another image"),
        False,
        "it signs other content than the image's manifest",
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
    Case("keyless: cosign 2, signed with a key", lambda: legacy(certified=False), False, "it was made with a key"),
    Case("keyless: cosign 2, keyless", lambda: legacy(certified=True), False, "keyless in the form of cosign 2"),
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
