"""Bodies and content types on the wire: no body is decoded, and no parameter is added."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.parts.images import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, digest, multi_platform
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import code_of, raw
from tests.serve.test_push import begin, where

ENCODED = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "nonsense"])
def test_a_blob_is_stored_as_sent_whatever_its_content_encoding(server: Registry, unique: str, encoding: str) -> None:
    data = gzip.compress(b"content" * 1000)
    headers = {**ENCODED, "Content-Encoding": encoding}
    assert ask("PUT", f"{begin(server, unique)}?digest={digest(data)}", data, headers).status == 201
    assert ask("POST", f"{server.url}/{unique}/blobs/uploads/?digest={digest(data)}", data, headers).status == 201
    assert server.blob(unique, digest(data)).body == data


def test_an_encoded_body_is_not_decoded_on_disk(served: Serve, unique: str) -> None:
    server = Registry(served.host)
    bomb = gzip.compress(bytes(64 * 1024 * 1024), 9)
    upload = begin(server, unique)
    assert ask("PATCH", upload, bomb, ENCODED).status == 202
    assert where(upload) == f"0-{len(bomb) - 1}"
    answer = ask("PUT", f"{upload}?digest={digest(bytes(64 * 1024 * 1024))}", b"", ENCODED)
    assert (answer.status, code_of(answer)) == (400, "DIGEST_INVALID")


def test_an_encoded_manifest_is_not_decoded(server: Registry, unique: str) -> None:
    made = multi_platform("app")
    server.push(unique, made)
    packed = gzip.compress(made.raw)
    url = f"{server.url}/{unique}/manifests"
    headers = {"Content-Type": made.media_type, "Content-Encoding": "gzip"}
    answer = ask("PUT", f"{url}/{made.digest}", packed, headers)
    assert (answer.status, code_of(answer)) == (400, "DIGEST_INVALID")
    answer = ask("PUT", f"{url}/latest", packed, headers)
    assert (answer.status, code_of(answer)) == (400, "MANIFEST_INVALID")
    answer = ask("PUT", f"{url}/latest", gzip.compress(bytes(64 * 1024 * 1024)), headers)
    assert (answer.status, code_of(answer)) == (400, "MANIFEST_INVALID")  # and not 413
    assert ask("PUT", f"{url}/latest", made.raw, headers).status == 201  # the header alone changes nothing
    assert server.manifest(unique, "latest").body == made.raw


def test_content_types_are_exactly_those_of_the_specification(server: Registry, unique: str) -> None:
    made = multi_platform("app")
    server.push(unique, made, "1")
    blob = next(iter(made.all_blobs()))
    subject = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_EMPTY, "digest": digest(b"{}"), "size": 2},
            "layers": [],
            "subject": {"mediaType": made.media_type, "digest": made.digest, "size": len(made.raw)},
        }
    ).encode()
    server.push_blob(unique, b"{}")
    put = ask("PUT", f"{server.url}/{unique}/manifests/{digest(subject)}", subject, {"Content-Type": OCI_MANIFEST})
    assert put.status == 201
    json_, name = "application/json", f"/v2/{unique}"
    upload = begin(server, unique).removeprefix(f"http://{server.host}")
    for method, path, expected in (
        ("GET", "/v2/", (200, json_)),
        ("GET", "/v2/_catalog", (200, json_)),
        ("GET", f"{name}/tags/list", (200, json_)),
        ("GET", f"{name}/tags/list?n=x", (400, json_)),
        ("GET", f"{name}/referrers/{made.digest}", (200, OCI_INDEX)),
        ("GET", f"{name}/referrers/{made.digest}?artifactType=none/none", (200, OCI_INDEX)),
        ("GET", f"{name}/referrers/{digest(b'none')}", (200, OCI_INDEX)),
        ("GET", f"{name}/manifests/1", (200, made.media_type)),
        ("HEAD", f"{name}/manifests/1", (200, made.media_type)),
        ("GET", f"{name}/blobs/{blob}", (200, "application/octet-stream")),
        ("HEAD", f"{name}/blobs/{blob}", (200, "application/octet-stream")),
        ("GET", f"{name}/blobs/{digest(b'none')}", (404, json_)),
        ("PROPFIND", "/v2/", (405, json_)),
        ("GET", "/none", (404, json_)),
        ("GET", upload, (204, None)),
        ("DELETE", upload, (204, None)),
        ("POST", f"{name}/blobs/uploads/", (202, None)),
        ("DELETE", f"{name}/manifests/1", (202, None)),
    ):
        answer = raw(server.host, method, path, {"Content-Length": 0} if method == "POST" else None)
        assert (answer.status, answer.headers["Content-Type"]) == expected, (method, path)
    assert (put.headers["Content-Type"], put.body) == (None, b"")
