"""Debian's docker-registry (CNCF distribution 2.8), a real registry to mirror from and to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.images import Image
from tests.parts.processes import Server, command, free_port

_ACCESS = re.compile(rb'"([A-Z]+) (/[^ ]*) HTTP/[0-9.]+" (\d{3})')


@dataclass(frozen=True)
class Access:
    """One request of the registry's access log."""

    method: str
    path: str
    status: int


class DockerRegistry(Server):
    """A docker-registry with its storage in a directory.

    auth: the `auth` section of its configuration. certificate, key: PEM files, to speak TLS.
    """

    def __init__(
        self,
        storage: Path,
        *,
        access_log: bool = True,
        auth: Mapping[str, Any] | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        readonly: bool = False,
    ) -> None:
        self.storage = storage
        storage.mkdir(parents=True, exist_ok=True)
        port = free_port()
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": not access_log}},
            "storage": {
                "filesystem": {"rootdirectory": str(storage), "maxthreads": 200},
                "delete": {"enabled": True},
                "maintenance": {"readonly": {"enabled": readonly}, "uploadpurging": {"enabled": False}},
            },
            "http": {"addr": f"127.0.0.1:{port}", "secret": "shared by all"},
        }
        if certificate is not None:
            config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
        if auth is not None:
            config["auth"] = auth
        path = storage.parent / f"{storage.name}.json"
        path.write_text(json.dumps(config))
        super().__init__(
            command("docker-registry", "serve", path, env={"OTEL_TRACES_EXPORTER": "none", "GOGC": "400"}),
            port,
            storage.parent / f"{storage.name}.log",
        )
        self._requests: list[Access] = []
        self._read = 0
        self._answered = 0

    def requests(self) -> list[Access]:
        """Return all requests that were answered, in order."""
        with self.log.open("rb") as log:  # from the last line on: that of a server of all tests is long
            log.seek(self._read)
            lines, end, _ = log.read().rpartition(b"\n")
        self._read += len(lines) + len(end)
        found = _ACCESS.findall(lines)
        self._requests += [Access(method.decode(), path.decode(), int(status)) for method, path, status in found]
        return list(self._requests)

    def answered(self) -> int:
        """Return how many requests were answered, without reading the log into memory."""
        with self.log.open("rb") as lines:
            return sum(_ACCESS.search(line) is not None for line in lines)

    def new_requests(self) -> list[Access]:
        """Return the requests that were answered since the last call of this method."""
        everything = self.requests()
        new, self._answered = everything[self._answered :], len(everything)
        return new

    def blob_file(self, digest: str) -> Path:
        """Return the file that holds a blob or manifest."""
        encoded = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"

    def put(self, repository: str, image: Image, tag: str) -> None:
        """Put an image into the storage, as the registry does it for a push: no request, and no client's opinion."""
        home = self.storage / "docker/registry/v2/repositories" / repository
        for digest, data in image.all_blobs().items():
            _write(self.blob_file(digest), data)
            _link(home / "_layers", digest)
        for manifest in image.manifests():
            _write(self.blob_file(manifest.digest), manifest.raw)
            _link(home / "_manifests/revisions", manifest.digest)
        named = home / "_manifests/tags" / tag
        _link(named / "index", image.digest)
        _write(named / "current/link", image.digest.encode())


def _link(folder: Path, digest: str) -> None:
    _write(folder / digest.replace(":", "/") / "link", digest.encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
