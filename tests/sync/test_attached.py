"""Attachments of an image: found by both ways, and their kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.referrer_types import kind_of
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.sync.gather.attached import Attachment, attached
from tests.parts.images import artifact, image
from tests.sync.in_memory import fill


@pytest.mark.parametrize(
    ("artifact_type", "kind"),
    [
        ("application/vnd.cncf.notary.signature", "signature"),
        ("application/vnd.dev.cosign.artifact.sig.v1+json", "signature"),
        ("application/vnd.in-toto+json", "attestation"),
        ("application/vnd.dev.cosign.attestation.v1", "attestation"),
        ("application/spdx+json", "sbom"),
        ("application/vnd.cyclonedx+json", "sbom"),
        ("application/vnd.syft+json", "sbom"),
        ("application/vnd.example.SBOM", "sbom"),
        ("application/vnd.example.scan", "other"),
        ("", "other"),
    ],
)
def test_the_kind_is_read_from_the_artifact_type(artifact_type: str, kind: str) -> None:
    assert kind_of(Descriptor("a/b", Digest.of(b""), 0, artifact_type=artifact_type)) == kind


@pytest.mark.parametrize(
    ("content", "kind"), [("dsse-envelope", "attestation"), ("message-signature", "signature"), ("", "other")]
)
def test_the_kind_of_a_sigstore_bundle_is_read_from_its_annotations(content: str, kind: str) -> None:
    bundle = Descriptor(
        "a/b",
        Digest.of(b""),
        0,
        artifact_type="application/vnd.dev.sigstore.bundle.v0.3+json",
        annotations={"dev.sigstore.bundle.content": content},
    )
    assert kind_of(bundle) == kind


SIGNED = image([b"signed"])
NAME = SIGNED.digest.replace(":", "-")


@pytest.mark.parametrize("known", [True, False])
def test_referrers_and_cosigns_tags_are_found_with_and_without_a_list_of_tags(known: bool) -> None:
    store = MemoryStore()
    fill(store, "app", "1", SIGNED)
    sbom = artifact(SIGNED, b"sbom")
    fill(store, "app", "sbom", sbom)
    for suffix in ("sig", "att", "sbom"):
        fill(store, "app", f"{NAME}.{suffix}", image([suffix.encode()]))
    fill(store, "app", f"{image([b'other']).digest.replace(':', '-')}.sig", image([b"of another"]))

    async def found(tags: Collection[Tag] | None) -> tuple[Attachment, ...]:
        return await attached(store.repository("app"), Digest(SIGNED.digest), tags)

    tags = [Tag(f"{NAME}.{suffix}") for suffix in ("sig", "att", "sbom")] if known else None
    assert [(one.kind, one.tag, str(one.content.digest)) for one in asyncio.run(found(tags))] == [
        ("sbom", None, sbom.digest),
        ("signature", f"{NAME}.sig", image([b"sig"]).digest),
        ("attestation", f"{NAME}.att", image([b"att"]).digest),
        ("sbom", f"{NAME}.sbom", image([b"sbom"]).digest),
    ]
