"""A registry in memory, by distribution spec 1.1: the app behind the unruly server."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.parts.images import OCI_INDEX, Image, digest


@dataclass(frozen=True)
class Asked:
    """One request; target is the path with its query, as received."""

    method: str
    target: str
    headers: Message
    body: bytes = b""
    at: float = 0.0  # by the server's clock

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query; of repeated ones the last."""
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def authorization(self) -> str:
        """The Authorization header, "" for none."""
        return str(self.headers.get("Authorization", ""))


@dataclass
class Reply:
    """An answer. cut: close the connection after so many bytes of the body. sized: send Content-Length.

    raw: the bytes to send instead, piece by piece, before the connection is closed, or kept.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    more: list[tuple[str, str]] = field(default_factory=list)  # headers that are sent more than once
    cut: int | None = None
    sized: bool = True
    raw: Iterable[bytes] | None = None
    kept: bool = False


App = Callable[[Asked], Reply]
_BYTES = "application/octet-stream"
_NAME = r"/v2/(?P<name>.+?)"


def refusal(status: int, code: str, message: str = "no", headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error as the distribution spec writes it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, body)


class TinyRegistry:
    """Repositories in memory; call it with a request. guard: returns the error for a request that is not allowed.

    referrers: whether it has the referrers API, and sends OCI-Subject. strict: whether it rejects a manifest with
    missing content. full: the digests of blobs that were pushed while its disk was full: as CNCF distribution does
    then, it answers 201, stores empty files, and never replaces a stored blob.
    """

    def __init__(
        self,
        *,
        guard: Callable[[Asked], Reply | None] | None = None,
        referrers: bool = True,
        strict: bool = False,
        full: Collection[str] = (),
    ) -> None:
        self.guard = guard
        self.referrers = referrers
        self.announces = True  # whether it sends OCI-Subject; a gateway may drop it
        self.strict = strict
        self.detail = True  # whether a strict one names the missing content
        self.full = full
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.uploads: dict[str, bytearray] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def hold(self, name: str, image: Image, *tags: str) -> Image:
        """Store an image with all its content in a repository."""
        for key, data in image.all_blobs().items():
            self.blobs[name, key] = data
        for manifest in image.manifests():
            self.manifests[name, manifest.digest] = (manifest.media_type, manifest.raw)
        for tag in tags:
            self.tags[name, tag] = image.digest
        return image

    def hold_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> str:
        """Store a blob in a repository; return its digest."""
        key = digest(data, algorithm)
        self.blobs[name, key] = data
        return key

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        with self._lock:
            if self.guard is not None and (refused := self.guard(asked)) is not None:
                return refused
            if asked.path == "/v2/":
                return Reply(200, {"Content-Type": "application/json"})
            for pattern, method in _ROUTES:
                if found := re.fullmatch(_NAME + pattern, asked.path):
                    return method(self, asked, **found.groupdict())
            return refusal(404, "UNSUPPORTED", "no such page")

    def _tag_list(self, asked: Asked, name: str) -> Reply:
        tags = sorted(tag for place, tag in self.tags if place == name)
        if not tags:
            return refusal(404, "NAME_UNKNOWN")
        return Reply(200, {"Content-Type": "application/json"}, json.dumps({"name": name, "tags": tags}).encode())

    def _manifest(self, asked: Asked, name: str, reference: str) -> Reply:
        if asked.method == "PUT":
            return self._put_manifest(asked, name, reference)
        key = self.tags.get((name, reference), reference)
        if (name, key) not in self.manifests:
            return refusal(404, "MANIFEST_UNKNOWN")
        media_type, raw = self.manifests[name, key]
        return Reply(200, {"Content-Type": media_type, "Docker-Content-Digest": key}, raw)

    def _put_manifest(self, asked: Asked, name: str, reference: str) -> Reply:
        key = digest(asked.body)
        if ":" in reference and reference != key:
            return refusal(400, "DIGEST_INVALID", "provided digest did not match")
        if self.strict and (unknown := self._missing(name, json.loads(asked.body))):
            body = {
                "errors": [
                    {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown", "detail": unknown * self.detail}
                ]
            }
            return Reply(400, {"Content-Type": "application/json"}, json.dumps(body).encode())
        self.manifests[name, key] = (str(asked.headers["Content-Type"]), asked.body)
        if ":" not in reference:
            self.tags[name, reference] = key
        headers = {"Location": f"/v2/{name}/manifests/{key}", "Docker-Content-Digest": key}
        subject = json.loads(asked.body).get("subject")
        if subject and self.referrers and self.announces:
            headers["OCI-Subject"] = subject["digest"]
        return Reply(201, headers)

    def _missing(self, name: str, document: dict[str, Any]) -> str:
        """Return the digest of the first missing blob of a manifest, "" if none is missing."""
        named = [*filter(None, [document.get("config")]), *document.get("layers", ())]
        return next((entry["digest"] for entry in named if (name, entry["digest"]) not in self.blobs), "")

    def _blob(self, asked: Asked, name: str, key: str) -> Reply:
        data = self.blobs.get((name, key))
        if data is None:
            return refusal(404, "BLOB_UNKNOWN")
        reply = self.blob_reply(data, asked)
        reply.headers["Docker-Content-Digest"] = key
        return reply

    @staticmethod
    def blob_reply(data: bytes, asked: Asked) -> Reply:
        """Answer with a blob, or with the requested range of it."""
        headers = {"Content-Type": _BYTES}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", str(asked.headers.get("Range", "")))
        if found is None:
            return Reply(200, headers, data)
        first = int(found[1])
        if first >= len(data):
            return refusal(416, "RANGE_INVALID", headers={"Content-Range": f"bytes */{len(data)}"})
        last = min(int(found[2] or len(data) - 1), len(data) - 1)
        return Reply(206, {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1])

    def _start(self, asked: Asked, name: str) -> Reply:
        key, origin = asked.query.get("mount"), asked.query.get("from")
        if key and (str(origin), key) in self.blobs:
            self.blobs[name, key] = self.blobs[str(origin), key]
            return Reply(201, {"Location": f"/v2/{name}/blobs/{key}", "Docker-Content-Digest": key})
        session = f"session{next(self._numbers)}"
        self.uploads[session] = bytearray()
        return Reply(202, {"Location": f"/v2/{name}/blobs/uploads/{session}?_state=0"})

    def _upload(self, asked: Asked, name: str, session: str) -> Reply:
        if session not in self.uploads:
            return refusal(404, "BLOB_UPLOAD_UNKNOWN")
        held = self.uploads[session]
        if asked.query.get("_state") != str(len(held)):
            return refusal(416, "RANGE_INVALID", "an old location")
        if asked.method == "DELETE":
            del self.uploads[session]
            return Reply(204)
        held += asked.body
        if asked.method == "PATCH":
            location = f"/v2/{name}/blobs/uploads/{session}?_state={len(held)}"
            return Reply(202, {"Location": location, "Range": f"0-{len(held) - 1}"})
        del self.uploads[session]
        key = asked.query.get("digest", "")
        if key != digest(bytes(held), key.partition(":")[0]):
            return refusal(400, "DIGEST_INVALID")
        if key in self.full:
            self.blobs.setdefault((name, key), b"")
        else:
            self.blobs[name, key] = bytes(held)
        return Reply(201, {"Location": f"/v2/{name}/blobs/{key}", "Docker-Content-Digest": key})

    def _referring(self, asked: Asked, name: str, key: str) -> Reply:
        if not self.referrers:
            return refusal(404, "UNSUPPORTED")
        listed = []
        for (place, own), (media_type, raw) in self.manifests.items():
            document = json.loads(raw)
            if place == name and (document.get("subject") or {}).get("digest") == key:
                entry = {"mediaType": media_type, "digest": own, "size": len(raw)}
                listed.append({**entry, "artifactType": document.get("artifactType", "")})
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return Reply(200, {"Content-Type": OCI_INDEX}, json.dumps(index).encode())


_ROUTES: tuple[tuple[str, Callable[..., Reply]], ...] = (
    ("/tags/list", TinyRegistry._tag_list),
    ("/manifests/(?P<reference>[^/]+)", TinyRegistry._manifest),
    ("/blobs/(?P<key>[a-z0-9]+:[0-9a-f]+)", TinyRegistry._blob),
    ("/blobs/uploads/", TinyRegistry._start),
    ("/blobs/uploads/(?P<session>[a-z0-9]+)", TinyRegistry._upload),
    ("/referrers/(?P<key>[a-z0-9]+:[0-9a-f]+)", TinyRegistry._referring),
)
