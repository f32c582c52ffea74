"""Referrers that are mirrored with an image: signatures, SBOMs and attestations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.names import COSIGN_SUFFIXES
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.oci.referrer_types import ReferrerType
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.plan.model import Origin
from mirrorsync.plan.policies import Referrers
from mirrorsync.sync.gather.attached import Attachment, attached
from mirrorsync.sync.session import Session

_DEPTH: Final = 4  # an SBOM that is signed, with an attestation of the signature: deeper ones are not known


@dataclass(frozen=True, slots=True)
class Referring:
    """One referrer of an image, at its source. subject: the manifest that it is about; tag: cosign's, or None."""

    subject: Digest
    tag: Tag | None
    root: Descriptor
    type: ReferrerType


@dataclass(frozen=True, slots=True)
class Referred:
    """The referrers of one image. behind: those of the whole index, if only some platforms of it are mirrored.

    found: those of what is mirrored, and their own, each after its subject.
    """

    found: tuple[Referring, ...] = ()
    behind: tuple[Referring, ...] = ()

    @property
    def types(self) -> tuple[ReferrerType, ...]:
        """The types that the image has at its source."""
        return tuple(one.type for one in (*self.found, *self.behind))

    def wanted(self, by: Referrers) -> tuple[Referring, ...]:
        """Return those that a mirror wants; not the signature of an SBOM that it does not want."""
        referrers = {one.root.digest for one in self.found}
        wanted: dict[Referring, None] = {}
        kept: set[Digest] = set()
        for one in self.found:
            if by.wants(one.type) and (one.subject not in referrers or one.subject in kept):
                kept.add(one.root.digest)
                wanted[one] = None
        return tuple(wanted)


async def referring(
    session: Session,
    source: Location,
    root: Descriptor,
    whole: Digest | None = None,
    left_out: frozenset[Digest] = frozenset(),
) -> Referred:
    """Return the referrers of an image and its children, each once.

    They are listed by the referrers API of the distribution spec 1.1 (or its fallback tag); cosign's older signatures
    are images under tags that contain the digest of their subject. Their manifests say what they are: GHCR's lists
    state other types. whole: the digest of the source's root, if `root` was chosen or made from it. left_out: the
    children that are not mirrored with it.
    """
    return await _Search(session, source, root, left_out).referred(whole)


class _Search:
    def __init__(self, session: Session, source: Location, root: Descriptor, left_out: frozenset[Digest]) -> None:
        self._session = session
        self._repository = session.repository(source)
        self._source = source
        self._root = root
        self._seen = set(left_out)

    async def referred(self, whole: Digest | None) -> Referred:
        behind = await self._of(whole) if whole is not None else ()
        # No source has an index that was made of some platforms, and so no referrers of it.
        made = whole is not None and self._root.media_type in media_types.INDEXES
        found: dict[tuple[Tag | None, Digest], Referring] = {}
        waiting = [(self._root, 1)]
        while waiting:
            content, depth = waiting.pop()
            if content.digest in self._seen:
                continue
            self._seen.add(content.digest)
            check_bounds(1, len(self._seen))
            manifest = await self._session.manifest(self._source, content)
            waiting += [(child, depth) for child in manifest.children]
            if depth > _DEPTH or (made and content.digest == self._root.digest):
                continue
            for one in await self._of(content.digest):
                if one.root.digest not in self._seen:
                    waiting.append((one.root, depth + 1))
                    found.setdefault((one.tag, one.root.digest), one)
        return Referred(tuple(found.values()), tuple(behind))

    async def _of(self, subject: Digest) -> list[Referring]:
        found = []
        for attachment in await attached(self._repository, subject):
            manifest = await self._session.manifest(self._source, attachment.content)
            if attachment.tag is not None or (manifest.subject is not None and manifest.subject.digest == subject):
                found.append(_referring(attachment, manifest))
        return found


def _referring(attachment: Attachment, manifest: Manifest) -> Referring:
    suffix = "" if attachment.tag is None else f".{attachment.tag.rpartition('.')[2]}"
    kind = ReferrerType.of(manifest.as_referrer(), suffix)
    return Referring(attachment.subject, attachment.tag, manifest.descriptor.bare(), kind)


def may_be_referrer(tag: str | None, origin: Origin) -> bool:
    """Return whether an image may be a referrer of another: it has no tag, or one of cosign's."""
    if tag is None:
        return origin.followed is None
    return tag == origin.followed and tag.endswith(COSIGN_SUFFIXES)
