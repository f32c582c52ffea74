"""`mirrorsync serve` with TLS and users, and a client that speaks to it without code of the product."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.parts.certificates import Authority
from tests.parts.images import Image, digest
from tests.parts.mirrorsync import Serve
from tests.parts.processes import run
from tests.parts.wire import Response
from tests.serve.harness import path_of

USER, PASSWORD = "operator", "s3cret-of-operator"


def hashed(user: str, password: str, cost: int = 4) -> str:
    """Return the line of a user, as htpasswd writes it."""
    return run("htpasswd", "-nbB", "-C", str(cost), user, password).strip() + "\n"


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """Return the header of a login."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@dataclass(frozen=True)
class Secured:
    """A server, and the authority that its clients trust."""

    server: Serve
    authority: Authority

    @property
    def host(self) -> str:
        """The address of the server."""
        return self.server.host

    def context(self) -> ssl.SSLContext:
        """Return a client's context, which trusts the authority and nothing else."""
        return ssl.create_default_context(cafile=str(self.authority.path))

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request, and return the answer."""
        connection = http.client.HTTPSConnection(self.host, timeout=60, context=self.context())
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def push(self, repository: str, image: Image, tag: str) -> None:
        """Push an image with the login of the operator."""
        for data in image.all_blobs().values():
            self.push_blob(repository, data)
        for manifest in image.manifests():
            self._put(repository, manifest, manifest.digest)
        self._put(repository, image, tag)

    def push_blob(self, repository: str, data: bytes) -> str:
        """Push a blob; return its path."""
        begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/", headers=basic())
        path = path_of(begun.headers["Location"])
        assert self.ask("PUT", f"{path}?digest={digest(data)}", data, basic()).status == 201
        return f"/v2/{repository}/blobs/{digest(data)}"

    def _put(self, repository: str, image: Image, ref: str) -> None:
        headers = {**basic(), "Content-Type": image.media_type}
        assert self.ask("PUT", f"/v2/{repository}/manifests/{ref}", image.raw, headers).status == 201


def secured(directory: Path, *options: str, writable: bool = True) -> Secured:
    """Start a server with a certificate for this machine, and one user."""
    authority = Authority(directory)
    certificate = authority.issue("site")
    users = directory / "users"
    users.write_text(hashed(USER, PASSWORD))
    words = ("--tls-cert", str(certificate.path), "--tls-key", str(certificate.key), "--htpasswd", str(users))
    return Secured(Serve(directory / "layout", *words, "-v", *options, writable=writable), authority)
