"""Read blobs from servers that close connections, send wrong lengths, or send other content."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

import pytest

from mirrorsync.errors import ContentNotFound, IntegrityError, RegistryFailure, Unreachable
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.memory import MemoryStore
from tests.parts.images import noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described, pieces, streamed

SIZE = 2 * CHUNK_BYTES + 12345
DATA = noise("a layer", SIZE)
BLOB = described(DATA)
BREAKS = {"0": 0, "1": 1, "half": SIZE // 2, "n-1": SIZE - 1}
READERS = (ClientHarness.small, ClientHarness.large)
Read = Callable[[ClientHarness, Descriptor], bytes]


@pytest.fixture(autouse=True)
def held(tiny: TinyRegistry) -> None:
    tiny.hold_blob("app", DATA)


@pytest.mark.parametrize("sized", [True, False], ids=["with a length", "without a length"])
@pytest.mark.parametrize("at", BREAKS.values(), ids=BREAKS)
def test_an_interrupted_read_is_resumed(server: Unruly, harness: ClientHarness, at: int, sized: bool) -> None:
    server.fault("cut", "GET", "/blobs/", hits=[1], at=at, sized=sized)
    assert harness.large(BLOB) == DATA
    assert server.seen.served == SIZE
    ranges = [asked.headers["Range"] for asked in server.seen.of("GET", "/blobs/")]
    assert ranges == [None, f"bytes={at}-" if at else None]


def test_a_read_that_is_interrupted_repeatedly_completes(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    data = noise("a large layer", 8 * CHUNK_BYTES)
    tiny.hold_blob("app", data)
    server.fault("cut", "GET", "/blobs/", hits=range(1, 8), at=CHUNK_BYTES)
    assert harness.large(described(data)) == data
    assert server.seen.served == len(data)


def test_a_read_without_progress_fails(server: Unruly, harness: ClientHarness) -> None:
    server.fault("cut", "GET", "/blobs/", at=0)
    with pytest.raises(Unreachable) as caught:
        harness.large(BLOB)
    assert len(server.seen.of("GET", "/blobs/")) < 10
    assert caught.value.where == f"{server.host}/app@{BLOB.digest}"


@pytest.mark.parametrize("at", BREAKS.values(), ids=BREAKS)
def test_a_read_resumes_without_duplicate_bytes_if_range_is_ignored(
    server: Unruly, harness: ClientHarness, at: int
) -> None:
    server.fault("ignore_range", "GET", "/blobs/")
    server.fault("cut", "GET", "/blobs/", hits=[1], at=at)
    assert harness.large(BLOB) == DATA


@pytest.mark.parametrize(
    "header",
    [
        f"bytes 0-{SIZE - 1}/{SIZE}",
        f"bytes {SIZE // 2 + 1}-{SIZE - 1}/{SIZE}",
        f"bytes {SIZE // 2}-{SIZE - 2}/{SIZE}",
        f"bytes {SIZE // 2}-{SIZE - 1}/{SIZE + 1}",
        f"bytes {SIZE // 2}-{SIZE - 1}",
        f"items {SIZE // 2}-{SIZE - 1}/{SIZE}",
        f"bytes {'9' * 5000}-{SIZE - 1}/{SIZE}",
        "",
        None,
    ],
)
def test_a_range_that_does_not_fit_is_rejected(server: Unruly, harness: ClientHarness, header: str | None) -> None:
    server.fault("headers", "GET", "/blobs/", change={"Content-Range": header})
    server.fault("cut", "GET", "/blobs/", hits=[1], at=SIZE // 2)
    with pytest.raises((RegistryFailure, IntegrityError)):
        harness.large(BLOB)


def test_a_range_of_unknown_total_size_is_accepted(server: Unruly, harness: ClientHarness) -> None:
    server.fault("headers", "GET", "/blobs/", change={"Content-Range": f"bytes {SIZE // 2}-{SIZE - 1}/*"})
    server.fault("cut", "GET", "/blobs/", hits=[1], at=SIZE // 2)
    assert harness.large(BLOB) == DATA


def test_a_read_is_resumed_after_errors_of_the_server(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "GET", "/blobs/", hits=[2, 3], status=503)
    server.fault("cut", "GET", "/blobs/", hits=[1], at=SIZE // 2)
    assert harness.large(BLOB) == DATA
    assert server.seen.served == SIZE


def test_a_blob_that_is_deleted_while_it_is_read_is_not_found(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "GET", "/blobs/", status=404)
    server.fault("cut", "GET", "/blobs/", hits=[1], at=SIZE // 2)
    with pytest.raises(ContentNotFound):
        harness.large(BLOB)


Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "one bit of the first byte": lambda body: bytes([body[0] ^ 1]) + body[1:],
    "one bit in the middle": lambda body: body[: SIZE // 2] + bytes([body[SIZE // 2] ^ 128]) + body[SIZE // 2 + 1 :],
    "one bit of the last byte": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "one byte more": lambda body: body + b"x",
    "one byte less": lambda body: body[:-1],
    "sent twice": lambda body: body + body,
    "empty body": lambda body: b"",
    "a web page": lambda body: b"<html>please log in</html>",
}


@pytest.mark.parametrize("sized", [True, False], ids=["with a length", "without a length"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_bytes_are_never_stored(server: Unruly, harness: ClientHarness, damage: Damage, sized: bool) -> None:
    server.fault("body", "GET", "/blobs/", change=damage, sized=sized)
    target = MemoryStore().repository("copy")

    async def copy(repository: WritableRepository) -> None:
        def stream() -> None:
            with repository.open(BLOB) as chunks:
                target.put(BLOB, chunks)

        await asyncio.to_thread(stream)

    with pytest.raises(IntegrityError):
        harness.within(copy)
    assert not harness.within(lambda _: target.has(BLOB))
    with pytest.raises(IntegrityError):
        harness.small(BLOB)


@pytest.mark.parametrize("read", READERS)
def test_a_layer_with_a_content_encoding_header_is_read_unchanged(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, read: Read
) -> None:
    layer = gzip.compress(noise("text", 1000), mtime=0)
    tiny.hold_blob("app", layer)
    server.fault("headers", "GET", "/blobs/", change={"Content-Encoding": "gzip"})
    assert read(harness, described(layer)) == layer


@pytest.mark.parametrize("read", READERS)
def test_requests_accept_only_the_identity_encoding(server: Unruly, harness: ClientHarness, read: Read) -> None:
    read(harness, BLOB)
    for asked in server.seen.requests:
        assert asked.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("reset", [True, False])
def test_a_request_is_retried_if_the_server_hangs_up(
    server: Unruly, harness: ClientHarness, read: Read, reset: bool
) -> None:
    server.fault("hang_up", "GET", "/blobs/", hits=[1, 2], reset=reset)
    assert read(harness, BLOB) == DATA


def test_an_interrupted_small_blob_is_read_again(server: Unruly, harness: ClientHarness) -> None:
    server.fault("cut", "GET", "/blobs/", hits=[1], at=SIZE // 2)
    assert harness.small(BLOB) == DATA


@pytest.mark.parametrize("read", READERS)
def test_a_sha512_blob_is_verified(tiny: TinyRegistry, server: Unruly, harness: ClientHarness, read: Read) -> None:
    tiny.hold_blob("app", DATA, "sha512")
    blob = described(DATA, "sha512")
    assert read(harness, blob) == DATA
    server.fault("flip", "GET", "/blobs/", at=5)
    with pytest.raises(IntegrityError):
        harness.small(blob)


def test_an_offset_is_requested_by_range(server: Unruly, harness: ClientHarness) -> None:
    assert harness.large(BLOB, SIZE - 3) == DATA[-3:]
    assert server.seen.served == 3


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
def test_a_blob_with_another_size_counts_as_missing(server: Unruly, harness: ClientHarness, size: int) -> None:
    server.fault("headers", "HEAD", "/blobs/", change={"Content-Length": str(size)})
    assert harness.within(lambda repository: repository.has(BLOB)) is False


def test_a_blob_without_a_size_in_the_answer_exists(server: Unruly, harness: ClientHarness) -> None:
    server.fault("unsized", "HEAD", "/blobs/")
    assert harness.within(lambda repository: repository.has(BLOB)) is True
    assert harness.within(lambda repository: repository.blob(BLOB.digest)) is None


def test_a_wrong_digest_header_of_a_blob_is_ignored(server: Unruly, harness: ClientHarness) -> None:
    server.fault("headers", "*", "/blobs/", change={"Docker-Content-Digest": str(Digest.of(b"other"))})
    assert harness.large(BLOB) == DATA
    assert harness.small(BLOB) == DATA


def test_cookies_are_not_stored_or_sent(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    server.fault("headers", "*", "", change={"Set-Cookie": "session=canary; Path=/"})
    other = noise("another", CHUNK_BYTES + 5)
    tiny.hold_blob("app", other)

    async def both(repository: WritableRepository) -> None:
        for blob in (BLOB, described(other)):
            await repository.read(blob)
            await asyncio.to_thread(streamed, repository, blob)
            await asyncio.to_thread(repository.put, blob, pieces(DATA if blob == BLOB else other))

    harness.within(both)
    assert all("Cookie" not in asked.headers for asked in server.seen.requests)
