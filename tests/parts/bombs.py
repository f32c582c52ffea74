"""Registries that try to fill a client's memory, with answers that cost the registry only a few bytes."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.parts.images import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, artifact, digest, image
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry

MIB = 1024 * 1024
IMAGE = image([b"a layer"])
JSON = {"Content-Type": "application/json"}


def registry() -> TinyRegistry:
    """Return a registry with one image, app:1."""
    tiny = TinyRegistry()
    tiny.hold("app", IMAGE, "1")
    return tiny


Answer = Callable[[Asked], Reply | None]


class Bomb:
    """A registry with one image, and another answer for some requests."""

    def __init__(self, answer: Answer) -> None:
        self.tiny = registry()
        self._answer = answer

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        return self._answer(asked) or self.tiny(asked)


def _paged(asked: Asked, body: Callable[[int], bytes], headers: dict[str, str] | None = None) -> Reply:
    page = int(asked.query.get("page", "0"))
    link = f'<{asked.path}?page={page + 1}>; rel="next"'
    return Reply(200, {**JSON, **(headers or {}), "Link": link}, body(page))


def endless_tags(asked: Asked) -> Reply | None:
    """10,000 pages of 1,000 tags of the maximum length, all different."""
    if not asked.path.endswith("/tags/list"):
        return None

    def body(page: int) -> bytes:
        return json.dumps({"tags": [f"{page:06}.{number:06}".ljust(128, "x") for number in range(1000)]}).encode()

    return _paged(asked, body)


def endless_short_tags(asked: Asked) -> Reply | None:
    """Pages of 100,000 short tags."""
    if not asked.path.endswith("/tags/list"):
        return None
    return _paged(
        asked,
        lambda page: json.dumps({"tags": [f"{page:x}.{number:x}" for number in range(100_000)]}).encode(),
    )


def one_page(body: Callable[[], bytes], headers: dict[str, str] | None = None) -> Answer:
    """One page of tags. body: makes it, when it is asked for."""
    made = cache(body)

    def answer(asked: Asked) -> Reply | None:
        return Reply(200, {**JSON, **(headers or {})}, made()) if asked.path.endswith("/tags/list") else None

    return answer


def nested() -> bytes:
    """Lists in a list, 7 MiB."""
    return b'{"tags": [' + b"[]," * (7 * MIB // 3) + b"[]]}"


def large_page() -> bytes:
    """60 MiB of tags."""
    return b'{"tags": [' + b'"a",' * (15 * MIB) + b'"a"]}'


def gzipped() -> bytes:
    """400 MiB of tags in little more than one."""
    return gzip.compress(b'{"tags": [' + b'"a",' * (100 * MIB) + b'"a"]}', 1)


def endless_referrers(asked: Asked) -> Reply | None:
    """Pages of descriptors with annotations."""
    if "/referrers/" not in asked.path:
        return None

    def body(page: int) -> bytes:
        entry = artifact(IMAGE, b"x").descriptor
        entries = [
            {**entry, "digest": digest(f"{page}.{number}".encode()), "annotations": {"a": "x" * 1000, str(number): "y"}}
            for number in range(2000)
        ]
        return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()

    return _paged(asked, body, {"Content-Type": OCI_INDEX})


class Sink(TinyRegistry):
    """A destination that stores only the length of manifests."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, tuple[str, int]] = {}

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        found = re.fullmatch(r"/v2/app/manifests/(.+)", asked.path)
        if found is not None and asked.method == "PUT":
            self.sizes[digest(asked.body)] = (str(asked.headers["Content-Type"]), len(asked.body))
            return Reply(201, {"Docker-Content-Digest": digest(asked.body)})
        if found is not None and found[1] in self.sizes:
            kind, size = self.sizes[found[1]]
            headers = {"Content-Type": kind, "Content-Length": str(size), "Docker-Content-Digest": found[1]}
            return Reply(200, headers)
        return super().__call__(asked)


class IndexBomb:
    """`app:1` is an index of so many manifests, each `size` bytes long. layers: the number of layers of each."""

    def __init__(self, manifests: int, size: int, layers: int = 0) -> None:
        self._size, self._layers = size, layers
        self._numbers = {digest(self._manifest(number)): number for number in range(manifests)}
        entries = [{"mediaType": OCI_MANIFEST, "digest": key, "size": size} for key in self._numbers]
        self.raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()

    def _manifest(self, number: int) -> bytes:
        config = {"mediaType": OCI_CONFIG, "digest": digest(b"{}"), "size": 2}
        layers = [
            {"mediaType": OCI_LAYER, "digest": digest(f"{number}.{layer}".encode()), "size": 1}
            for layer in range(self._layers)
        ]
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        document["annotations"] = {"number": str(number), "filler": ""}
        raw = json.dumps(document).encode()
        return raw[:-3] + b"x" * (self._size - len(raw)) + raw[-3:]

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        found = re.fullmatch(r"/v2/app/manifests/(.+)", asked.path)
        if found is None:
            if asked.path.endswith(digest(b"{}")):
                return Reply(200, {}, b"{}")
            return Reply(200, JSON, b"{}") if asked.path == "/v2/" else Reply(404)
        if found[1] in ("1", digest(self.raw)):
            return Reply(200, {"Content-Type": OCI_INDEX, "Docker-Content-Digest": digest(self.raw)}, self.raw)
        if found[1] not in self._numbers:
            return Reply(404)
        return Reply(200, {"Content-Type": OCI_MANIFEST}, self._manifest(self._numbers[found[1]]))
