"""Slightly malformed HTTP, as registries and the proxies in front of them send it: read as Go's and curl's
clients read them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping

import pytest

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import WritableRepository
from tests.parts.images import image, layer, noise
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described, pieces

DATA = noise("odd", 100_000)
BLOB = described(DATA)
IMAGE = image([layer({"a": b"1"})])
Read = Callable[[ClientHarness], bytes]
READERS: Mapping[str, Read] = {
    "requests": lambda harness: harness.small(BLOB),
    "streams": lambda harness: harness.large(BLOB),
}
read_both = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@pytest.fixture
def tiny() -> TinyRegistry:
    registry = TinyRegistry()
    registry.hold_blob("app", DATA)
    registry.hold("app", IMAGE, "1")
    return registry


def with_headers(*lines: str) -> Callable[[Reply], Iterable[bytes]]:
    """Return an answer with the body and other headers."""
    return lambda reply: ["".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *lines, "")).encode(), reply.body]


def chunked_and_sized(reply: Reply) -> Iterable[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield b"%x\r\n%s\r\n0\r\n\r\n" % (len(reply.body), reply.body)


SIZED = f"Content-Length: {len(DATA)}"
ODD: Mapping[str, Callable[[Reply], Iterable[bytes]]] = {
    "headers longer than 8190 bytes": with_headers(SIZED, f"Content-Security-Policy: {'x' * 60_000}"),
    "many cookies": with_headers(SIZED, *(f"Set-Cookie: a{number}={'y' * 500}" for number in range(200))),
    "a length and chunks": chunked_and_sized,
    "a space in a header's name": with_headers(SIZED, "X Odd Name: 1"),
    "a status without a reason phrase": lambda reply: [f"HTTP/1.1 200\r\n{SIZED}\r\n\r\n".encode(), reply.body],
    "lines that end in LF": lambda reply: [f"HTTP/1.1 200 OK\n{SIZED}\n\n".encode(), reply.body],
    "an informational answer before the final one": lambda reply: [
        f"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n{SIZED}\r\n\r\n".encode(),
        reply.body,
    ],
    "a non-ASCII byte": with_headers(SIZED, "X-Name: caf\xe9"),
}


@read_both
@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_a_slightly_malformed_answer_is_read(
    server: Unruly, harness: ClientHarness, read: Read, answer: Callable[[Reply], Iterable[bytes]]
) -> None:
    server.fault("raw", "GET", "/blobs/", pieces=answer)
    assert read(harness) == DATA
    assert harness.recorded.retries == []


def test_a_body_after_a_head_is_not_read_as_the_next_answer(server: Unruly, harness: ClientHarness) -> None:
    def with_body(reply: Reply) -> Iterable[bytes]:
        lines = (f"{name}: {value}\r\n" for name, value in reply.headers.items())
        head = f"HTTP/1.1 200 OK\r\n{''.join(lines)}\r\n"
        return [head.encode() + IMAGE.raw]

    server.fault("raw", "HEAD", "/manifests/", pieces=with_body, kept=True)

    async def twice(repository: WritableRepository) -> list[Descriptor | None]:
        return [await repository.resolve(Tag("1")), await repository.resolve(Tag("1"))]

    found = harness.within(twice)
    assert [descriptor.digest for descriptor in found if descriptor] == [IMAGE.digest] * 2
    assert harness.recorded.retries == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
def test_a_closed_kept_connection_is_replaced_without_a_retry(
    server: Unruly, harness: ClientHarness, method: str
) -> None:
    server.fault("close_unsaid", method)

    async def several(repository: WritableRepository) -> None:
        for number in range(5):
            assert await repository.resolve(Tag("1")) is not None
            assert await repository.read(BLOB) == DATA
            data = noise(f"new {number}", 5000)
            await repository.write(described(data), data)

    harness.within(several)
    assert harness.recorded.retries == []


def test_an_answer_that_is_not_http_is_reported(server: Unruly, harness: ClientHarness) -> None:
    server.fault("raw", "GET", "/blobs/", pieces=lambda _: itertools.repeat(b"SSH-2.0-OpenSSH\r\n", 3))
    with pytest.raises(Exception, match="not HTTP"):
        harness.small(BLOB)


def test_a_large_blob_is_sent_although_connections_are_closed_without_notice(
    server: Unruly, harness: ClientHarness
) -> None:
    server.fault("close_unsaid", "POST")
    large = noise("large", 3_000_000)
    harness.put(described(large), pieces(large))
    assert harness.large(described(large)) == large
    assert harness.recorded.retries == []
