"""Signatures that the real cosign wrote (tests/trust/real): ours decides on them as cosign does, or more strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.referrer_types import kind_of
from mirrorsync.trust.cosign import examine
from mirrorsync.trust.evidence import Bundle, Evidence, SimpleSigning
from mirrorsync.trust.keyless import Keyless
from mirrorsync.trust.keys import Keys, PublicKey
from tests.parts.cosign import SIMPLE_SIGNING
from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import OCI_EMPTY, Image, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.sigstore import IDENTITY, ISSUER, other_bytes
from tests.parts.wire import Registry

REAL: dict[str, Any] = json.loads((Path(__file__).parent / "real" / "signatures.json").read_bytes())
OTHER = Digest.of(b"another image")

SIGNED_2, SIGNED_3 = "cosign 2 signature, by ", "cosign 3 bundle, by "
# What proves each image that is signed: the keys that have signed it, each with the form.
PROVEN = {
    "2": {"site": SIGNED_2},
    "2-annotations": {"site": SIGNED_2},
    "2-certificate": {"certified": SIGNED_2},
    "2-docker-types": {"site": SIGNED_2},
    "2-ed25519": {"ed25519": SIGNED_2},
    "2-index": {"site": SIGNED_2},
    "2-p384": {"p384": SIGNED_2},
    "2-p521": {"p521": SIGNED_2},
    "2-referrer": {"site": SIGNED_2},
    "2-rsa": {"rsa": SIGNED_2},
    "2-signed-and-attested": {"site": SIGNED_2},
    "2-signers": {"site": SIGNED_2, "ed25519": SIGNED_2},
    "2-whole-index": {"site": SIGNED_2},
    "3": {"next": SIGNED_3},
    "3-annotations": {"next": SIGNED_3},
    "3-index": {"next": SIGNED_3},
    "3-no-services": {"next": SIGNED_3},
    "3-old-form": {"next": SIGNED_2},
    "3-p384": {"p384": SIGNED_3},
    "3-p521": {"p521": SIGNED_3},
    "3-rsa": {"rsa": SIGNED_3},
    "3-signed-and-attested": {"next": SIGNED_3},
    "3-signers": {"next": SIGNED_3, "rsa": SIGNED_3},
    "both-forms": {"site": SIGNED_2, "next": SIGNED_3},
    "2-keyless": {"identity": SIGNED_2},
    "3-keyless": {"identity": SIGNED_3},
    "3-keyless-rekor2": {"identity": SIGNED_3},
}
# Why the others are not. An attestation is no signature, which `cosign verify` of cosign 3 does not distinguish.
REFUSED = {
    "2-attested": "no signature found",
    "2-attested-bundle": "it is an attestation (https://cosign.sigstore.dev/attestation/v1), and not a signature",
    "3-attested": "it is an attestation (https://cosign.sigstore.dev/attestation/v1), and not a signature",
    "3-certificate": "it names no public key, and has a certificate instead",
    "3-ed25519": "it names the key ed25519.pub, which does not verify it: cosign 3 signs with Ed25519ph",
    "3-keyless-attested": "it is an attestation (https://cosign.sigstore.dev/attestation/v1), and not a signature",
    "unsigned": "no signature found",
}
ATTESTED = {name for name, why in REFUSED.items() if "attestation" in why}


def images() -> list[str]:
    """Return the tags of the images, without those of their signatures."""
    return [tag for tag in REAL["tags"] if not tag.startswith("sha256-")]


@cache
def keys(*names: str) -> Keys:
    return Keys(tuple(PublicKey.parse(REAL["public_keys"][name].encode(), f"{name}.pub") for name in names))


@cache
def keyless(root: str = "trusted_root") -> Keyless:
    return Keyless.of([IDENTITY], ISSUER, json.dumps(REAL[root]).encode())


def signers(*names: str) -> Keys | Keyless:
    return keyless() if "identity" in names else keys(*(names or REAL["public_keys"]))


def signatures(digest: str) -> Iterator[SimpleSigning | Bundle]:
    """Return what cosign attached to a manifest: the referrers, and the image under the tag for signatures."""
    tag = REAL["tags"].get(f"{digest.replace(':', '-')}.sig")
    for key, raw in REAL["manifests"].items():
        document = json.loads(raw)
        if key == tag or document.get("subject", {}).get("digest") == digest:
            for layer in document["layers"]:
                text, noted = REAL["blobs"][layer["digest"]].encode(), layer.get("annotations", {})
                if layer["mediaType"] == SIMPLE_SIGNING:
                    cosign = "dev.cosignproject.cosign/signature"
                    names = (cosign, "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle")
                    yield SimpleSigning(text, *(noted.get(name) for name in names))
                else:
                    yield Bundle(text)


def evidence(found: Sequence[SimpleSigning | Bundle]) -> Evidence:
    return Evidence(tuple(found), absent="")


def changed(one: SimpleSigning | Bundle) -> SimpleSigning | Bundle:
    """Return a signature with one bit changed, as base64 of the same length."""
    if isinstance(one, SimpleSigning):
        return replace(one, signature=other_bytes(str(one.signature)))
    document = json.loads(one.raw)
    (signature,) = document["dsseEnvelope"]["signatures"]
    signature["sig"] = other_bytes(signature["sig"])
    return Bundle(json.dumps(document).encode())


def test_every_image_is_expected_to_be_proven_or_refused() -> None:
    assert sorted(images()) == sorted([*PROVEN, *REFUSED])


@pytest.mark.parametrize("tag", PROVEN)
def test_what_cosign_signed_is_proven_by_exactly_its_keys(tag: str) -> None:
    digest = REAL["tags"][tag]
    found = list(signatures(digest))
    image = Digest(digest)
    for name in [*REAL["public_keys"], "identity"]:
        finding = examine(image, evidence(found), signers(name))
        assert finding.proven == (name in PROVEN[tag]), (name, finding)
        if finding.proven:
            assert finding.fact.startswith(PROVEN[tag][name])
            assert f"it signs another image, {digest}" in examine(OTHER, evidence(found), signers(name)).fact
            assert not examine(image, evidence([changed(one) for one in found]), signers(name)).proven


@pytest.mark.parametrize("tag", REFUSED)
def test_what_is_not_a_signature_of_the_image_is_refused(tag: str) -> None:
    digest = REAL["tags"][tag]
    for names in ([], ["identity"]) if tag == "unsigned" else (["identity"] if "keyless" in tag else [],):
        finding = examine(Digest(digest), evidence(list(signatures(digest))), signers(*names))
        assert not finding.proven
        assert REFUSED[tag] in finding.fact


@pytest.mark.parametrize("tag", [tag for tag in PROVEN if "keyless" in tag])
def test_the_trusted_root_that_cosign_2_creates_proves_the_same(tag: str) -> None:
    digest = REAL["tags"][tag]
    assert examine(Digest(digest), evidence(list(signatures(digest))), keyless("trusted_root_2")).proven


def test_a_log_with_a_single_entry_has_a_proof_without_hashes() -> None:
    """cosign leaves out what is zero or empty: here it is the index of the entry, and this is the list of hashes."""
    (bundle,) = (json.loads(one.raw) for one in signatures(REAL["tags"]["3-keyless"]) if isinstance(one, Bundle))
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"]
    finding = examine(Digest(REAL["tags"]["3-keyless"]), evidence([Bundle(json.dumps(bundle).encode())]), keyless())
    assert "Field required" not in finding.fact  # it is read, and is no proof for a log of two entries
    assert "inclusion proof" in finding.fact


@pytest.mark.parametrize("tag", ["2-index", "3-index"])
def test_a_recursive_signature_proves_each_image_of_an_index(tag: str) -> None:
    index = json.loads(REAL["manifests"][REAL["tags"][tag]])
    whole = list(signatures(REAL["tags"][tag]))
    for child in index["manifests"]:
        image = Digest(child["digest"])
        assert examine(image, evidence(list(signatures(child["digest"]))), keys("site", "next")).proven
        assert not examine(image, evidence(whole), keys("site", "next")).proven


def test_cosign_verifies_everything_that_is_proven() -> None:
    """By one of its versions, and with an option for curves, for images with two forms, and for the first referrers."""
    for tag, by in PROVEN.items():
        assert REAL["verified"][tag].keys() == by.keys(), tag
    accepted = {tag for tag in REFUSED if REAL["verified"][tag]}
    assert accepted == ATTESTED
    with_option = {tag for tag, by in REAL["verified"].items() for versions in by.values() if any(versions.values())}
    assert with_option == {"2-referrer", "3-p384", "3-p521", "both-forms"}


@pytest.mark.parametrize(
    ("tag", "kinds"),
    [
        ("2-referrer", ["signature"]),
        ("2-attested-bundle", ["attestation"]),
        ("3", ["signature"]),
        ("3-attested", ["attestation"]),
        ("3-keyless", ["signature"]),
        ("3-signed-and-attested", ["attestation", "signature"]),
    ],
)
def test_the_kind_of_a_referrer_is_what_cosign_has_made(tag: str, kinds: list[str]) -> None:
    manifests = [Manifest.parse(raw.encode()) for raw in REAL["manifests"].values()]
    found = [one for one in manifests if one.subject and one.subject.digest == REAL["tags"][tag]]
    assert sorted(kind_of(one.as_referrer()) for one in found) == kinds


def test_inspect_shows_the_kind_although_the_list_of_cosign_names_another_type(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    digest = REAL["tags"]["3-signed-and-attested"]
    listed = _image(REAL["tags"][digest.replace(":", "-")])
    assert {one["artifactType"] for one in json.loads(listed.raw)["manifests"]} == {OCI_EMPTY}
    for made, tag in ((_image(digest), "1"), (listed, digest.replace(":", "-"))):
        Registry(registry.host).push(f"{unique}/app", made, tag)
    found = mirrorsync("inspect", "--tls-verify=false", "--json", f"{registry.host}/{unique}/app:1", code=0).json()
    assert sorted(one["kind"] for one in found["attached"]) == ["attestation", "signature"]


def test_what_is_mirrored_with_verify_is_proven_where_it_arrives(mirrorsync: Mirrorsync) -> None:
    names = {digest: tag for tag, digest in REAL["tags"].items()}
    write_layout(mirrorsync.directory / "in", {tag: _image(digest) for digest, tag in names.items()})
    files = []
    for name, pem in REAL["public_keys"].items():
        files.append(str(mirrorsync.directory / f"{name}.pub"))
        Path(files[-1]).write_text(pem)
    tags = {"glob": ["[2b3u]*"], "exclude": ["*keyless*"]}
    mirror = {"from": "oci:in:", "referrers": True, "tags": tags, "verify": {"cosign": {"key": files}}}
    mirrorsync.spec({"destinations": {"out": "oci:out"}, "mirrors": [mirror]})
    done = mirrorsync("apply", "--json", code=3).json()
    refused = {failure["followed"]: failure["error"]["message"] for failure in done["failures"]}
    assert refused.keys() == {tag for tag in REFUSED if "keyless" not in tag}
    assert all(REFUSED[tag].replace("ed25519.pub", files[-2]) in message for tag, message in refused.items())
    document = valid(mirrorsync("verify", "--trust", "--json", code=0).json(), "verification")
    found = {one["ref"]: one["trust"] for one in document["images"] if one["trust"]}
    assert found.keys() == {tag for tag in PROVEN if "keyless" not in tag}
    assert all(one["fact"].startswith(tuple(PROVEN[tag].values())) for tag, one in found.items())


def _image(digest: str) -> Image:
    """Return a manifest with everything that it needs."""
    raw = REAL["manifests"][digest].encode()
    document = json.loads(raw)
    children = [_image(child["digest"]) for child in document.get("manifests", [])]
    blobs = [] if children else [document["config"], *document["layers"]]
    return Image(
        document.get("mediaType", OCI_EMPTY),
        raw,
        {blob["digest"]: REAL["blobs"][blob["digest"]].encode() for blob in blobs},
        children,
    )
