"""The writing half of the distribution API: uploads, mounts, manifests, deletion."""

from __future__ import annotations

import re

from aiohttp import web

from mirrorsync.errors import GrammarError, IntegrityError, Malformed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.names import check_repository
from mirrorsync.serve.bodies import body_of
from mirrorsync.serve.patience import Patience
from mirrorsync.serve.pull import digest_of, reference_of, repository_of, tag_of
from mirrorsync.serve.refusals import Refusal
from mirrorsync.serve.uploads import Upload, Uploads
from mirrorsync.stores.base import Store, WritableRepository

_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/.*)?")


class Push:
    """Handlers of POST, PATCH, PUT and DELETE over a store, and of the status of uploads."""

    def __init__(self, store: Store, uploads: Uploads, patience: Patience) -> None:
        self._store = store
        self._uploads = uploads
        self._patience = patience

    async def start(self, request: web.Request) -> web.StreamResponse:
        """POST: mount a blob, accept a whole blob, or open an upload."""
        repository = repository_of(self._store, request)
        if "mount" in request.query and await self._mounted(request, repository):
            return _created(repository, digest_of(request.query["mount"]))
        algorithm = request.query.get("digest-algorithm", "sha256")
        if algorithm not in ("sha256", "sha512"):
            raise Refusal(400, "DIGEST_INVALID", "digests are sha256 or sha512")
        digest = digest_of(request.query["digest"]) if "digest" in request.query else None
        self._store.lock()
        upload = self._uploads.begin(repository, algorithm, request.remote or "")
        if digest is None:
            return web.Response(status=202, headers=_progress(upload))
        async with self._uploads.alone(upload):
            return await self._closed(request, upload, digest)

    async def _mounted(self, request: web.Request, repository: WritableRepository) -> bool:
        digest, origin = digest_of(request.query["mount"]), request.query.get("from", "")
        if not origin and self._store.shares_blobs:
            origin = repository.name  # "from" may be left out: all repositories of the store share their blobs
        try:
            blob = await self._store.repository(check_repository(origin)).blob(digest)
        except GrammarError:
            return False
        return blob is not None and await repository.mount(blob, origin)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """GET: the progress of an upload."""
        return web.Response(status=204, headers=_progress(self._upload(request)))

    async def append(self, request: web.Request) -> web.StreamResponse:
        """PATCH: the next bytes of an upload; bytes out of order are rejected with 416."""
        upload = self._upload(request)
        async with self._uploads.alone(upload):
            _check_order(request, upload)
            await upload.append(body_of(request, self._patience))
            return web.Response(status=202, headers=_progress(upload))

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """PUT: the digest of an upload, with its last bytes, all of them, or an empty body."""
        upload = self._upload(request)
        if "digest" not in request.query:
            raise Refusal(400, "DIGEST_INVALID", "the digest is missing")
        digest = digest_of(request.query["digest"])
        async with self._uploads.alone(upload):
            _check_order(request, upload)
            return await self._closed(request, upload, digest)

    async def _closed(self, request: web.Request, upload: Upload, digest: Digest) -> web.StreamResponse:
        try:
            await upload.append(body_of(request, self._patience))
            await upload.finish(digest)
        finally:
            self._uploads.end(upload)
        return _created(upload.repository, digest)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """DELETE of an upload."""
        upload = self._upload(request)
        async with self._uploads.alone(upload):
            self._uploads.end(upload)
        return web.Response(status=204)

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """PUT of a manifest by tag, or by digest with or without tags; it is durable and visible before the answer."""
        repository = repository_of(self._store, request)
        ref = reference_of(request)
        asked = ref if isinstance(ref, Digest) else None
        # By its digest, a manifest can get any number of tags at once (distribution spec, end-7b): `?tag=1&tag=1.2`.
        tags = [tag_of(tag) for tag in request.query.getall("tag", [])] if isinstance(ref, Digest) else [ref]
        raw = bytearray()
        async for chunk in body_of(request, self._patience):
            raw += chunk
            if len(raw) > MAX_MANIFEST_BYTES:
                raise Refusal(413, "SIZE_INVALID", f"the manifest exceeds the limit of {MAX_MANIFEST_BYTES} bytes")
        try:
            manifest = Manifest.parse(bytes(raw), request.content_type, digest=asked)
        except (IntegrityError, Malformed) as error:
            wrong_digest = asked is not None and not asked.matches(bytes(raw))
            raise Refusal(400, "DIGEST_INVALID" if wrong_digest else "MANIFEST_INVALID", error.message) from error
        await _require_blobs(repository, manifest)
        if not tags:
            await repository.put_manifest(manifest)
        for tag in tags:
            await repository.tag(manifest, tag)
        await self._store.flush()
        headers = {
            "Location": f"/v2/{repository.name}/manifests/{manifest.digest}",
            "Docker-Content-Digest": str(manifest.digest),
        }
        if asked is not None and tags:
            headers["OCI-Tag"] = ", ".join(tags)
        if manifest.subject is not None:
            headers["OCI-Subject"] = manifest.subject.digest
        return web.Response(status=201, headers=headers)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """DELETE of a tag, or of a manifest with its tags."""
        await repository_of(self._store, request).delete(reference_of(request))
        await self._store.flush()
        return web.Response(status=202)

    def _upload(self, request: web.Request) -> Upload:
        return self._uploads.get(request.match_info["name"], request.match_info["upload"])


async def _require_blobs(repository: WritableRepository, manifest: Manifest) -> None:
    """Reject a manifest whose blobs are missing. Children may be missing: the image spec allows sparse indexes."""
    for blob in manifest.blobs:
        if not await repository.has(blob):
            raise Refusal(404, "MANIFEST_BLOB_UNKNOWN", f"blob {blob.digest} is not in the repository")


def _check_order(request: web.Request, upload: Upload) -> None:
    content_range = request.headers.get("Content-Range")
    if content_range is None:
        return
    found = _CONTENT_RANGE.fullmatch(content_range)
    if found is None or int(found[1]) != upload.size:
        reason = f"the upload has {upload.size} bytes; continue from there"
        raise Refusal(416, "BLOB_UPLOAD_INVALID", reason, _progress(upload))
    if request.content_length is not None and int(found[2]) - int(found[1]) + 1 != request.content_length:
        raise Refusal(400, "SIZE_INVALID", "Content-Range and Content-Length disagree")


def _progress(upload: Upload) -> dict[str, str]:
    """Return the headers with the progress of an upload. An empty one has the range 0-0, as in CNCF distribution."""
    return {
        "Location": f"/v2/{upload.repository.name}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(0, upload.size - 1)}",
        "Docker-Upload-UUID": upload.id,
    }


def _created(repository: WritableRepository, digest: Digest) -> web.Response:
    location = f"/v2/{repository.name}/blobs/{digest}"
    return web.Response(status=201, headers={"Location": location, "Docker-Content-Digest": str(digest)})
