"""Attachments of an image: signatures, SBOMs and attestations in the same repository."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import COSIGN_SUFFIXES, cosign_tag
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Repository

Kind = Literal["signature", "sbom", "attestation", "other"]

_BY_SUFFIX: Final[dict[str, Kind]] = {".sig": "signature", ".att": "attestation", ".sbom": "sbom"}
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
# A sigstore bundle is either; cosign writes which into the referrer's annotations (sigstore/cosign, BUNDLE_SPEC.md).
_BUNDLE: Final = "vnd.dev.sigstore.bundle"
_BUNDLE_CONTENT: Final = "dev.sigstore.bundle.content"
_BY_BUNDLE_CONTENT: Final[dict[str, Kind]] = {"message-signature": "signature", "dsse-envelope": "attestation"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something that is attached to `subject`. tag: cosign's tag for it, None for a referrer."""

    kind: Kind
    content: Descriptor
    subject: Digest
    tag: Tag | None = None

    @property
    def artifact_type(self) -> str:
        """Its artifact type, "" if the repository does not report one."""
        return self.content.artifact_type


async def attached(
    repository: Repository, subject: Digest, tags: Collection[Tag] | None = None
) -> tuple[Attachment, ...]:
    """Return the attachments of a manifest: its referrers, and the manifests under cosign's tags for it.

    tags: those of the repository, if they are known; None = resolve cosign's tags. Raises: MirrorsyncError.
    """
    named = [(suffix, cosign_tag(subject, suffix)) for suffix in COSIGN_SUFFIXES]
    asked = [(suffix, tag) for suffix, tag in named if tags is None or tag in tags]
    by_subject = [Attachment(kind_of(content), content, subject) for content in await repository.referrers(subject)]
    found = await asyncio.gather(*(repository.resolve(tag) for _, tag in asked))
    by_tag = [
        Attachment(_BY_SUFFIX[suffix], content, subject, tag)
        for (suffix, tag), content in zip(asked, found, strict=True)
        if content is not None
    ]
    return (*by_subject, *by_tag)


def kind_of(referrer: Descriptor) -> Kind:
    """Return the kind of a referrer, by its artifact type."""
    artifact_type = referrer.artifact_type.lower()
    if _BUNDLE in artifact_type:
        return _BY_BUNDLE_CONTENT.get(referrer.annotations.get(_BUNDLE_CONTENT, ""), "other")
    return next((kind for word, kind in _BY_WORD if word in artifact_type), "other")
