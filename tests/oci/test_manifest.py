"""Manifests: read in one unambiguous way, and kept byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.errors import ExitCode, IntegrityError, Malformed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.oci.media_types import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    SCHEMA_1,
)

EMPTY = "application/vnd.oci.empty.v1+json"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def named(name: str, media_type: str = OCI_LAYER_GZIP, size: int = 1, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(name.encode())), "size": size, **more}


CONFIG = named("config", OCI_CONFIG)
IMAGE: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": CONFIG,
    "layers": [named("a"), named("b")],
}
DOCKER = {**IMAGE, "mediaType": DOCKER_MANIFEST, "config": named("config", DOCKER_CONFIG)}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named("amd64", OCI_MANIFEST)]}
LIST = {**INDEX, "mediaType": DOCKER_LIST, "manifests": [named("amd64", DOCKER_MANIFEST)]}
ARTIFACT: dict[str, Any] = {"mediaType": OCI_ARTIFACT, "artifactType": "application/example", "blobs": [named("a")]}
KINDS: dict[str, dict[str, Any]] = {
    OCI_MANIFEST: IMAGE,
    DOCKER_MANIFEST: DOCKER,
    OCI_INDEX: INDEX,
    DOCKER_LIST: LIST,
    OCI_ARTIFACT: ARTIFACT,
}


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


def parse(document: object, media_type: str = "") -> Manifest:
    return Manifest.parse(raw(document), media_type)


def refusal(data: bytes, media_type: str = "", **expected: Any) -> str:
    """Return the message; only bytes that do not match their digest or size end with the exit code for damage."""
    with pytest.raises((IntegrityError, Malformed)) as caught:
        Manifest.parse(data, media_type, **expected)
    mismatch = "does not match its digest" in caught.value.message or "its descriptor says" in caught.value.message
    assert caught.value.exit_code is (ExitCode.INTEGRITY if mismatch else ExitCode.FAILED)
    assert caught.value.remedy
    assert str(caught.value).isprintable()
    return str(caught.value)


def digests(*names: str) -> list[Digest]:
    return [Digest.of(name.encode()) for name in names]


@pytest.mark.parametrize("media_type", KINDS)
def test_the_kind_is_read_from_the_document_or_from_its_content_type(media_type: str) -> None:
    document = KINDS[media_type]
    silent = {key: value for key, value in document.items() if key != "mediaType"}
    assert parse(document).media_type == media_type
    assert parse(document, media_type).media_type == media_type
    assert parse(document, f"{media_type}; charset=utf-8").media_type == media_type
    assert parse(document, "application/json").media_type == media_type
    assert parse(silent, media_type).media_type == media_type
    assert parse(silent, f"{media_type} ; charset=utf-8").media_type == media_type
    assert "not a known manifest type" in refusal(raw(silent))
    assert "not a known manifest type" in refusal(raw(silent), "application/json")


@pytest.mark.parametrize(
    ("inner", "said"), [(inner, said) for inner in KINDS for said in [*KINDS, *sorted(SCHEMA_1)] if said != inner]
)
def test_a_manifest_that_was_sent_as_another_kind_is_rejected(inner: str, said: str) -> None:
    refusal(raw(KINDS[inner]), said)


@pytest.mark.parametrize("inner", ["", OCI_LAYER_GZIP, "application/json", "text/\x1b[31mhtml"])
def test_a_manifest_whose_media_type_is_not_of_manifests_is_rejected(inner: str) -> None:
    document = {**IMAGE, "mediaType": inner}
    if inner:
        refusal(raw(document), OCI_MANIFEST)
    refusal(raw(document), "application/json")


def test_the_bytes_are_kept_unchanged() -> None:
    data = b'{ "config":' + raw(CONFIG) + b',\n\n "layers" : [ ] , "unknown":1.50, "schemaVersion":2}\n'
    manifest = Manifest.parse(data, OCI_MANIFEST)
    assert manifest.raw == data
    assert manifest.digest == Digest.of(data)
    assert manifest.descriptor.size == len(data)


def test_config_and_layers_of_an_image_are_listed_once_each() -> None:
    manifest = parse({**IMAGE, "layers": [named("a"), named("b"), named("a")]})
    assert [blob.digest for blob in manifest.blobs] == digests("config", "a", "b")
    assert manifest.children == ()
    assert manifest.artifact_type == OCI_CONFIG


def test_an_image_may_have_no_layers_or_one_blob_as_config_and_layer() -> None:
    empty = named("{}", EMPTY, 2)
    manifest = parse({**IMAGE, "config": empty, "layers": [empty], "artifactType": "application/example"})
    assert [blob.digest for blob in manifest.blobs] == digests("{}")
    assert manifest.artifact_type == "application/example"
    nothing: tuple[list[str] | None, ...] = ([], None)
    for layers in nothing:
        assert len(parse({**IMAGE, "layers": layers}).blobs) == 1
    assert len(parse({key: value for key, value in IMAGE.items() if key != "layers"}).blobs) == 1


def test_foreign_layers_are_not_among_the_blobs() -> None:
    manifest = parse({**DOCKER, "layers": [named("base", FOREIGN, urls=["https://example/base"]), named("a")]})
    assert [blob.digest for blob in manifest.blobs] == digests("config", "a")
    assert [blob.digest for blob in manifest.foreign] == digests("base")
    assert manifest.foreign[0].urls == ("https://example/base",)


def test_an_index_can_list_images_indexes_and_blobs() -> None:
    children = [
        named("amd64", OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        named("nested", OCI_INDEX),
        named("old", DOCKER_MANIFEST),
        named("cache", OCI_LAYER_GZIP),
        named("amd64", OCI_MANIFEST),
    ]
    manifest = parse({**INDEX, "manifests": children})
    assert [child.digest for child in manifest.children] == digests("amd64", "nested", "old")
    assert str(manifest.children[0].platform) == "linux/amd64"
    assert [blob.digest for blob in manifest.blobs] == digests("cache")
    assert parse({**INDEX, "manifests": []}).children == ()
    assert parse({**INDEX, "manifests": None}).children == ()


def test_blobs_and_subject_of_an_artifact_are_read() -> None:
    manifest = parse({**ARTIFACT, "subject": named("image", OCI_MANIFEST), "annotations": {"a": "b"}})
    assert [blob.digest for blob in manifest.blobs] == digests("a")
    assert manifest.subject is not None
    assert [manifest.subject.digest] == digests("image")
    assert manifest.artifact_type == "application/example"
    assert manifest.annotations == {"a": "b"}


@pytest.mark.parametrize("document", [IMAGE, INDEX])
def test_a_subject_is_not_among_children_and_blobs(document: dict[str, Any]) -> None:
    plain, referrer = parse(document), parse({**document, "subject": named("image", OCI_MANIFEST)})
    assert plain.subject is None
    assert referrer.subject is not None
    assert (referrer.children, referrer.blobs) == (plain.children, plain.blobs)


AMBIGUOUS = [
    (media_type, member)
    for media_type, members in {
        OCI_MANIFEST: ["manifests", "fsLayers", "history"],
        DOCKER_MANIFEST: ["manifests", "fsLayers", "history"],
        OCI_INDEX: ["config", "layers", "blobs", "fsLayers", "history"],
        DOCKER_LIST: ["config", "layers", "blobs", "fsLayers", "history"],
        OCI_ARTIFACT: ["manifests", "layers", "fsLayers", "history"],
    }.items()
    for member in members
]


@pytest.mark.parametrize(("media_type", "member"), AMBIGUOUS)
def test_a_manifest_with_members_of_two_kinds_is_rejected(media_type: str, member: str) -> None:
    document = {**KINDS[media_type], member: CONFIG if member == "config" else []}
    assert f"ambiguous: {media_type} with {member}" in refusal(raw(document))
    assert parse({**KINDS[media_type], member: None}).media_type == media_type


@pytest.mark.parametrize(
    "member", ["Manifests", "LAYERS", "mediatype", "fslayers", "manife\u017fts", "Config", "Subject"]
)
def test_a_member_in_the_wrong_case_is_rejected(member: str) -> None:
    assert "wrong case" in refusal(raw({**IMAGE, member: []}))


@pytest.mark.parametrize("media_type", sorted(SCHEMA_1))
def test_schema_1_is_rejected_by_name(media_type: str) -> None:
    document = {"schemaVersion": 1, "name": "a", "tag": "1", "fsLayers": [], "history": []}
    for said in (media_type, "application/json", "", OCI_MANIFEST, f"{media_type}; charset=utf-8"):
        assert "schema 1" in refusal(raw(document), said)
    assert "schema 1" in refusal(raw({**IMAGE, "mediaType": media_type}))
    assert "schema 1" in refusal(raw({"name": "a"}), media_type)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (raw(IMAGE) + b"\0", "not JSON"),
        (b"\xef\xbb\xbf" + raw(IMAGE), "not JSON"),
        (json.dumps(IMAGE).encode("utf-16"), "not JSON"),
        (json.dumps(IMAGE).encode("utf-32-le"), "not JSON"),
        (raw(IMAGE)[:-1] + b',"a":"\xff"}', "not JSON"),
        (raw(IMAGE)[:-1] + b',"a":"\xed\xa0\x80"}', "not JSON"),
        (raw(IMAGE)[:-1] + b',"layers":[]}', "same key twice"),
        (raw(INDEX)[:-1] + b',"x":{"a":1,"a":2}}', "same key twice"),
        (raw(IMAGE)[:-1] + b',"mediaType":"x"}', "same key twice"),
        (raw(IMAGE)[:-1] + b',"a":NaN}', "NaN is not JSON"),
        (raw(IMAGE)[:-1] + b',"a":-Infinity}', "-Infinity is not JSON"),
        (raw(IMAGE)[:-1] + b',"a":' + b"1" * 5000 + b"}", "not JSON"),
        (raw(IMAGE)[:-1] + b',"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_json_that_is_not_strict_is_rejected(data: bytes, reason: str) -> None:
    assert reason in refusal(data, OCI_MANIFEST)


@pytest.mark.parametrize("depth", [*range(5, 400, 79), *range(900, 1000, 9)])
def test_deep_nesting_is_rejected_and_never_a_crash(depth: int) -> None:
    size = b"[" * depth + b"]" * depth
    data = raw(IMAGE).replace(b'"size": 1', b'"size": ' + size)
    refusal(data)


@pytest.mark.parametrize(
    "document",
    [
        {**IMAGE, "config": None},
        {**IMAGE, "config": []},
        {**IMAGE, "layers": {}},
        {**IMAGE, "layers": [None]},
        {**IMAGE, "layers": [{"digest": CONFIG["digest"]}]},
        {**IMAGE, "layers": [{**CONFIG, "size": -1}]},
        {**IMAGE, "layers": [{**CONFIG, "digest": "sha256:../../etc/passwd"}]},
        {**IMAGE, "subject": "sha256:x"},
        {**IMAGE, "mediaType": 1},
        {**INDEX, "manifests": {}},
        {**INDEX, "manifests": [{}]},
        {**ARTIFACT, "blobs": "x"},
        {key: value for key, value in IMAGE.items() if key != "config"},
        {key: value for key, value in INDEX.items() if key != "manifests"},
        {"mediaType": OCI_INDEX, "errors": []},
    ],
)
def test_a_malformed_manifest_is_rejected(document: dict[str, Any]) -> None:
    refusal(raw(document))


@pytest.mark.parametrize(
    "document",
    [
        {**IMAGE, "layers": [named("a", size=1), named("a", size=2)]},
        {**IMAGE, "layers": [{**CONFIG, "size": 7}]},
        {**INDEX, "manifests": [named("a", OCI_MANIFEST, 1), named("a", OCI_MANIFEST, 2)]},
        {**ARTIFACT, "blobs": [named("a", size=1), named("a", size=2)]},
    ],
)
def test_one_digest_with_two_sizes_is_rejected(document: dict[str, Any]) -> None:
    assert "two sizes" in refusal(raw(document))


def test_a_manifest_has_at_most_4_mib() -> None:
    data = raw(IMAGE)
    assert Manifest.parse(data + b" " * (MAX_MANIFEST_BYTES - len(data))).descriptor.size == 4 * 1024 * 1024
    assert "larger than 4194304 bytes" in refusal(data + b" " * (MAX_MANIFEST_BYTES - len(data) + 1))


def test_the_bytes_are_verified_against_digest_and_size() -> None:
    data = raw(IMAGE)
    for algorithm in ("sha256", "sha512"):
        digest = Digest.of(data, algorithm)
        assert Manifest.parse(data, digest=digest, size=len(data)).digest == digest
        assert str(digest) in refusal(data + b" ", digest=digest)
    assert "its descriptor says 7" in refusal(data, size=7)


def test_repr_of_a_manifest_has_neither_bytes_nor_annotations() -> None:
    assert "config" not in repr(parse({**IMAGE, "annotations": {"secret": "x"}})).replace(OCI_CONFIG, "")
    assert "secret" not in repr(parse({**IMAGE, "annotations": {"secret": "x"}}))


def test_annotations_that_are_not_strings_stay_only_in_the_bytes() -> None:
    odd = {**IMAGE, "annotations": {"a": "b", "number": 1, "nothing": None}}
    assert parse(odd).annotations == {"a": "b"}
    assert parse(odd).raw == raw(odd)
    assert parse({**IMAGE, "annotations": ["a"]}).annotations == {}
