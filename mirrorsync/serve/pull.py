"""The reading half of the distribution API: manifests, blobs, tags, referrers, the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from mirrorsync.errors import ContentNotFound, GrammarError, IntegrityError, Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES
from mirrorsync.oci.names import check_repository, is_repository
from mirrorsync.oci.ref import Tag, ref_type
from mirrorsync.serve.answers import document
from mirrorsync.serve.refusals import Refusal, unknown_blob
from mirrorsync.serve.sending import send
from mirrorsync.serve.shown import Shown
from mirrorsync.stores.base import Combined, Repository, Store, WritableRepository

_MAX_DIGITS: Final = 18  # of the number of names on a page


class Pull:
    """Handlers of GET and HEAD over a store. shown: which of its names are answered."""

    def __init__(self, store: Store, shown: Shown) -> None:
        self._store = store
        self._shown = shown

    async def version(self, _: web.Request) -> web.StreamResponse:
        """GET /v2/: this is a registry."""
        return document({}, headers={"Docker-Distribution-API-Version": "registry/2.0"})

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD of a manifest by tag or digest."""
        repository = repository_of(self._store, request)
        ref = reference_of(request)
        descriptor = await self._shown.resolve(repository, ref)
        if descriptor is None:
            raise ContentNotFound(f"{'manifest' if isinstance(ref, Digest) else 'tag'} {ref} not found")
        headers = {
            "Content-Type": descriptor.media_type,
            "Docker-Content-Digest": descriptor.digest,
            "ETag": f'"{descriptor.digest}"',
        }
        if _known(request, descriptor.digest):
            return web.Response(status=304, headers=headers)
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(descriptor.size)})
        try:
            manifest = await repository.manifest(descriptor)
        except (IntegrityError, Malformed) as error:
            raise _damaged(descriptor.digest) from error
        return web.Response(body=manifest.raw, headers=headers)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD of a blob, whole or a range of it."""
        repository: Repository = repository_of(self._store, request)
        digest = digest_of(request.match_info["digest"])
        if isinstance(repository, Combined):
            repository = await repository.holder(digest) or repository
        blob = await repository.blob(digest)
        if blob is None:
            raise unknown_blob(digest)
        headers = {
            "Content-Type": media_types.ANY_BYTES,
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }
        if _known(request, digest):
            return web.Response(status=304, headers=headers)
        return await send(request, repository, blob, headers)

    async def tags(self, request: web.Request) -> web.StreamResponse:
        """GET of the list of tags, in pages."""
        repository = repository_of(self._store, request)
        page, link = _page(request, sorted([tag async for tag in self._shown.tags(repository)]))
        return document({"name": repository.name, "tags": page}, headers=link)

    async def catalog(self, request: web.Request) -> web.StreamResponse:
        """GET of the names of all repositories, in pages."""
        names = sorted([name async for name in self._shown.repositories() if is_repository(name)])
        page, link = _page(request, names)
        return document({"repositories": page}, headers=link)

    async def referrers(self, request: web.Request) -> web.StreamResponse:
        """GET of an index of all manifests with a subject, filtered by artifactType if requested."""
        repository = repository_of(self._store, request)
        subject = digest_of(request.match_info["digest"])
        try:
            found: Iterable[Descriptor] = await self._shown.referrers(repository, subject)
        except (IntegrityError, Malformed) as error:
            raise _damaged(subject) from error
        headers = {}
        if wanted := request.query.get("artifactType"):
            found = [descriptor for descriptor in found if descriptor.artifact_type == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        manifests, size = [], 0
        for descriptor in found:
            manifests.append(descriptor.to_json())
            size += len(json.dumps(manifests[-1]))
            if size > MAX_MANIFEST_BYTES:
                raise Refusal(507, "DENIED", "the referrers do not fit into one index")
        index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests}
        return document(index, media_type=media_types.OCI_INDEX, headers=headers)


def repository_of(store: Store, request: web.Request) -> WritableRepository:
    """Return the repository that a request is for. Raises: Refusal if its name breaks the grammar."""
    try:
        return store.repository(check_repository(request.match_info["name"]))
    except GrammarError as error:
        raise Refusal(400, "NAME_INVALID", error.message) from error


def reference_of(request: web.Request) -> Tag | Digest:
    """Return the tag or digest that a request is for. Raises: Refusal if it is neither."""
    text = request.match_info["reference"]
    return digest_of(text) if ref_type(text) is Digest else tag_of(text)


def tag_of(text: str) -> Tag:
    """Return a tag of a request. Raises: Refusal."""
    try:
        return Tag(text)
    except GrammarError as error:
        raise Refusal(400, "TAG_INVALID", error.message) from error


def digest_of(text: str) -> Digest:
    """Return a digest of a request. Raises: Refusal."""
    try:
        return Digest(text)
    except GrammarError as error:
        raise Refusal(400, "DIGEST_INVALID", error.message) from error


def _page(request: web.Request, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return one page of sorted names, and the Link to the next (distribution spec, "Listing Tags")."""
    last = request.query.get("last")
    rest = [name for name in names if name > last] if last is not None else names
    wanted = request.query.get("n", "")
    if not wanted:
        return rest, {}
    if not (wanted.isascii() and wanted.isdigit()) or len(wanted) > _MAX_DIGITS:
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n is not a number")
    page = rest[: int(wanted)]
    if len(page) == len(rest) or not page:
        return page, {}
    query = urlencode({"n": wanted, "last": page[-1]})
    return page, {"Link": f'<{request.path}?{query}>; rel="next"'}


def _known(request: web.Request, digest: Digest) -> bool:
    """Return whether the client already has this content, by its If-None-Match."""
    return any(tag.value in ("*", digest) for tag in request.if_none_match or ())


def _damaged(digest: Digest) -> Refusal:
    return Refusal(500, "UNKNOWN", f"the stored content of {digest} is damaged")
