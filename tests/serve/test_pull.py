"""Read from our server: manifests, blobs, ranges, conditional requests."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mirrorsync.errors import RegistryUnavailable
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.stores.memory import MemoryRepository, MemoryStore
from tests.parts.images import digest, image, layer, multi_platform, noise
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection, InProcessServer, code_of, raw

DATA = noise("range", 3_000_000)
EMPTY = digest(b"")
CHANGING = {"date"}


def test_the_api_version_is_answered(server: Registry) -> None:
    answer = ask("GET", f"{server.url}/")
    assert (answer.status, answer.json()) == (200, {})
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


def test_a_manifest_is_served_by_tag_and_by_digest_byte_for_byte(server: Registry, unique: str) -> None:
    made = multi_platform("app")
    server.push(f"{unique}/a/b/c", made, "v1.0_x-y")
    for reference in ("v1.0_x-y", made.digest):
        answer = server.manifest(f"{unique}/a/b/c", reference)
        assert (answer.status, answer.body) == (200, made.raw)
        assert answer.headers["Content-Type"] == made.media_type
        assert answer.headers["Docker-Content-Digest"] == made.digest
        assert int(answer.headers["Content-Length"]) == len(made.raw)
    assert server.holds(f"{unique}/a/b/c", made, "v1.0_x-y")


def test_head_has_the_headers_of_get_and_no_body(server: Registry, unique: str) -> None:
    made = multi_platform("app")
    server.push(f"{unique}/app", made, "1")
    server.push_blob(f"{unique}/app", DATA)
    server.push_blob(f"{unique}/app", b"")
    for path in (
        "/v2/",
        f"/v2/{unique}/app/manifests/1",
        f"/v2/{unique}/app/manifests/{made.digest}",
        f"/v2/{unique}/app/blobs/{digest(DATA)}",
        f"/v2/{unique}/app/blobs/{EMPTY}",
        f"/v2/{unique}/app/tags/list",
        f"/v2/{unique}/app/referrers/{made.digest}",
        f"/v2/{unique}/app/manifests/none",
        f"/v2/{unique}/app/blobs/{digest(b'none')}",
    ):
        got, asked = (raw(server.host, method, path) for method in ("GET", "HEAD"))
        headers = [
            {key.lower(): value for key, value in answer.headers.items() if key.lower() not in CHANGING}
            for answer in (got, asked)
        ]
        assert headers[0] == headers[1], path
        assert asked.status == got.status
        assert asked.body == b""
        assert int(got.headers["Content-Length"]) == len(got.body)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"{digest}"', 304),
        ('W/"{digest}"', 304),
        ('"something", "{digest}"', 304),
        ("*", 304),
        ('"something"', 200),
        ("{digest}", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match_is_answered_with_304(
    server: Registry, unique: str, condition: str, status: int, method: str
) -> None:
    made = image([layer({"etc/none": b""})])
    server.push(f"{unique}/app", made, "1")
    blob = next(iter(made.all_blobs()))
    for kind, reference, name in (
        ("manifests", "1", made.digest),
        ("manifests", made.digest, made.digest),
        ("blobs", blob, blob),
    ):
        headers = {"If-None-Match": condition.format(digest=name)}
        answer = raw(server.host, method, f"/v2/{unique}/app/{kind}/{reference}", headers)
        assert answer.status == status, (kind, answer)
        assert answer.headers["ETag"] == f'"{name}"'
        assert answer.headers["Docker-Content-Digest"] == name
        assert status == 200 or answer.body == b""


SIZE = len(DATA)
RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-99": (0, 100),
    "bytes=1000000-2000000": (1_000_000, 2_000_001),
    "bytes=2999999-": (SIZE - 1, SIZE),
    "bytes=0-": (0, SIZE),
    "bytes=100-99999999999": (100, SIZE),
    "bytes=-1": (SIZE - 1, SIZE),
    "bytes=-1048577": (SIZE - 1_048_577, SIZE),
    "bytes=-99999999999": (0, SIZE),
}


@pytest.mark.parametrize("wanted", RANGES)
def test_only_the_requested_range_of_a_blob_is_sent(server: Registry, unique: str, wanted: str) -> None:
    start, end = RANGES[wanted]
    server.push_blob(f"{unique}/app", DATA)
    answer = server.blob(f"{unique}/app", digest(DATA), {"Range": wanted})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Docker-Content-Digest"] == digest(DATA)
    assert answer.body == DATA[start:end]


@pytest.mark.parametrize("wanted", ["bytes=3000000-", "bytes=3000000-3000001", "bytes=-0", "bytes=5-4"])
def test_a_range_beyond_the_blob_is_rejected_with_its_size(server: Registry, unique: str, wanted: str) -> None:
    server.push_blob(f"{unique}/app", DATA)
    answer = server.blob(f"{unique}/app", digest(DATA), {"Range": wanted})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert code_of(answer) == "RANGE_INVALID"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=-", "bytes=a-b", "bytes=\u0661-", "lines=1-2", "0-10"])
def test_an_invalid_range_is_ignored(server: Registry, unique: str, wanted: str) -> None:
    data = b"0123456789"
    server.push_blob(f"{unique}/app", data)
    with Connection(server.host) as line:
        head = f"GET /v2/{unique}/app/blobs/{digest(data)} HTTP/1.1\r\nHost: localhost\r\nRange: {wanted}\r\n\r\n"
        line.send(head.encode())
        answer = line.answer()
    assert (answer.status, answer.body) == (200, data)
    assert "Content-Range" not in answer.headers


def test_a_range_is_ignored_if_if_range_does_not_match(server: Registry, unique: str) -> None:
    data = b"0123456789"
    server.push_blob(f"{unique}/app", data)
    asked = {"Range": "bytes=2-3"}
    same = server.blob(f"{unique}/app", digest(data), {**asked, "If-Range": f'"{digest(data)}"'})
    assert (same.status, same.body) == (206, b"23")
    other = server.blob(f"{unique}/app", digest(data), {**asked, "If-Range": '"other"'})
    assert (other.status, other.body) == (200, data)


def test_the_empty_blob_is_served_and_every_range_of_it_rejected(server: Registry, unique: str) -> None:
    server.push_blob(f"{unique}/app", b"")
    answer = server.blob(f"{unique}/app", EMPTY)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    assert server.blob(f"{unique}/app", EMPTY, {"Range": "bytes=0-"}).status == 416


def test_several_requests_are_served_on_one_connection(server: Registry, unique: str) -> None:
    made = multi_platform("app")
    server.push(f"{unique}/app", made, "1")
    server.push_blob(f"{unique}/app", DATA)
    blob = f"/v2/{unique}/app/blobs/{digest(DATA)}"
    with Connection(server.host) as line:
        for _ in range(2):
            assert line.ask("GET", blob).body == DATA
            assert line.ask("HEAD", blob).status == 200
            assert line.ask("GET", blob, {"Range": "bytes=5-9"}).body == DATA[5:10]
            assert line.ask("GET", blob, {"Range": "bytes=-0"}).status == 416
            assert line.ask("GET", blob, {"If-None-Match": "*"}).status == 304
            assert line.ask("GET", f"/v2/{unique}/none/tags/list").status == 404
            assert line.ask("GET", f"/v2/{unique}/app/manifests/1").body == made.raw
            assert line.ask("GET", "/nothing").status == 404


def test_a_client_that_hangs_up_does_not_affect_others(server: Registry, served: Serve, unique: str) -> None:
    data = noise(f"hang {unique}", 20_000_000)  # more than fits into the sockets' buffers
    server.push_blob(f"{unique}/app", data)
    for _ in range(5):
        with Connection(server.host) as line:
            line.send(f"GET /v2/{unique}/app/blobs/{digest(data)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert line.socket.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert server.blob(f"{unique}/app", digest(data)).body == data
    assert b"Traceback" not in served.log.read_bytes()


class _Breaking(MemoryStore):
    """A store that fails in the middle of a blob, as a registry can."""

    def repository(self, name: str) -> MemoryRepository:
        return _BreakingRepository(self, name)


class _BreakingRepository(MemoryRepository):
    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        with super().open(blob, offset) as chunks:
            yield self._broken(chunks)

    def _broken(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield next(chunks)
        raise RegistryUnavailable("it is gone")


def test_the_connection_is_closed_if_a_blob_cannot_be_read_to_its_end(unique: str) -> None:
    with InProcessServer(_Breaking()) as around:
        server = Registry(around.host)
        server.push_blob(f"{unique}/app", DATA)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)) as caught:
            server.blob(f"{unique}/app", digest(DATA))
        if isinstance(caught.value, http.client.IncompleteRead):
            assert DATA.startswith(caught.value.partial)  # and nothing after it, such as another answer
        assert ask("GET", f"{server.url}/").status == 200


def test_content_damaged_on_disk_is_not_served(served: Serve, unique: str) -> None:
    server = Registry(served.host)
    made = multi_platform(f"damaged {unique}")
    server.push(f"{unique}/app", made, "1")
    directory = served.log.parent / served.log.name.removesuffix(".serve.log")
    file = directory / "blobs/sha256" / made.digest.removeprefix("sha256:")
    file.write_bytes(made.raw.replace(b"amd64", b"arm64"))
    for path in ("manifests/1", f"manifests/{made.digest}", f"referrers/{made.digest}"):
        answer = ask("GET", f"{server.url}/{unique}/app/{path}")
        assert answer.status == 500, path
        assert "damaged" in answer.json()["errors"][0]["message"]
        assert str(directory) not in answer.body.decode()
    assert server.blob(f"{unique}/app", next(iter(made.all_blobs()))).status == 200
