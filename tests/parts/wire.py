"""A client of a registry's API over urllib: tests push and read with it without any code of the product."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urljoin

from tests.parts.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Image, digest

_ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
# The tests do not use the machine's proxies.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Response:
    """The answer of a server."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def ask(method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Send one request and return the answer, whatever its status."""
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))
    try:
        with _OPENER.open(request, timeout=60) as response:
            return Response(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Response(error.code, error.headers, error.read())


class Registry:
    """A client of one registry at http://host."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.url = f"http://{host}/v2"

    def push_blob(self, repository: str, data: bytes) -> str:
        """Upload a blob; return its digest."""
        started = ask("POST", f"{self.url}/{repository}/blobs/uploads/", b"")
        assert started.status == 202, started
        location = urljoin(f"{self.url}/", started.headers["Location"])
        separator = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream"}
        done = ask("PUT", f"{location}{separator}digest={digest(data)}", data, headers)
        assert done.status == 201, done
        return digest(data)

    def push(self, repository: str, image: Image, tag: str | None = None) -> str:
        """Upload an image with all its content; return its digest."""
        for data in image.all_blobs().values():
            self.push_blob(repository, data)
        for manifest in image.manifests():
            self.put_manifest(repository, manifest, manifest.digest)
        if tag is not None:
            self.put_manifest(repository, image, tag)
        return image.digest

    def put_manifest(self, repository: str, image: Image, reference: str) -> Response:
        """Upload a manifest alone."""
        url = f"{self.url}/{repository}/manifests/{reference}"
        answer = ask("PUT", url, image.raw, {"Content-Type": image.media_type})
        assert answer.status == 201, answer
        return answer

    def manifest(self, repository: str, reference: str) -> Response:
        """Get a manifest."""
        return ask("GET", f"{self.url}/{repository}/manifests/{reference}", headers={"Accept": _ACCEPT})

    def delete(self, repository: str, reference: str) -> None:
        """Delete a manifest, or a tag."""
        answer = ask("DELETE", f"{self.url}/{repository}/manifests/{reference}")
        assert answer.status == 202, answer

    def blob(self, repository: str, blob: str, headers: Mapping[str, str] | None = None) -> Response:
        """Get a blob."""
        return ask("GET", f"{self.url}/{repository}/blobs/{blob}", headers=headers)

    def tags(self, repository: str) -> list[str]:
        """Return a repository's tags, [] if it does not exist."""
        answer = ask("GET", f"{self.url}/{repository}/tags/list")
        return sorted(answer.json().get("tags") or []) if answer.status == 200 else []

    def holds(self, repository: str, image: Image, tag: str | None = None) -> bool:
        """Return whether the registry has the image, with all its content, byte for byte."""
        answer = self.manifest(repository, tag or image.digest)
        if answer.status != 200 or answer.body != image.raw or answer.headers["Content-Type"] != image.media_type:
            return False
        for manifest in image.manifests():
            if self.manifest(repository, manifest.digest).body != manifest.raw:
                return False
        return all(self.blob(repository, key).body == data for key, data in image.all_blobs().items())
