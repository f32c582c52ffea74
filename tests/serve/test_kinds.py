"""Every kind of content of the distribution spec's conformance suite, pushed, pulled and mirrored byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.tools import skopeo_raw
from tests.parts.images import (
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_LAYER,
    OCI_MANIFEST,
    Image,
    artifact,
    digest,
    image,
    index,
    layer,
    multi_platform,
)
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.wire import Registry, Response, ask
from tests.serve.harness import InProcessServer

ARTIFACT = "application/vnd.example.thing"


def described(data: bytes, media_type: str, algorithm: str = "sha256", /, **members: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data, algorithm), "size": len(data), **members}


def document(blobs: list[bytes], *, algorithm: str = "sha256", **members: Any) -> Image:
    """Return a manifest with these members."""
    whole = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, **members}
    return Image(OCI_MANIFEST, json.dumps(whole).encode(), {digest(data, algorithm): data for data in blobs})


def _sparse() -> Image:
    made = multi_platform("sparse")
    return Image(made.media_type, made.raw, children=made.children[:1])


def _thing(name: str, layers: list[dict[str, Any]], blobs: list[bytes], **members: Any) -> Image:
    empty = described(b"{}", OCI_EMPTY)
    about = {"artifactType": ARTIFACT, "config": empty, "layers": layers, "annotations": {"name": name}}
    return document([b"{}", *blobs], **{**about, **members})


def _data_field() -> Image:
    content = described(b"inline", "text/plain", data="aW5saW5l")
    return _thing("data", [content], [b"inline"], config=described(b"{}", OCI_EMPTY, data="e30="))


def _non_distributable() -> Image:
    foreign = described(
        b"not here", "application/vnd.oci.image.layer.nondistributable.v1.tar", urls=["http://192.0.2.1/x"]
    )
    return _thing("foreign", [foreign, described(b"here", "text/plain")], [b"here"])


def _sha512() -> Image:
    config, data = b'{"architecture": "amd64", "os": "linux"}', layer({"a": b"512"})
    return document(
        [config, data],
        algorithm="sha512",
        config=described(config, OCI_CONFIG, "sha512"),
        layers=[described(data, OCI_LAYER, "sha512")],
    )


KINDS: dict[str, Callable[[], Image]] = {
    "image": lambda: image([layer({"a": b"1"}), layer({"b": b"2"})]),
    "image without compression": lambda: image([layer({"a": b"1"}, compress=False)]),
    "index": lambda: multi_platform("index"),
    "nested index": lambda: index([multi_platform("inner"), index([index([multi_platform("deep")])])]),
    "sparse index": _sparse,
    "index of an index and an artifact": lambda: index([multi_platform("one"), _thing("two", [], [])]),
    "artifact": lambda: _thing("artifact", [described(b"content", "text/plain")], [b"content"]),
    "artifact in an index": lambda: index([_thing("listed", [], [])], artifactType=ARTIFACT),
    "missing subject": lambda: artifact(multi_platform("never pushed"), b"sbom"),
    "index with a missing subject": lambda: index([_thing("s", [], [])], subject=multi_platform("never").descriptor),
    "data field": _data_field,
    "non-distributable layer": _non_distributable,
    "custom fields": lambda: _thing("custom", [], [], **{"org.example": {"a": [1, None, 2.50]}, "\u00fc": "\u00fc"}),
    "no layers": lambda: image([]),
    "empty blob": lambda: _thing("empty", [described(b"", "text/plain")], [b""]),
    "the same blob twice": lambda: image([layer({"a": b"1"}), layer({"a": b"1"})]),
    "sha512": _sha512,
    "no media type": lambda: _thing("untyped", [], [], mediaType=None),
}
# CNCF distribution 2.8 rejects a manifest that names missing content.
NOT_AT_DISTRIBUTION = {"sparse index", "non-distributable layer"}


def push(server: Registry, repository: str, made: Image, tag: str) -> None:
    for manifest in made.manifests():
        for name, data in manifest.blobs.items():
            url = f"{server.url}/{repository}/blobs/uploads/"
            started = ask("POST", url)
            location = started.headers["Location"]
            location = location if "://" in location else f"http://{server.host}{location}"
            separator = "&" if "?" in location else "?"
            done = ask("PUT", f"{location}{separator}digest={name}", data, {"Content-Type": "application/octet-stream"})
            assert done.status == 201, done
        assert _put(server, repository, manifest, manifest.digest).status == 201
    assert _put(server, repository, made, tag).status == 201


def _put(server: Registry, repository: str, made: Image, reference: str) -> Response:
    url = f"{server.url}/{repository}/manifests/{reference}"
    return ask("PUT", url, made.raw, {"Content-Type": made.media_type})


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_content_is_served_as_it_was_pushed(server: Registry, unique: str, kind: str) -> None:
    made = KINDS[kind]()
    push(server, unique, made, "1")
    assert server.holds(unique, made, "1")


@pytest.mark.parametrize(
    ("source", "refused"), [("registry", NOT_AT_DISTRIBUTION), ("served", {"sparse index"})], ids=["registry", "served"]
)
def test_every_kind_of_content_is_mirrored_to_a_server_and_a_layout(
    source: str,
    refused: set[str],
    memory_server: InProcessServer,
    mirrorsync: Mirrorsync,
    unique: str,
    request: pytest.FixtureRequest,
) -> None:
    origin, target = Registry(request.getfixturevalue(source).host), Registry(memory_server.host)
    images = {kind.replace(" ", "-"): KINDS[kind]() for kind in KINDS if kind not in refused}
    for kind, made in images.items():
        push(origin, f"{unique}/{kind}", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(origin.host, target.host),
            "destinations": {"registry": f"{target.host}/{unique}/to", "disk": "oci:disk"},
            "defaults": {"to": ["registry", "disk"]},
            "mirrors": [f"{origin.host}/{unique}/{kind}:1" for kind in images],
        }
    )
    mirrorsync("apply", code=0)
    assert [kind for kind, made in images.items() if not target.holds(f"{unique}/to/{unique}/{kind}", made, "1")] == []
    for kind, made in images.items():
        assert skopeo_raw(f"oci:{mirrorsync.directory}/disk:{unique}/{kind}:1") == made.raw
        for name, data in made.all_blobs().items():
            algorithm, _, encoded = name.partition(":")
            assert (mirrorsync.directory / "disk/blobs" / algorithm / encoded).read_bytes() == data
    mirrorsync("plan", "--exit-code", code=0)
    mirrorsync("verify", code=0)


def test_an_index_with_a_child_missing_at_the_source_is_reported_and_not_tagged(
    served: Serve, memory_server: InProcessServer, mirrorsync: Mirrorsync, unique: str
) -> None:
    made = _sparse()
    push(Registry(served.host), f"{unique}/app", made, "1")
    target = Registry(memory_server.host)
    mirrorsync.spec(
        {
            "registries": plain(served.host, memory_server.host),
            "destinations": {"registry": f"{memory_server.host}/{unique}/to"},
            "mirrors": [f"{served.host}/{unique}/app:1"],
        }
    )
    done = mirrorsync("apply")
    assert done.code in (1, 3)
    missing = json.loads(made.raw)["manifests"][1]["digest"]
    assert missing[7:19] in done.err
    assert target.tags(f"{unique}/to/{unique}/app") == []
