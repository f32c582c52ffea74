"""Attachments of an image: signatures, SBOMs and attestations in the same repository."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import COSIGN_SUFFIXES, cosign_tag
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.referrer_types import BY_SUFFIX, Kind, kind_of
from mirrorsync.stores.base import Repository


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
        Attachment(BY_SUFFIX[suffix], content, subject, tag)
        for (suffix, tag), content in zip(asked, found, strict=True)
        if content is not None
    ]
    return (*by_subject, *by_tag)
