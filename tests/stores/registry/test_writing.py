"""Write blobs to registries that reject, lose or interrupt uploads, or lose an answer."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from mirrorsync.errors import (
    Denied,
    IntegrityError,
    MirrorsyncError,
    RegistryFailure,
    TokenRanOut,
    Unauthorized,
    Unreachable,
)
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.secret import Secret
from mirrorsync.stores.base import WritableRepository
from tests.parts.auth_service import PASSWORD, USER, AuthService, basic_guard, with_tokens
from tests.parts.images import noise
from tests.parts.slow_line import SlowLine
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import HangUp, Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time, described, pieces

SMALL = noise("small", 5000)
LARGE = noise("large", 3 * CHUNK_BYTES + 17)
MIB = 1024 * 1024


def small(harness: ClientHarness, data: bytes) -> None:
    harness.write(data)


def large(harness: ClientHarness, data: bytes) -> None:
    harness.put(described(data), pieces(data))


Write = Callable[[ClientHarness, bytes], None]
WRITERS: dict[str, Write] = {"requests": small, "streams": large}
write_both = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def stubborn(harness: ClientHarness, blob: Descriptor, data: bytes, attempts: int = 3) -> list[MirrorsyncError]:
    """Write a blob as the engine does: from the beginning after a transient failure. Return the failures."""

    async def written(repository: WritableRepository) -> list[MirrorsyncError]:
        failures: list[MirrorsyncError] = []
        for _ in range(attempts):
            try:
                await asyncio.to_thread(repository.put, blob, pieces(data))
            except MirrorsyncError as error:
                failures.append(error)
                if not error.transient and not isinstance(error, IntegrityError):
                    raise
            else:
                return failures
        raise failures[-1]

    return harness.within(written)


def holds(tiny: TinyRegistry, data: bytes, algorithm: str = "sha256") -> bool:
    return tiny.blobs.get(("app", f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")) == data


@write_both
@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE], ids=["empty", "one byte", "small", "large"])
def test_a_blob_is_written_with_two_requests(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, write: Write, data: bytes
) -> None:
    write(harness, data)
    assert holds(tiny, data)
    start, end = server.seen.requests[1:]
    assert (start.method, start.target, start.headers["Content-Length"]) == ("POST", "/v2/app/blobs/uploads/", "0")
    assert (end.method, end.headers["Content-Length"]) == ("PUT", str(len(data)))
    assert end.headers["Content-Type"] == "application/octet-stream"
    assert end.target.startswith("/v2/app/blobs/uploads/session1?_state=0&digest=sha256%3A")


def test_a_sha512_upload_is_announced(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    blob = described(LARGE, "sha512")
    harness.put(blob, pieces(LARGE))
    assert holds(tiny, LARGE, "sha512")
    assert server.seen.of("POST")[0].target == "/v2/app/blobs/uploads/?digest-algorithm=sha512"


LOCATIONS = {
    "absolute": "{url}/v2/app/blobs/uploads/{id}?_state=0",
    "relative": "/v2/app/blobs/uploads/{id}?_state=0",
    "relative to the request": "{id}?_state=0",
    "with a longer query": "/v2/app/blobs/uploads/{id}?a=%2F%3D&b=c+d~&_state=0&signature=x%3D%3D",
}


@write_both
@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS)
def test_the_upload_is_sent_to_the_location(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, write: Write, location: str
) -> None:
    sent = location.replace("{url}", server.url).replace("{id}", "session1")
    server.fault("headers", "POST", change={"Location": sent})
    write(harness, SMALL)
    assert holds(tiny, SMALL)
    (end,) = server.seen.of("PUT")
    separator = "&" if "?" in sent else "?"
    path = sent.removeprefix(server.url)
    path = path if path.startswith("/") else f"/v2/app/blobs/uploads/{path}"
    assert end.target == f"{path}{separator}digest=sha256%3A{hashlib.sha256(SMALL).hexdigest()}"


@write_both
def test_an_upload_to_another_host_carries_no_credentials(
    tiny: TinyRegistry, server: Unruly, time: Time, write: Write
) -> None:
    tiny.guard = basic_guard('Basic realm="here"')
    elsewhere = TinyRegistry()
    elsewhere.uploads["session1"] = bytearray()
    with Unruly(elsewhere) as other:
        location = f"{other.url}/v2/app/blobs/uploads/session1?_state=0"
        server.fault("headers", "POST", change={"Location": location})
        write(ClientHarness(server.host, HostSettings("robot", Secret(PASSWORD), plain_http=True), time=time), SMALL)
        assert holds(elsewhere, SMALL)
        assert [asked.authorization for asked in other.seen.requests] == [""]


@write_both
@pytest.mark.parametrize("location", [None, "", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x", "http://[::1/x"])
def test_an_invalid_upload_location_is_reported(
    server: Unruly, harness: ClientHarness, write: Write, location: str | None
) -> None:
    server.fault("headers", "POST", change={"Location": location})
    with pytest.raises(RegistryFailure) as caught:
        write(harness, SMALL)
    assert caught.value.where.startswith(f"{server.host}/app@sha256:")
    assert not server.seen.of("PUT")


@write_both
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_success_status_is_accepted(server: Unruly, harness: ClientHarness, write: Write, status: int) -> None:
    server.fault("answer", "PUT", status=status)
    write(harness, SMALL)


class Proxylike:
    """A registry behind a proxy that limits the size of requests."""

    def __init__(self, server: Unruly, limit: int) -> None:
        self.app, self.limit = server.app, limit
        server.app = self

    def __call__(self, asked: object) -> Reply:
        if len(asked.body) > self.limit:  # type: ignore[attr-defined]
            return Reply(413, {"Content-Type": "text/html"}, b"<html>too large</html>")
        return self.app(asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [16 * MIB, 5 * MIB, MIB, 512 * 1024])
def test_a_blob_too_large_for_one_request_is_sent_in_parts(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, limit: int
) -> None:
    data = noise("very large", 17 * MIB)
    Proxylike(server, limit)
    failures = stubborn(harness, described(data), data)
    assert len(failures) == 1
    assert holds(tiny, data)
    parts = [asked for asked in server.seen.of("PATCH") if len(asked.body) <= limit]
    position = 0
    for part in parts:
        assert part.headers["Content-Range"] == f"{position}-{position + len(part.body) - 1}"
        assert part.headers["Content-Length"] == str(len(part.body))
        assert part.headers["Content-Type"] == "application/octet-stream"
        position += len(part.body)
    assert position == len(data)
    end = server.seen.of("PUT")[-1]
    assert end.headers["Content-Length"] == "0"
    assert f"_state={len(data)}&digest=sha256%3A" in end.target


def test_the_part_size_of_a_host_is_remembered_for_the_next_blob(server: Unruly, harness: ClientHarness) -> None:
    Proxylike(server, 2 * MIB)

    async def both(repository: WritableRepository) -> int:
        with pytest.raises(MirrorsyncError):
            await asyncio.to_thread(repository.put, described(LARGE), pieces(LARGE))
        await asyncio.to_thread(repository.put, described(LARGE), pieces(LARGE))
        refused = len([asked for asked in server.seen.requests if len(asked.body) > 2 * MIB])
        other = noise("another", len(LARGE))
        await asyncio.to_thread(repository.put, described(other), pieces(other))
        return len([asked for asked in server.seen.requests if len(asked.body) > 2 * MIB]) - refused

    assert harness.within(both) == 0


@pytest.mark.parametrize(("asked_for", "expected"), [("3145728", 3 * MIB), ("nonsense", MIB), ("9" * 50, MIB)])
def test_the_minimum_part_size_of_a_registry_is_respected(
    server: Unruly, harness: ClientHarness, asked_for: str, expected: int
) -> None:
    data = noise("very large", 8 * MIB + 5)
    server.fault("headers", "POST", change={"OCI-Chunk-Min-Length": asked_for})
    limited = Proxylike(server, MIB)
    harness.time = Time()

    async def twice(repository: WritableRepository) -> None:
        for _ in range(4):
            try:
                await asyncio.to_thread(repository.put, described(data), pieces(data))
            except MirrorsyncError:
                limited.limit = max(MIB, expected)  # it accepts the size that it requires
        await asyncio.to_thread(repository.put, described(data), pieces(data))

    harness.within(twice)
    sizes = [len(asked.body) for asked in server.seen.of("PATCH")][-8:]
    assert all(size >= expected for size in sizes[-3:-1])


def test_a_size_limit_below_the_smallest_part_is_reported(server: Unruly, harness: ClientHarness) -> None:
    Proxylike(server, 1000)
    with pytest.raises(RegistryFailure) as caught:
        stubborn(harness, described(LARGE), LARGE)
    assert "413" in caught.value.message or "bytes" in caught.value.message
    assert "size limit" in caught.value.remedy
    with pytest.raises(RegistryFailure, match="413") as caught:
        harness.write(SMALL)
    assert "size limit" in caught.value.remedy


def test_a_proxy_that_rejects_and_hangs_up_before_reading_the_body_is_detected(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    data = noise("very large", 20 * MIB)
    server.fault("unread", "PUT", "/uploads/", hits=[1], at=100_000, status=413)
    assert len(stubborn(harness, described(data), data)) == 1
    assert holds(tiny, data)
    assert server.seen.of("PATCH")


@pytest.mark.parametrize("fault", ["unread", "stop_reading"])
@pytest.mark.parametrize("at", [0, 1, len(LARGE) // 2, len(LARGE) - 1])
def test_an_interrupted_upload_is_restarted(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, at: int, fault: str
) -> None:
    server.fault(fault, "PUT", "/uploads/", hits=[1], at=at)
    (failure,) = stubborn(harness, described(LARGE), LARGE)
    assert isinstance(failure, Unreachable)
    assert holds(tiny, LARGE)


def test_an_interrupted_small_upload_is_restarted_by_the_client(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    server.fault("unread", "PUT", "/uploads/", hits=[1, 2], at=1000)
    harness.write(SMALL)
    assert holds(tiny, SMALL)
    assert len(server.seen.of("POST")) >= 2


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_large_upload_with_a_transient_failure_can_be_retried(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, time: Time, status: int
) -> None:
    headers = {"Retry-After": "30"} if status in (429, 503) else {}
    server.fault("answer", "PUT", "/uploads/", hits=[1], status=status, headers=headers)
    (failure,) = stubborn(harness, described(LARGE), LARGE)
    assert str(status) in failure.message
    assert holds(tiny, LARGE)
    if headers:
        first, second = server.seen.of("PUT")
        assert second.at - first.at >= 30


def test_a_long_retry_after_at_the_end_of_an_upload_is_respected(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "PUT", "/uploads/", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(MirrorsyncError, match="3600"):
        stubborn(harness, described(LARGE), LARGE)
    assert len(server.seen.of("PUT")) == 1


@write_both
def test_an_upload_that_the_registry_lost_is_restarted(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, write: Write
) -> None:
    body = b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}'
    server.fault("answer", "PUT", "/uploads/", hits=[1], status=404, body=body)
    if write is small:
        write(harness, LARGE)
    else:
        assert len(stubborn(harness, described(LARGE), LARGE)) == 1
    assert holds(tiny, LARGE)


@pytest.mark.parametrize(
    ("status", "code"), [(404, "BLOB_UPLOAD_UNKNOWN"), (416, "RANGE_INVALID"), (400, "BLOB_UPLOAD_INVALID")]
)
def test_an_upload_that_is_lost_between_parts_is_restarted(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, status: int, code: str
) -> None:
    Proxylike(server, MIB)
    body = f'{{"errors": [{{"code": "{code}"}}]}}'.encode()
    server.fault("answer", "PATCH", "_state=[1-9]", hits=[1], status=status, body=body)
    failures = stubborn(harness, described(LARGE), LARGE)
    assert len(failures) == 2
    assert holds(tiny, LARGE)


@write_both
def test_a_lost_answer_after_the_blob_was_stored_causes_no_second_upload(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, write: Write
) -> None:
    server.fault("lose_answer", "PUT", "/uploads/", hits=[1])
    write(harness, LARGE)
    assert holds(tiny, LARGE)
    if write is large:
        assert len(server.seen.of("PUT")) == 1


@write_both
def test_a_digest_invalid_answer_is_reported_as_an_integrity_error(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, write: Write
) -> None:
    body = b'{"errors": [{"code": "DIGEST_INVALID", "message": "provided digest did not match"}]}'
    server.fault("answer", "PUT", "/uploads/", status=400, body=body)
    with pytest.raises(IntegrityError, match="DIGEST_INVALID"):
        write(harness, LARGE)
    assert not tiny.blobs
    if write is large:
        assert server.seen.of("DELETE"), "the upload is cancelled"


def test_a_failing_reader_cancels_the_upload(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    def broken() -> Iterator[bytes]:
        yield LARGE[:CHUNK_BYTES]
        raise IntegrityError("the source is wrong")

    with pytest.raises(IntegrityError, match="the source is wrong"):
        harness.put(described(LARGE), broken())
    assert server.seen.of("DELETE")
    assert not tiny.blobs


WRONG: dict[str, Iterable[bytes]] = {
    "too long": [LARGE, b"x"],
    "too short": [LARGE[:-1]],
    "one bit flipped": [LARGE[:-1], bytes([LARGE[-1] ^ 1])],
    "empty": [],
}


@pytest.mark.parametrize("chunks", WRONG.values(), ids=WRONG)
def test_content_with_a_wrong_digest_is_never_sent_completely(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, chunks: Iterable[bytes]
) -> None:
    with pytest.raises(IntegrityError):
        harness.put(described(LARGE), chunks)
    assert not tiny.blobs
    assert not [asked for asked in server.seen.of("PUT") if len(asked.body) == len(LARGE)]


@write_both
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirected_upload_is_followed_or_fails_with_a_clear_error(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, write: Write, status: int
) -> None:
    other = f"/v2/app/blobs/uploads/session1?_state=0&moved=1&digest={described(SMALL).digest}"
    server.fault("answer", "PUT", "_state=0&digest", status=status, headers={"Location": other})
    try:
        write(harness, SMALL)
    except RegistryFailure as error:
        assert write is large
        assert "redirects" in error.message  # noqa: PT017 - one engine follows
    else:
        assert write is small


@write_both
@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Denied), (507, RegistryFailure)])
def test_a_rejected_upload_is_reported_with_the_reason(
    server: Unruly, harness: ClientHarness, write: Write, status: int, kind: type[MirrorsyncError]
) -> None:
    body = b'{"errors": [{"message": "quota of the project is used up"}]}'
    server.fault("answer", "POST", "/uploads/", status=status, body=body)
    with pytest.raises(kind, match="quota of the project") as caught:
        write(harness, SMALL)
    assert caught.value.remedy
    assert re.match(rf"{server.host}/app@sha256:", caught.value.where)


def test_an_upload_that_arrived_completely_is_closed_and_not_sent_again(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    """The answer to the last PUT is lost, and the registry has all bytes but no blob, as the upload's status shows."""

    def swallow(asked: Asked) -> Reply:
        if asked.method == "PUT" and "/uploads/" in asked.path and asked.body:
            tiny(replace(asked, method="PATCH"))
            raise HangUp
        if asked.method == "GET" and "/uploads/" in asked.path:
            session = asked.path.rpartition("/")[2]
            size = len(tiny.uploads[session])
            return Reply(204, {"Location": f"{asked.path}?_state={size}", "Range": f"0-{size - 1}"})
        return tiny(asked)

    server.app = swallow
    large(harness, LARGE)
    assert tiny.blobs["app", described(LARGE).digest] == LARGE
    assert sum(len(asked.body) for asked in server.seen.requests) == len(LARGE)


def test_a_token_that_expires_during_an_upload_reduces_the_part_size(tiny: TinyRegistry) -> None:
    """Proxies that read the whole body before the registry gets the token (nginx before GitLab, whose tokens live five
    minutes): the blob is sent in parts that fit the line and the token.
    """
    auth_service = AuthService(lifetime=1.5, clock=time.monotonic)
    tiny.guard = auth_service.guard
    data = noise("slow and large", 3_000_000)
    with Unruly(with_tokens(tiny, auth_service)) as server, SlowLine(server.host, up=1_000_000) as line:
        harness = ClientHarness(line.host, replace(PLAIN, username=USER, password=Secret(PASSWORD)), time=None)
        auth_service.realm = f"http://{line.host}/token"

        async def twice(repository: WritableRepository) -> None:
            with pytest.raises(TokenRanOut):
                await asyncio.to_thread(repository.put, described(data), pieces(data))
            await asyncio.to_thread(repository.put, described(data), pieces(data))

        harness.within(twice)
        assert tiny.blobs["app", described(data).digest] == data
        assert len(server.seen.of("PATCH")) >= 3
