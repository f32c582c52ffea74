"""Referrers: by the API of distribution spec 1.1, or by the fallback tag if a registry does not have that API."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from mirrorsync.errors import GrammarError, IntegrityError, Malformed, MirrorsyncError, RegistryFailure
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

ReadTag = Callable[[Tag], Awaitable[Manifest | None]]
WriteTag = Callable[[Manifest, Tag], Awaitable[None]]


class Referrers:
    """The referrers of one repository. repository: the URL of its API. read_tag, write_tag: get and set its tags."""

    def __init__(
        self, client: Client, repository: str, scopes: tuple[str, ...], read_tag: ReadTag, write_tag: WriteTag
    ) -> None:
        self._client = client
        self._repository = repository
        self._scopes = scopes
        self._read_tag = read_tag
        self._write_tag = write_tag
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
        """Add a manifest to the fallback tag of its subject, since the registry sent no OCI-Subject header."""
        if manifest.subject is None:
            return
        subject = manifest.subject.digest
        async with self._writing[subject]:
            index = await self._fallback(subject)
            listed = list(index.children) if index is not None else []
            if any(descriptor.digest == manifest.digest for descriptor in listed):
                return
            listed.append(manifest.as_referrer())
            await self._write_tag(_index(listed), fallback_tag(subject))

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
            index = await self._read_tag(fallback_tag(subject))
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


def _index(manifests: Sequence[Descriptor]) -> Manifest:
    content = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [descriptor.to_json() for descriptor in manifests],
    }
    try:
        return Manifest.parse(json.dumps(content, separators=(",", ":")).encode())
    except Malformed as error:
        raise MirrorsyncError(f"the list of referrers is too large: {error.message}") from error
