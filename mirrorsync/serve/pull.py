"""The reading half of the distribution API: manifests, blobs, tags, referrers, the catalog."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from mirrorsync.errors import ContentNotFound, GrammarError, NotFound
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES
from mirrorsync.oci.reference import check_repository, check_tag
from mirrorsync.serve.refusals import Refusal, unknown_blob
from mirrorsync.stores.base import BlobFiles, Repository, Store, WritableRepository


class Pull:
    """Handlers of GET and HEAD over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def version(self, _: web.Request) -> web.StreamResponse:
        """GET /v2/: yes, this is a registry."""
        return web.json_response({}, headers={"Docker-Distribution-API-Version": "registry/2.0"})

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD of a manifest by tag or digest."""
        repository = repository_of(self._store, request)
        reference = reference_of(request)
        descriptor = await repository.resolve(reference)
        if descriptor is None:
            raise ContentNotFound(f"there is no {'manifest' if ':' in reference else 'tag'} {reference}")
        headers = {
            "Content-Type": descriptor.media_type,
            "Docker-Content-Digest": descriptor.digest,
            "ETag": f'"{descriptor.digest}"',
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(descriptor.size)})
        return web.Response(body=(await repository.manifest(descriptor)).raw, headers=headers)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD of a blob, whole or a range of it."""
        repository = repository_of(self._store, request)
        digest = digest_of(request.match_info["digest"])
        blob = await repository.blob(digest)
        if blob is None:
            raise unknown_blob(digest)
        headers = {"Content-Type": media_types.ANY_BYTES, "Docker-Content-Digest": digest}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(blob.size), "Accept-Ranges": "bytes"})
        if isinstance(repository, BlobFiles):
            return _file(repository, blob, headers)
        return await _send_chunks(request, repository, blob, headers)

    async def tags(self, request: web.Request) -> web.StreamResponse:
        """GET of the list of tags, in pages."""
        repository = repository_of(self._store, request)
        page, link = _page(request, sorted([tag async for tag in repository.tags()]))
        return web.json_response({"name": repository.name, "tags": page}, headers=link)

    async def catalog(self, request: web.Request) -> web.StreamResponse:
        """GET of the names of all repositories, in pages."""
        names = sorted([name async for name in self._store.repositories() if name])
        page, link = _page(request, names)
        return web.json_response({"repositories": page}, headers=link)

    async def referrers(self, request: web.Request) -> web.StreamResponse:
        """GET of an index of the manifests with a subject; all of them, filtered by artifactType when asked."""
        repository = repository_of(self._store, request)
        found: Iterable[Descriptor] = await repository.referrers(digest_of(request.match_info["digest"]))
        headers = {}
        if wanted := request.query.get("artifactType"):
            found = [descriptor for descriptor in found if descriptor.artifact_type == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        manifests, size = [], 0
        for descriptor in found:
            manifests.append(descriptor.to_json())
            size += len(json.dumps(manifests[-1]))
            if size > MAX_MANIFEST_BYTES:
                raise Refusal(507, "DENIED", "there are more referrers than one index holds")
        index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests}
        return web.Response(text=json.dumps(index), content_type=media_types.OCI_INDEX, headers=headers)


def repository_of(store: Store, request: web.Request) -> WritableRepository:
    """Return the repository that a request is for. Raises: Refusal when its name breaks the grammar."""
    try:
        return store.repository(check_repository(request.match_info["name"]))
    except GrammarError as error:
        raise Refusal(400, "NAME_INVALID", error.message) from error


def reference_of(request: web.Request) -> str:
    """Return the tag or digest that a request is for. Raises: Refusal when it is neither."""
    reference = request.match_info["reference"]
    if ":" in reference:
        return digest_of(reference)
    try:
        return check_tag(reference)
    except GrammarError as error:
        raise Refusal(400, "TAG_INVALID", error.message) from error


def digest_of(text: str) -> Digest:
    """Return a digest that a client wrote. Raises: Refusal."""
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
    if not (wanted.isascii() and wanted.isdigit()):
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n has to be a number")
    page = rest[: int(wanted[:9])]
    if len(page) == len(rest) or not page:
        return page, {}
    query = urlencode({"n": wanted, "last": page[-1]})
    return page, {"Link": f'<{request.path}?{query}>; rel="next"'}


class _OpenFile(web.FileResponse):
    """Sends the very file that was opened and checked, with sendfile; aiohttp does ranges and conditions."""

    def __init__(self, file: BinaryIO, headers: dict[str, str]) -> None:
        # aiohttp wants a path; a path of the layout would be looked up again, and could be a link by then.
        super().__init__(f"/proc/self/fd/{file.fileno()}", headers=headers)
        self._opened = file

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send everything, then close the file."""
        with self._opened:
            return await super().prepare(request)


def _file(repository: BlobFiles, blob: Descriptor, headers: dict[str, str]) -> web.StreamResponse:
    try:
        return _OpenFile(repository.open_file(blob), headers)
    except NotFound as error:
        raise unknown_blob(blob.digest) from error


async def _send_chunks(
    request: web.Request, repository: Repository, blob: Descriptor, headers: dict[str, str]
) -> web.StreamResponse:
    """Send a blob of a store without files, chunk by chunk."""
    start, end = _range(request, blob.size)
    response = web.StreamResponse(status=200 if "Range" not in request.headers else 206, headers=headers)
    response.content_length = end - start
    if response.status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    with repository.open(blob, start) as chunks:
        await response.prepare(request)
        left = end - start
        while left and (chunk := await asyncio.to_thread(_next, chunks)):
            await response.write(chunk[:left])
            left -= len(chunk[:left])
    with suppress(ConnectionError):
        await response.write_eof()
    return response


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, b"")


def _range(request: web.Request, size: int) -> tuple[int, int]:
    """Return the first byte and the one after the last that are asked for. Raises: Refusal when there are none."""
    try:
        start, end, _ = request.http_range.indices(size) if "Range" in request.headers else (0, size, 1)
    except ValueError:
        start, end = size, size
    if "Range" in request.headers and start >= end:
        raise Refusal(416, "RANGE_INVALID", f"the blob has {size} bytes")
    return start, end
