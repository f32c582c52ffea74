"""Referrers: by the API of distribution spec 1.1, or by the fallback tag if a registry does not have that API."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from mirrorsync.errors import BlobsUnknown, GrammarError, IntegrityError, Malformed, MirrorsyncError, RegistryFailure
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.registry.bounds import MAX_DESCRIPTOR_BYTES
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import MAX_PAGE_BYTES, Request
from mirrorsync.stores.registry.pages import document, pages

# Answers that mean that the API does not exist: GHCR answers 404 or redirects to a web page (which is not followed: it
# has rate limits of its own, artifacthub#4785), others reject the method or the path.
_NO_API: Final = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 501})

_EMPTY: Final[Mapping[str, Any]] = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": ()}
# How often a list is merged again, because another client has changed it in the meantime.
_MERGES: Final = 5


class Tags(Protocol):
    """The tags of one repository, which lists of referrers are kept under."""

    async def resolve(self, ref: Tag | Digest) -> Descriptor | None:
        """Return the descriptor that a tag or digest names, None if it is missing."""

    async def fetch(self, ref: Tag | Digest) -> Manifest | None:
        """Get a manifest, None if it is missing. Raises: IntegrityError, Malformed, RegistryFailure."""

    async def put(self, manifest: Manifest, ref: Tag | Digest) -> None:
        """Store a manifest under its digest or a tag. Raises: BlobsUnknown, MirrorsyncError."""


class Referrers:
    """The referrers of one repository. repository: the URL of its API. tags: its tags."""

    def __init__(self, client: Client, repository: str, scopes: tuple[str, ...], tags: Tags) -> None:
        self._client = client
        self._repository = repository
        self._scopes = scopes
        self._tags = tags
        self._has_api: bool | None = None  # None: not known
        # Two concurrent writers of one subject's list would each write it without the other's entry.
        self._writing: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, subject: Digest) -> list[Descriptor]:
        """Return the manifests whose subject has that digest, each once: from the API, otherwise from the tag."""
        listed = await self._from_api(subject)
        if listed is None:
            index = await self._fallback(subject)
            listed = list(index.children) if index is not None else []
        return list({descriptor.digest: descriptor for descriptor in listed}.values())

    async def add(self, manifest: Manifest) -> None:
        """Add a manifest to the fallback tag of its subject, since the registry sent no OCI-Subject header.

        Nothing is written if the registry has the referrers API all the same (a gateway may drop the header), or if the
        manifest is listed already. Entries of other clients are kept. Raises: RegistryFailure if other clients change
        the list all the time, or if the tag is an image's.
        """
        if manifest.subject is None:
            return
        subject = manifest.subject.digest
        async with self._writing[subject]:
            if self._has_api is None:
                self._has_api = await self._from_api(subject) is not None
            if not self._has_api:
                await self._merge(manifest.as_referrer(), fallback_tag(subject))

    async def _merge(self, referrer: Descriptor, tag: Tag) -> None:
        for _ in range(_MERGES):
            before = await self._tags.fetch(tag)
            if before is not None and before.media_type not in media_types.INDEXES:
                raise RegistryFailure(
                    f"the tag {tag} is an image, and the list of referrers belongs there",
                    remedy="give the image another tag, and delete this one",
                )
            if before is not None and any(child.digest == referrer.digest for child in before.children):
                return
            present = await self._tags.resolve(tag)
            if (present and present.digest) != (before and before.digest):
                continue
            await self._write(before, referrer, tag)
            return
        raise RegistryFailure(
            f"the list of referrers {tag} was changed {_MERGES} times while it was merged", remedy="run it again"
        )

    async def _write(self, before: Manifest | None, referrer: Descriptor, tag: Tag) -> None:
        document = json.loads(before.raw) if before is not None else dict(_EMPTY)
        entries = document["manifests"]
        try:
            await self._tags.put(_index({**document, "manifests": [*entries, referrer.to_json()]}), tag)
        except BlobsUnknown:
            # Registries reject a list with a referrer that was deleted, which stays in the list nevertheless.
            there = [entry for entry in entries if await self._tags.resolve(Digest(entry["digest"])) is not None]
            if len(there) == len(entries):
                raise
            await self._tags.put(_index({**document, "manifests": [*there, referrer.to_json()]}), tag)

    async def _from_api(self, subject: Digest) -> list[Descriptor] | None:
        doing = f"asking for referrers of {subject.short}"
        url = f"{self._repository}/referrers/{subject}"
        request = Request("GET", url, self._scopes, limit=MAX_PAGE_BYTES, known=_NO_API, stays=True)
        found: list[Descriptor] = []
        async for answer in pages(self._client, request, doing, limit=MAX_DESCRIPTOR_BYTES):
            if not answer.ok or answer.media_type != media_types.OCI_INDEX:
                return None
            found += _descriptors(document(answer, doing), doing)
        return found

    async def _fallback(self, subject: Digest) -> Manifest | None:
        try:
            index = await self._tags.fetch(fallback_tag(subject))
        except (IntegrityError, Malformed):
            return None  # another kind of content has that tag
        return index if index is not None and index.media_type in media_types.INDEXES else None


def fallback_tag(subject: Digest) -> Tag:
    """Return the tag of distribution spec 1.1, "Referrers Tag Schema": algorithm and digest, cut to 32 and 64."""
    return Tag(f"{subject.algorithm[:32]}-{subject.encoded[:64]}")


def _descriptors(index: dict[str, Any], doing: str) -> Sequence[Descriptor]:
    listed = index.get("manifests")
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise RegistryFailure(f"{doing}: the answer is not an index")
    try:
        return [Descriptor.from_json(entry) for entry in listed]
    except GrammarError as error:
        raise RegistryFailure(f"{doing}: {error.message}") from error


def _index(document: dict[str, Any]) -> Manifest:
    try:
        return Manifest.parse(json.dumps(document, separators=(",", ":")).encode(), media_types.OCI_INDEX)
    except Malformed as error:
        raise MirrorsyncError(f"the list of referrers is too large: {error.message}") from error
