"""Proxies and CDNs that compress although identity was requested: content is decoded, up to its limit."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from mirrorsync.errors import IntegrityError, Malformed, MirrorsyncError, RegistryFailure
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.registry.http.encoding import WrongCoding, codings, decoded, decoded_whole
from tests.parts.auth_service import PASSWORD, USER, AuthService, with_tokens
from tests.parts.images import OCI_MANIFEST, artifact, image, layer, noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, described, streamed

IMAGE = image([layer({"a": b"1"})])
ROOT = Manifest.parse(IMAGE.raw, IMAGE.media_type)
UNDONE = ["gzip", "x-gzip", "deflate", "bare deflate", "two members"]
TEXT = b"a line that compresses well\n" * 100_000
LARGE = TEXT + noise("and something that does not", CHUNK_BYTES)
READERS = (ClientHarness.small, ClientHarness.large)
Read = Callable[[ClientHarness, Descriptor], bytes]


@pytest.fixture(autouse=True)
def held(tiny: TinyRegistry) -> None:
    tiny.hold("app", IMAGE, "1", "2")


@pytest.mark.parametrize("coding", UNDONE)
def test_a_manifest_that_a_cdn_compresses_is_decoded(server: Unruly, harness: ClientHarness, coding: str) -> None:
    server.fault("compress", "*", "/manifests/", coding=coding)
    assert harness.resolve("1") == ROOT.descriptor
    assert harness.within(lambda repository: repository.manifest(ROOT.descriptor)).raw == IMAGE.raw


@pytest.mark.parametrize("coding", UNDONE)
def test_lists_that_a_cdn_compresses_are_decoded(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, coding: str
) -> None:
    signature = tiny.hold("app", artifact(IMAGE, b"signed"))
    server.fault("compress", "GET", "/tags/list|/referrers/", coding=coding)
    assert harness.tags() == ["1", "2"]
    (found,) = harness.within(lambda repository: repository.referrers(ROOT.digest))
    assert found.digest == signature.digest


def test_a_token_that_a_cdn_compresses_is_decoded(server: Unruly, tiny: TinyRegistry, harness: ClientHarness) -> None:
    auth_service = AuthService(f"{server.url}/token")
    tiny.guard = auth_service.guard
    server.app = with_tokens(tiny, auth_service)
    server.fault("compress", "GET", "/token", coding="gzip")
    harness.settings = HostSettings(USER, Secret(PASSWORD), plain_http=True)
    assert harness.resolve("1") == ROOT.descriptor


@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_an_unsupported_coding_is_rejected_by_name(server: Unruly, harness: ClientHarness, coding: str) -> None:
    server.fault("compress", "GET", "/manifests/|/tags/", coding=coding)
    for ask in (harness.tags, lambda: harness.within(lambda repository: repository.manifest(ROOT.descriptor))):
        with pytest.raises(RegistryFailure, match=coding) as caught:
            ask()
        assert not isinstance(caught.value, IntegrityError)
        assert "proxy or CDN" in caught.value.remedy


@pytest.mark.parametrize("label", ["gzip", "br", "aws-chunked", "utf-8", "identity", "gzip, gzip, gzip", "x" * 5000])
def test_an_uncompressed_answer_that_is_declared_compressed_is_read_unchanged(
    server: Unruly, harness: ClientHarness, label: str
) -> None:
    server.fault("headers", "*", "/manifests/|/tags/", change={"Content-Encoding": label})
    assert harness.resolve("1") == ROOT.descriptor
    assert harness.within(lambda repository: repository.manifest(ROOT.descriptor)).raw == IMAGE.raw
    assert harness.tags() == ["1", "2"]


def test_an_error_answer_that_a_cdn_compresses_is_decoded(server: Unruly, harness: ClientHarness) -> None:
    body = gzip.compress(json.dumps({"errors": [{"code": "DENIED", "message": "it is so"}]}).encode())
    server.fault("answer", "GET", "/tags/", status=403, headers={"Content-Encoding": "gzip"}, body=body)
    with pytest.raises(MirrorsyncError, match="it is so"):
        harness.tags()


@pytest.mark.parametrize("coding", [*UNDONE, "no coding"])
def test_the_compressed_length_in_a_head_is_not_used_as_the_size_of_the_manifest(
    server: Unruly, harness: ClientHarness, coding: str
) -> None:
    """Harbor behind a compressing proxy (oras-go#1176): no image may fail for that, or look changed."""
    change = {"Content-Length": str(len(IMAGE.raw) // 2)}
    if coding == "no coding":
        server.fault("headers", "HEAD", "/manifests/", change=change)
    else:
        server.fault("compress", "*", "/manifests/", coding=coding)

    async def read(repository: WritableRepository) -> Manifest:
        root = await repository.resolve(Tag("1"))
        assert root is not None
        return await repository.manifest(root)

    assert harness.within(read).descriptor == ROOT.descriptor


def test_a_manifest_that_decodes_to_too_many_bytes_is_rejected(server: Unruly, harness: ClientHarness) -> None:
    bomb = gzip.compress(b" " * (64 * MAX_MANIFEST_BYTES), 9)
    headers = {"Content-Type": OCI_MANIFEST, "Content-Encoding": "gzip"}
    server.fault("answer", "GET", "/manifests/", status=200, headers=headers, body=bomb)
    with pytest.raises(Malformed, match=f"exceeds the limit of {MAX_MANIFEST_BYTES}"):
        harness.within(lambda repository: repository.manifest(ROOT.descriptor))


def test_a_decompression_bomb_is_decoded_up_to_the_limit() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 2**28, 9), 9)
    assert decoded_whole(bomb, ("gzip", "gzip"), 1000) == (b"\0" * 1000, False)
    assert max(len(piece) for piece in decoded([bomb], ("gzip", "gzip"))) <= 256 * 1024


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("coded", [("gzip",), ("deflate",), ("deflate", "gzip")])
def test_pieces_of_any_size_decode_to_the_same_content(size: int, coded: tuple[str, ...]) -> None:
    data = TEXT[:50_000] + noise("rest", 5000)
    body = data
    for coding in coded:
        body = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    assert b"".join(decoded(pieces, coded)) == data


def test_truncated_and_wrongly_declared_content_are_distinguished() -> None:
    body = gzip.compress(TEXT)
    with pytest.raises(EOFError):
        list(decoded([body[:-9]], ("gzip",)))
    for wrong in (b"plain text", body[:20] + b"\xff" * 50 + body[70:]):
        with pytest.raises(WrongCoding):
            list(decoded([wrong], ("gzip",)))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ("identity", ()),
        (" GZIP ", ("gzip",)),
        ("aws-chunked,gzip", ("gzip",)),
        ("deflate, br", ("deflate", "br")),
    ],
)
def test_the_codings_of_a_header_are_parsed(header: str, expected: tuple[str, ...]) -> None:
    assert codings(header) == expected


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("coding", UNDONE)
@pytest.mark.parametrize("data", [b"", b"{}", TEXT[:500], LARGE], ids=["empty", "tiny", "small", "large"])
def test_a_blob_that_a_cdn_compresses_is_decoded(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, read: Read, coding: str, data: bytes
) -> None:
    tiny.hold_blob("app", data)
    server.fault("compress", "GET", "/blobs/", coding=coding)
    assert read(harness, described(data)) == data


@pytest.mark.parametrize("coding", ["br", "zstd"])
@pytest.mark.parametrize("read", READERS)
def test_a_blob_in_an_unsupported_coding_is_rejected_by_name(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, read: Read, coding: str
) -> None:
    tiny.hold_blob("app", LARGE)
    server.fault("compress", "GET", "/blobs/", coding=coding)
    with pytest.raises(RegistryFailure, match=coding):
        read(harness, described(LARGE))


def twice(harness: ClientHarness, *blobs: Descriptor) -> list[bytes | str]:
    """Read blobs as the engine does: again after wrong content."""

    async def read(repository: WritableRepository) -> list[bytes | str]:
        came: list[bytes | str] = []
        for blob in blobs:
            for _ in range(2):
                try:
                    data = await asyncio.to_thread(streamed, repository, blob)
                except IntegrityError:
                    came.append("wrong")
                    continue
                came.append(data if blob.digest.matches(data) else "wrong")
                if came[-1] != "wrong":
                    break
        return came

    return harness.within(read)


def test_without_a_length_both_forms_are_tried_and_the_right_one_is_remembered(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    other = TEXT + b"another"
    for data in (LARGE, other):
        tiny.hold_blob("app", data)
    server.fault("compress", "GET", "/blobs/", coding="gzip", sized=False)
    assert twice(harness, described(LARGE), described(other)) == ["wrong", LARGE, other]


def test_without_a_length_a_layer_that_is_declared_compressed_is_read(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    layers = [gzip.compress(TEXT, mtime=number) for number in (1, 2)]
    for data in layers:
        tiny.hold_blob("app", data)
    server.fault("headers", "GET", "/blobs/", change={"Content-Encoding": "gzip"})
    server.fault("unsized", "GET", "/blobs/")
    server.fault("compress", "GET", f"/blobs/{described(TEXT).digest}", coding="gzip", sized=False)
    tiny.hold_blob("app", TEXT)
    mislabelled = [described(data) for data in layers]
    # One host that does both: the form of one blob costs the next one an attempt, and never fails it.
    assert twice(harness, mislabelled[0], described(TEXT), mislabelled[1])[-1] in (layers[1], "wrong")


@pytest.mark.parametrize("at", [0, 1, 5000, 100_000])
def test_an_interrupted_compressed_blob_is_resumed_without_duplicate_bytes(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, at: int
) -> None:
    tiny.hold_blob("app", LARGE)
    whole = server.app

    def compressing(asked: Asked) -> Reply:
        del asked.headers["Range"]
        reply = whole(asked)
        if "/blobs/" in asked.path:
            reply.body = gzip.compress(reply.body, mtime=0)
            reply.headers["Content-Encoding"] = "gzip"
        return reply

    server.app = compressing
    server.fault("cut", "GET", "/blobs/", hits=[1], at=at)
    assert harness.large(described(LARGE)) == LARGE
    assert harness.large(described(LARGE), 1000) == LARGE[1000:]
