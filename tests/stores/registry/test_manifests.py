"""Manifests and tags from servers with missing or wrong headers, or with other content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from mirrorsync.errors import ContentNotFound, IntegrityError, Malformed, MirrorsyncError, RegistryFailure
from mirrorsync.oci import media_types
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.ref import Tag
from tests.parts.images import OCI_INDEX, OCI_MANIFEST, image, layer
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness

IMAGE = image([layer({"a": b"1"})])
OTHER = image([layer({"a": b"2"})])
ROOT = Manifest.parse(IMAGE.raw, IMAGE.media_type)
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


@pytest.fixture(autouse=True)
def held(tiny: TinyRegistry) -> None:
    tiny.hold("app", IMAGE, "1")


def fetch(harness: ClientHarness) -> Manifest:
    return harness.within(lambda repository: repository.manifest(ROOT.descriptor))


def push(harness: ClientHarness) -> None:
    harness.within(lambda repository: repository.tag(ROOT, Tag("new")))


def test_a_manifest_is_not_fetched_if_a_head_answers(server: Unruly, harness: ClientHarness) -> None:
    assert harness.resolve("1") == ROOT.descriptor
    assert harness.resolve(IMAGE.digest) == ROOT.descriptor
    assert harness.resolve("absent") is None
    assert {asked.method for asked in server.seen.requests if asked.path != "/v2/"} == {"HEAD"}


def test_the_accept_header_has_every_manifest_type_but_schema_1(server: Unruly, harness: ClientHarness) -> None:
    harness.resolve("1")
    fetch(harness)
    for asked in server.seen.requests[1:]:
        if "/manifests/" not in asked.path:
            continue
        accepted = {kind.strip() for kind in str(asked.headers["Accept"]).split(",")}
        assert accepted >= {OCI_MANIFEST, OCI_INDEX, media_types.DOCKER_MANIFEST, media_types.DOCKER_LIST}
        assert "*/*" not in accepted
        assert not any("v1+prettyjws" in kind or ("manifest.v1" in kind and "docker" in kind) for kind in accepted)


LOST: dict[str, dict[str, str | None]] = {
    "no digest": {"Docker-Content-Digest": None},
    "a malformed digest": {"Docker-Content-Digest": "../x"},
    "an empty digest": {"Docker-Content-Digest": ""},
    "no media type": {"Content-Type": None},
    "a generic type": {"Content-Type": "application/octet-stream"},
    "no length": {"Content-Length": "0"},
}


@pytest.mark.parametrize("change", LOST.values(), ids=LOST)
def test_an_incomplete_head_is_followed_by_a_get(
    server: Unruly, harness: ClientHarness, change: Mapping[str, str | None]
) -> None:
    server.fault("headers", "HEAD", "/manifests/", change=change)
    assert harness.resolve("1") == ROOT.descriptor
    assert len(server.seen.of("GET", "/manifests/")) == 1


def test_a_head_without_a_length_is_followed_by_a_get(server: Unruly, harness: ClientHarness) -> None:
    server.fault("unsized", "HEAD", "/manifests/")
    assert harness.resolve("1") == ROOT.descriptor


def test_a_registry_without_head_is_asked_by_get(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "HEAD", "/manifests/", status=405)
    assert harness.resolve("1") == ROOT.descriptor
    assert harness.resolve("absent") is None


@pytest.mark.parametrize("kind", [f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST.upper(), f"  {OCI_MANIFEST} ;x"])
def test_parameters_and_case_of_a_media_type_are_ignored(server: Unruly, harness: ClientHarness, kind: str) -> None:
    server.fault("headers", "*", "/manifests/", change={"Content-Type": kind})
    assert harness.resolve("1") == ROOT.descriptor
    assert fetch(harness).raw == IMAGE.raw


def test_a_wrong_digest_header_of_a_tag_is_detected(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    tiny.hold("app", OTHER)
    server.fault("headers", "HEAD", "/manifests/1", change={"Docker-Content-Digest": OTHER.digest})
    found = harness.resolve("1")
    assert found is not None
    tiny.manifests["app", OTHER.digest] = (OTHER.media_type, IMAGE.raw)
    with pytest.raises(IntegrityError):
        harness.within(lambda repository: repository.manifest(found))


def test_an_answer_with_another_digest_than_requested_is_rejected(server: Unruly, harness: ClientHarness) -> None:
    server.fault("headers", "HEAD", "/manifests/", change={"Docker-Content-Digest": OTHER.digest})
    with pytest.raises(IntegrityError, match=f"asked for {IMAGE.digest} and got {OTHER.digest}"):
        harness.resolve(IMAGE.digest)


def test_a_digest_header_with_another_algorithm_is_ignored(server: Unruly, harness: ClientHarness) -> None:
    other = f"sha512:{hashlib.sha512(IMAGE.raw).hexdigest()}"
    server.fault("headers", "*", "/manifests/", change={"Docker-Content-Digest": other})
    assert harness.resolve(IMAGE.digest) == ROOT.descriptor
    push(harness)


def test_a_wrong_content_length_does_not_fail_the_manifest(server: Unruly, harness: ClientHarness) -> None:
    """A compressing proxy sends the compressed length; only the digest counts."""
    server.fault("headers", "HEAD", "/manifests/1", change={"Content-Length": str(len(IMAGE.raw) - 50)})
    found = harness.resolve("1")
    assert found is not None
    assert found.digest == IMAGE.digest


CONTENTS: dict[str, tuple[bytes, str]] = {
    "one bit flipped": (IMAGE.raw[:-2] + bytes([IMAGE.raw[-2] ^ 1]) + IMAGE.raw[-1:], ""),
    "another manifest": (OTHER.raw, ""),
    "one byte more": (IMAGE.raw + b"\n", ""),
    "one byte less": (IMAGE.raw[:-1], ""),
    "empty body": (b"", ""),
    "a web page": (b"<html><title>Log in</title></html>", "text/html"),
    "a web page with the media type of a manifest": (b"<html>", OCI_MANIFEST),
    "schema 1": (json.dumps({"schemaVersion": 1, "fsLayers": []}).encode(), SCHEMA_1),
    "too large": (b" " * (MAX_MANIFEST_BYTES + 1), ""),
    "nested too deeply": (b'{"layers": ' + b"[" * 100_000, ""),
    "another media type": (IMAGE.raw, OCI_INDEX),
}


# Answers that are not damaged bytes of a manifest, but of another form; every other one does not match the digest.
FORMS = {"a web page": RegistryFailure, "too large": Malformed, "another media type": Malformed}


@pytest.mark.parametrize("name", CONTENTS)
def test_content_that_does_not_match_the_digest_is_rejected(server: Unruly, harness: ClientHarness, name: str) -> None:
    body, kind = CONTENTS[name]
    headers = {"Content-Type": kind or OCI_MANIFEST}
    server.fault("answer", "GET", "/manifests/", status=200, headers=headers, body=body)
    with pytest.raises(FORMS.get(name, IntegrityError)) as caught:
        fetch(harness)
    assert caught.value.where == f"{server.host}/app@{IMAGE.digest}"
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["a web page", "schema 1", "too large", "nested too deeply", "empty body"])
def test_an_invalid_manifest_is_rejected_by_tag_too(server: Unruly, harness: ClientHarness, name: str) -> None:
    body, kind = CONTENTS[name]
    server.fault("answer", "HEAD", "/manifests/", status=405)
    headers = {"Content-Type": kind or OCI_MANIFEST}
    server.fault("answer", "GET", "/manifests/", status=200, headers=headers, body=body)
    with pytest.raises(MirrorsyncError) as caught:
        harness.resolve("1")
    assert caught.value.where == f"{server.host}/app:1"
    if name == "schema 1":
        assert "schema 1" in caught.value.message
    if name == "a web page":
        assert "web page" in caught.value.message


def test_a_manifest_of_the_maximum_size_is_read(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    document = json.loads(IMAGE.raw)
    document["annotations"] = {"filler": ""}
    room = MAX_MANIFEST_BYTES - len(json.dumps(document))
    document["annotations"]["filler"] = "x" * room
    raw = json.dumps(document).encode()
    assert len(raw) == MAX_MANIFEST_BYTES
    largest = Manifest.parse(raw)
    tiny.manifests["app", largest.digest] = (OCI_MANIFEST, raw)
    assert harness.within(lambda repository: repository.manifest(largest.descriptor)).raw == raw


def test_a_manifest_over_the_maximum_size_is_not_read_to_its_end(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "GET", "/manifests/", status=200, body=b" " * (8 * MAX_MANIFEST_BYTES))
    with pytest.raises(Malformed, match=f"exceeds the limit of {MAX_MANIFEST_BYTES}"):
        fetch(harness)


def test_an_interrupted_manifest_is_fetched_again(server: Unruly, harness: ClientHarness) -> None:
    server.fault("cut", "GET", "/manifests/", hits=[1], at=100)
    assert fetch(harness).raw == IMAGE.raw


def test_a_generic_media_type_is_replaced_by_that_of_the_descriptor(server: Unruly, harness: ClientHarness) -> None:
    server.fault("headers", "GET", "/manifests/", change={"Content-Type": "application/json"})
    assert fetch(harness).media_type == OCI_MANIFEST


def test_a_missing_manifest_is_reported_as_not_found(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "GET", "/manifests/", status=404)
    with pytest.raises(ContentNotFound):
        fetch(harness)


def test_a_manifest_is_pushed_byte_for_byte_with_its_media_type(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    push(harness)
    assert tiny.manifests["app", IMAGE.digest] == (OCI_MANIFEST, IMAGE.raw)
    (asked,) = server.seen.of("PUT")
    assert asked.headers["Content-Length"] == str(len(IMAGE.raw))


def test_a_registry_that_stores_another_manifest_is_detected(server: Unruly, harness: ClientHarness) -> None:
    server.fault("headers", "PUT", "/manifests/", change={"Docker-Content-Digest": OTHER.digest})
    with pytest.raises(IntegrityError, match="stored manifest"):
        push(harness)


@pytest.mark.parametrize("header", [None, "", "nonsense"])
def test_a_put_without_a_digest_header_is_accepted(server: Unruly, harness: ClientHarness, header: str | None) -> None:
    server.fault("headers", "PUT", "/manifests/", change={"Docker-Content-Digest": header})
    push(harness)


def test_a_lost_answer_to_a_manifest_put_is_retried(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    server.fault("lose_answer", "PUT", "/manifests/", hits=[1, 2])
    push(harness)
    assert tiny.tags["app", "new"] == IMAGE.digest


REFUSALS: dict[str, tuple[int, str, type[MirrorsyncError], str]] = {
    "an immutable tag": (400, "TAG_INVALID", RegistryFailure, "immutable"),
    "a conflict": (409, "", RegistryFailure, "immutable"),
    "a policy": (412, "", RegistryFailure, "policy"),
    "too large": (413, "", RegistryFailure, "size limit"),
    "no space left": (507, "", RegistryFailure, "space"),
    "missing content": (404, "MANIFEST_BLOB_UNKNOWN", MirrorsyncError, "missing at the registry"),
    "read-only": (405, "UNSUPPORTED", RegistryFailure, ""),
}


@pytest.mark.parametrize(("status", "code", "kind", "remedy"), REFUSALS.values(), ids=REFUSALS)
def test_a_rejected_push_is_reported_with_a_remedy(
    server: Unruly, harness: ClientHarness, status: int, code: str, kind: type[MirrorsyncError], remedy: str
) -> None:
    body = json.dumps({"errors": [{"code": code, "message": "it is so"}]}).encode()
    server.fault("answer", "PUT", "/manifests/", status=status, body=body)
    with pytest.raises(kind, match="it is so") as caught:
        push(harness)
    assert remedy in caught.value.remedy
    assert caught.value.remedy
    assert len(server.seen.of("PUT")) == (3 if code == "MANIFEST_BLOB_UNKNOWN" else 1)


@pytest.mark.parametrize("status", [400, 404])
def test_a_manifest_is_sent_again_if_the_registry_does_not_find_content_it_just_stored(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, status: int
) -> None:
    # distribution sends both in one answer, if a link is written at that moment.
    both = ("DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN")
    body = json.dumps({"errors": [{"code": code, "message": "not yet"} for code in both]}).encode()
    server.fault("answer", "PUT", "/manifests/", hits=[1, 2], status=status, body=body)
    push(harness)
    assert tiny.tags["app", "new"] == IMAGE.digest
    assert len(server.seen.of("PUT")) == 3


BODIES: dict[str, bytes] = {
    "html": b"<html>" + b"x" * 100_000,
    "binary": bytes(range(256)) * 10,
    "a list": b"[1]",
    "malformed errors": b'{"errors": [null, 5, {"code": 7}]}',
    "control characters": json.dumps({"errors": [{"code": "X", "message": "\x1b[2J\u202e\r\nforged"}]}).encode(),
    "very long": json.dumps({"errors": [{"code": "X", "message": "y" * 60_000}]}).encode(),
    "many": json.dumps({"errors": [{"code": "X", "message": f"m{number}"} for number in range(2000)]}).encode(),
    "nested too deeply": b"[" * 60_000,
    "Docker Hub's format": b'{"details": "incorrect username or password"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("engine", ["questions", "bytes"])
def test_any_error_body_is_reported_as_one_short_line(
    server: Unruly, harness: ClientHarness, body: bytes, engine: str
) -> None:
    server.fault("answer", "GET", "/blobs/", status=418, body=body)
    blob = ROOT.blobs[0]
    with pytest.raises(RegistryFailure, match="418") as caught:
        harness.small(blob) if engine == "questions" else harness.large(blob)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_a_warning_header_is_reported_once(server: Unruly, harness: ClientHarness) -> None:
    warning = '299 - "your quota is \x1b[31m nearly used up"'
    server.fault("headers", "*", "", change={"Warning": warning})

    async def often(repository: Any) -> None:
        for _ in range(5):
            await repository.resolve(Tag("1"))

    harness.within(often)
    (notice,) = harness.recorded.notices
    assert "your quota is" in notice
    assert notice.isprintable()


def test_a_digest_header_is_checked_against_the_grammar(server: Unruly, harness: ClientHarness) -> None:
    for header in ("sha256:ABC", f"sha256:{'0' * 64}\n", f"md5:{'0' * 32}", f"{Digest.of(b'x')}x"):
        server.fault("headers", "HEAD", "/manifests/", change={"Docker-Content-Digest": header.replace("\n", "")})
        found = harness.resolve("1")
        assert found is not None
        assert found.digest in (ROOT.digest, f"sha256:{'0' * 64}")
