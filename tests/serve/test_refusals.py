"""Error answers of our server: for invalid requests, and for writes to a read-only server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirrorsync.stores.memory import MemoryStore
from tests.parts.images import digest, multi_platform
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection, InProcessServer, code_of, raw

NONE = digest(b"none")
BAD_NAMES = [
    "..",
    "../..",
    "a/../b",
    "a/./b",
    "%2e%2e",
    "a/%2e%2e/b",
    "a%2f..%2fb",
    "UPPER",
    "a/Upper",
    "a//b",
    "a/",
    "/a",
    "-a",
    "a_",
    "a%00b",
    "%00",
    "a%0ab",
    "a%20b",
    "%c3%bc",
    "%ff%fe",
    "a:b",
    "a@b",
    "a" * 256,
    "_a",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_repository_name_outside_the_grammar_is_rejected(server: Registry, name: str) -> None:
    for method, path in (
        ("GET", "tags/list"),
        ("GET", "manifests/latest"),
        ("GET", f"blobs/{NONE}"),
        ("GET", f"referrers/{NONE}"),
        ("POST", "blobs/uploads/"),
        ("DELETE", "manifests/latest"),
    ):
        answer = raw(server.host, method, f"/v2/{name}/{path}", {"Content-Length": 0})
        assert (answer.status, code_of(answer)) == (400, "NAME_INVALID"), (method, path)


@pytest.mark.parametrize("tag", ["..", "%2e%2e", "-x", ".x", "a" * 129, "a%00", "a%20b", "a%2fb", "%c3%bc", "a+b"])
def test_a_tag_outside_the_grammar_is_rejected(server: Registry, unique: str, tag: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = raw(server.host, method, f"/v2/{unique}/manifests/{tag}", {"Content-Length": 0})
        assert (answer.status, code_of(answer)) == (400, "TAG_INVALID")


@pytest.mark.parametrize(
    "name",
    [
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha512:" + "a" * 64,
        "sha256:" + "g" * 64,
        "md5:" + "a" * 32,
        "sha256:",
        ":",
        "sha256:..%2f..%2fetc%2fpasswd",
        "sha256:" + "a" * 63 + "%00",
        "sha256:" + "a" * 64 + "%0a",
    ],
)
def test_a_digest_outside_the_grammar_is_rejected(server: Registry, unique: str, name: str) -> None:
    for method, path in (
        ("GET", "manifests"),
        ("GET", "blobs"),
        ("HEAD", "blobs"),
        ("GET", "referrers"),
        ("DELETE", "manifests"),
    ):
        answer = raw(server.host, method, f"/v2/{unique}/{path}/{name}")
        assert answer.status == 400, (method, path)
        assert method == "HEAD" or code_of(answer) == "DIGEST_INVALID"


def test_missing_content_is_answered_with_its_error_code(server: Registry, unique: str) -> None:
    server.push(unique, multi_platform("app"), "1")
    for path, code in (
        ("manifests/none", "MANIFEST_UNKNOWN"),
        (f"manifests/{NONE}", "MANIFEST_UNKNOWN"),
        (f"blobs/{NONE}", "BLOB_UNKNOWN"),
        ("blobs/uploads/none", "BLOB_UPLOAD_UNKNOWN"),
    ):
        for repository in (unique, f"{unique}/none"):
            answer = ask("GET", f"{server.url}/{repository}/{path}")
            assert (answer.status, code_of(answer)) == (404, code)


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/app", "/v2/app/blobs", "/v2//", "/v2/../v2/", "/%00", "/v2/a/tags"])
def test_a_path_outside_the_api_is_not_found(server: Registry, path: str) -> None:
    answer = raw(server.host, "GET", path)
    assert (answer.status, code_of(answer)) == (404, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", {"GET", "HEAD"}),
        ("DELETE", "/v2/a/tags/list", {"GET", "HEAD"}),
        ("DELETE", f"/v2/a/blobs/{NONE}", {"GET", "HEAD"}),
        ("POST", "/v2/a/manifests/1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PATCH", "/v2/a/referrers/1", {"GET", "HEAD"}),
        ("PROPFIND", "/v2/", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(
    server: Registry, method: str, path: str, allowed: set[str]
) -> None:
    answer = raw(server.host, method, path)
    assert (answer.status, code_of(answer)) == (405, "UNSUPPORTED")
    assert set(answer.headers["Allow"].split(",")) == allowed


def test_a_rejected_body_does_not_spoil_the_next_request(server: Registry, unique: str) -> None:
    body = b"GET /v2/ HTTP/1.1\r\nHost: smuggled\r\n\r\n" * 50
    with Connection(server.host) as line:
        line.begin("PUT", f"/v2/{unique}/blobs/uploads/none?digest={NONE}", {"Content-Length": len(body)})
        line.send(body)
        answer = line.answer()
        assert (answer.status, code_of(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
        assert answer.headers["Connection"] == "close"
        assert line.socket.recv(1) == b""


@pytest.mark.parametrize(
    "nonsense", [b"nonsense\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000, b"\x16\x03\x01\x02\x00"]
)
def test_bytes_that_are_not_http_are_rejected_and_do_not_affect_others(
    server: Registry, served: Serve, nonsense: bytes
) -> None:
    with Connection(server.host) as line:
        line.send(nonsense + b"\r\n\r\n")
        assert line.socket.recv(100_000).startswith(b"HTTP/1.")
    assert ask("GET", f"{server.url}/").status == 200
    assert b"Traceback" not in served.log.read_bytes()


def test_a_request_cannot_forge_lines_in_the_log(served: Serve, unique: str) -> None:
    raw(served.host, "GET", f"/v2/{unique}%0a2026-01-01%20forged%1b[2J/tags/list")
    ask("GET", f"http://{served.host}/v2/")  # answered after the line of the request before was written
    log = served.log.read_text()
    (line,) = [line for line in log.splitlines() if "forged" in line]
    assert unique in line
    assert "\x1b" not in line


@pytest.fixture(scope="module")
def frozen() -> Iterator[Registry]:
    """A read-only server with one image in it."""
    store = MemoryStore()
    with InProcessServer(store) as writable:
        Registry(writable.host).push("app", multi_platform("app"), "1")
    with InProcessServer(store, writable=False) as server:
        yield Registry(server.host)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?mount={NONE}&from=app"),
        ("POST", f"blobs/uploads/?digest={NONE}"),
        ("PATCH", "blobs/uploads/none"),
        ("PUT", f"blobs/uploads/none?digest={NONE}"),
        ("DELETE", "blobs/uploads/none"),
        ("PUT", "manifests/2"),
        ("DELETE", "manifests/1"),
    ],
)
def test_a_read_only_server_rejects_writes_and_serves_reads(frozen: Registry, method: str, path: str) -> None:
    answer = ask(method, f"{frozen.url}/app/{path}", b"body" if method != "DELETE" else None)
    assert (answer.status, code_of(answer)) == (405, "UNSUPPORTED")
    assert "read-only" in answer.json()["errors"][0]["message"]
    assert frozen.holds("app", multi_platform("app"), "1")
    assert frozen.tags("app") == ["1"]
