"""Referrers that are mirrored with an image: signatures, SBOMs and attestations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import COSIGN_SUFFIXES
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.plan.model import Origin
from mirrorsync.sync.gather.attached import attached
from mirrorsync.sync.session import Session

_DEPTH: Final = 4  # an SBOM that is signed, with an attestation of the signature: deeper ones are not known


async def referring(
    session: Session, source: Location, root: Descriptor
) -> AsyncIterator[tuple[Tag | None, Descriptor]]:
    """Yield the referrers of an image and its children, each once: its tag (None without one) and its root.

    They are listed by the referrers API of the distribution spec 1.1 (or its fallback tag); cosign's older signatures
    are images under tags that contain the digest of their subject.
    """
    repository = session.repository(source)
    seen: set[Digest] = set()
    waiting = [(root, 1)]
    while waiting:
        content, depth = waiting.pop()
        if content.digest in seen:
            continue
        seen.add(content.digest)
        check_bounds(1, len(seen))
        manifest = await session.manifest(source, content)
        waiting += [(child, depth) for child in manifest.children]
        for attachment in await attached(repository, content.digest) if depth <= _DEPTH else ():
            if attachment.content.digest not in seen:
                waiting.append((attachment.content, depth + 1))
                yield attachment.tag, attachment.content.bare()


def may_be_referrer(tag: str | None, origin: Origin) -> bool:
    """Return whether an image may be a referrer of another: it has no tag, or one of cosign's."""
    if tag is None:
        return origin.followed is None
    return tag == origin.followed and tag.endswith(COSIGN_SUFFIXES)
