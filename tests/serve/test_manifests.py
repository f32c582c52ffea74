"""Push and delete manifests at our server: what it accepts, what it rejects, and what is left afterwards."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    artifact,
    digest,
    image,
    index,
    layer,
    multi_platform,
)
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, Response, ask
from tests.serve.harness import chunked, code_of

LIMIT = 4 * 1024 * 1024


def put(server: Registry, repository: str, reference: str, raw: bytes, media_type: str) -> Response:
    return ask("PUT", f"{server.url}/{repository}/manifests/{reference}", raw, {"Content-Type": media_type})


def small(server: Registry, repository: str, **members: Any) -> Image:
    """Return an image whose blobs are pushed, and whose manifest is not."""
    made = image([layer({"etc/name": repository.encode()})], **members)
    for data in made.all_blobs().values():
        server.push_blob(repository, data)
    return made


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_manifest_pushed_by_digest_gets_the_tags_of_the_query(server: Registry, unique: str, algorithm: str) -> None:
    made = small(server, unique)
    name = digest(made.raw, algorithm)
    done = put(server, unique, f"{name}?tag=1.2.3&tag=1.2&tag=latest", made.raw, made.media_type)
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, name)
    assert done.headers["OCI-Tag"] == "1.2.3, 1.2, latest"
    assert server.tags(unique) == ["1.2", "1.2.3", "latest"]
    for tag in ("1.2.3", "1.2", "latest"):
        answer = server.manifest(unique, tag)
        assert (answer.body, answer.headers["Docker-Content-Digest"]) == (made.raw, name)
    refused = put(server, unique, f"{name}?tag=fine&tag=-x", made.raw, made.media_type)
    assert (refused.status, code_of(refused)) == (400, "TAG_INVALID")
    assert "fine" not in server.tags(unique)
    assert put(server, unique, f"{name}", made.raw, made.media_type).headers["OCI-Tag"] is None


def padded(made: Image, size: int) -> bytes:
    """Return the image's manifest with an annotation that makes it `size` bytes long."""
    document = json.loads(made.raw)
    bare = len(json.dumps({**document, "annotations": {"pad": ""}}))
    raw = json.dumps({**document, "annotations": {"pad": "x" * (size - bare)}}).encode()
    assert len(raw) == size
    return raw


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_manifest_is_pushed_by_tag_and_by_digest(server: Registry, unique: str, media_type: str) -> None:
    made = small(server, unique, media_type=media_type)
    for reference in (made.digest, "1.0", "1.0"):
        done = put(server, unique, reference, made.raw, f"{media_type}; charset=utf-8")
        assert done.status == 201
        assert done.headers["Docker-Content-Digest"] == made.digest
        assert ask("GET", f"http://{server.host}{done.headers['Location']}").body == made.raw
        answer = server.manifest(unique, reference)
        assert (answer.body, answer.headers["Content-Type"]) == (made.raw, media_type)


def test_a_manifest_of_more_than_four_mebibytes_is_rejected(server: Registry, unique: str) -> None:
    made = small(server, unique)
    raw = padded(made, LIMIT)
    assert put(server, unique, "large", raw, OCI_MANIFEST).status == 201
    assert server.manifest(unique, "large").body == raw
    over = padded(made, LIMIT + 1)
    for answer in (
        put(server, unique, "over", over, OCI_MANIFEST),
        chunked(server.host, "PUT", f"/v2/{unique}/manifests/over", [over[:100], over[100:]]),
    ):
        assert (answer.status, code_of(answer)) == (413, "SIZE_INVALID")
    assert server.manifest(unique, "over").status == 404


def _without(member: str) -> Any:
    return lambda document: {key: value for key, value in document.items() if key != member}


def _with(**members: Any) -> Any:
    return lambda document: {**document, **members}


CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"x"), "size": 1}
WRONG = {
    "index as image": (_with(), OCI_INDEX),
    "docker as oci": (_with(), DOCKER_MANIFEST),
    "no type at all": (_without("mediaType"), "application/json"),
    "unknown type": (_with(mediaType="application/vnd.example"), "application/vnd.example"),
    "schema 1": (_with(schemaVersion=1, mediaType=None), "application/vnd.docker.distribution.manifest.v1+json"),
    "image and index": (_with(manifests=[]), OCI_MANIFEST),
    "image and schema 1": (_with(fsLayers=[]), OCI_MANIFEST),
    "member in another case": (_with(Layers=[]), OCI_MANIFEST),
    "no config": (_without("config"), OCI_MANIFEST),
    "layers no list": (_with(layers={}), OCI_MANIFEST),
    "layer without digest": (_with(layers=[{"mediaType": "a/b", "size": 1}]), OCI_MANIFEST),
    "negative size": (_with(config={**CONFIG, "size": -1}), OCI_MANIFEST),
    "digest with a path": (_with(config={**CONFIG, "digest": "sha256:../../../etc/passwd"}), OCI_MANIFEST),
    "subject no object": (_with(subject="x"), OCI_MANIFEST),
    "no object": (lambda _: [], OCI_MANIFEST),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_or_ambiguous_manifest_is_rejected(server: Registry, unique: str, case: str) -> None:
    change, media_type = WRONG[case]
    raw = json.dumps(change(json.loads(small(server, unique).raw))).encode()
    for reference in ("1", digest(raw)):
        answer = put(server, unique, reference, raw, media_type)
        assert (answer.status, code_of(answer)) == (400, "MANIFEST_INVALID")
        assert server.manifest(unique, reference).status == 404


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a": 1, "a": 2}', b"\xff\xfe{}", b"[" * 100_000, b'{"a": NaN}'])
def test_a_manifest_that_is_not_json_is_rejected(server: Registry, unique: str, raw: bytes) -> None:
    answer = put(server, unique, "1", raw, OCI_MANIFEST)
    assert (answer.status, code_of(answer)) == (400, "MANIFEST_INVALID")


def test_a_manifest_with_another_digest_is_rejected(server: Registry, unique: str) -> None:
    made = small(server, unique)
    for wrong in (digest(b"other"), digest(b"other", "sha512")):
        answer = put(server, unique, wrong, made.raw, OCI_MANIFEST)
        assert (answer.status, code_of(answer)) == (400, "DIGEST_INVALID")
    assert server.manifest(unique, made.digest).status == 404


def test_a_manifest_pushed_by_sha512_is_served_by_sha512(server: Registry, unique: str) -> None:
    made = small(server, unique)
    name = digest(made.raw, "sha512")
    assert put(server, unique, name, made.raw, OCI_MANIFEST).headers["Docker-Content-Digest"] == name
    answer = server.manifest(unique, name)
    assert (answer.body, answer.headers["Docker-Content-Digest"]) == (made.raw, name)


def test_a_manifest_with_missing_blobs_is_rejected(server: Registry, unique: str) -> None:
    made = image([layer({"a": unique.encode()}), layer({"b": unique.encode()})])
    names = list(made.all_blobs())
    for missing in names:
        repository = f"{unique}/{missing[7:19]}"
        for data in (data for name, data in made.all_blobs().items() if name != missing):
            server.push_blob(repository, data)
        if server.blob(repository, missing).status == 404:  # a layout has one set of blobs for all repositories
            for reference in ("1", made.digest):
                answer = put(server, repository, reference, made.raw, OCI_MANIFEST)
                assert (answer.status, code_of(answer)) == (404, "MANIFEST_BLOB_UNKNOWN")
                assert missing in answer.json()["errors"][0]["message"]
                assert server.manifest(repository, reference).status == 404


def test_a_blob_of_another_size_than_its_descriptor_counts_as_missing(server: Registry, unique: str) -> None:
    document = json.loads(small(server, unique).raw)
    document["layers"][0]["size"] += 1
    answer = put(server, unique, "1", json.dumps(document).encode(), OCI_MANIFEST)
    assert (answer.status, code_of(answer)) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_children_of_an_index_may_be_missing(server: Registry, unique: str) -> None:
    made = index([image([layer({"sparse": unique.encode()})]), multi_platform("nested")])
    assert put(server, unique, "sparse", made.raw, OCI_INDEX).status == 201
    assert server.manifest(unique, "sparse").body == made.raw
    assert server.manifest(unique, made.children[0].digest).status == 404
    server.push(unique, made)
    assert server.holds(unique, made, "sparse")


def test_a_moved_tag_leaves_the_old_manifest_by_digest(server: Registry, unique: str) -> None:
    old, new = multi_platform("app", "old"), multi_platform("app", "new")
    server.push(unique, old, "latest")
    server.push(unique, new, "latest")
    assert server.holds(unique, new, "latest")
    assert server.holds(unique, old)


@pytest.mark.parametrize("kind", ["image", "index"])
def test_oci_subject_is_answered_even_if_the_subject_is_missing(server: Registry, unique: str, kind: str) -> None:
    subject = multi_platform(f"subject {unique}")
    made = small(server, unique, subject=subject.descriptor)
    if kind == "index":
        made = index([], subject=subject.descriptor)
    for reference in (made.digest, "1"):
        done = put(server, unique, reference, made.raw, made.media_type)
        assert (done.status, done.headers["OCI-Subject"]) == (201, subject.digest)
    plain = put(server, unique, "plain", small(server, unique).raw, OCI_MANIFEST)
    assert "OCI-Subject" not in plain.headers


def delete(server: Registry, repository: str, reference: str) -> Response:
    return ask("DELETE", f"{server.url}/{repository}/manifests/{reference}")


def test_deleting_a_tag_leaves_the_manifest_and_other_tags(server: Registry, unique: str) -> None:
    made = multi_platform("app")
    server.push(unique, made, "one")
    server.put_manifest(unique, made, "two")
    assert delete(server, unique, "one").status == 202
    assert server.manifest(unique, "one").status == 404
    assert server.tags(unique) == ["two"]
    assert server.holds(unique, made, "two")
    again = delete(server, unique, "one")
    assert (again.status, code_of(again)) == (404, "MANIFEST_UNKNOWN")


def test_deleting_a_manifest_deletes_its_tags(server: Registry, unique: str) -> None:
    made, other = multi_platform("app"), multi_platform("app", "other")
    server.push(unique, made, "one")
    server.put_manifest(unique, made, "two")
    server.push(unique, other, "other")
    assert delete(server, unique, made.digest).status == 202
    for reference in ("one", "two", made.digest):
        gone = server.manifest(unique, reference)
        assert (gone.status, code_of(gone)) == (404, "MANIFEST_UNKNOWN")
    assert server.tags(unique) == ["other"]
    assert server.holds(unique, other, "other")
    assert delete(server, unique, made.digest).status == 404


def test_a_deleted_image_can_be_pushed_again(server: Registry, unique: str) -> None:
    made = multi_platform("again")
    for _ in range(2):
        server.push(unique, made, "1")
        assert server.holds(unique, made, "1")
        assert delete(server, unique, made.digest).status == 202
        assert server.tags(unique) == []


def test_a_child_of_an_index_is_not_deleted_from_a_layout(served: Serve, unique: str) -> None:
    server, made = Registry(served.host), multi_platform("app")
    server.push(unique, made, "1")
    refused = delete(server, unique, made.children[0].digest)
    assert (refused.status, code_of(refused)) == (405, "UNSUPPORTED")
    assert server.holds(unique, made, "1")


def test_an_artifact_and_its_tag_are_stored_unchanged(server: Registry, unique: str) -> None:
    subject = multi_platform("app")
    made = artifact(subject, b"bill of materials")
    server.push(unique, made, "sbom")
    assert server.holds(unique, made, "sbom")


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_empty_index_is_accepted(server: Registry, unique: str, media_type: str) -> None:
    made = index([], media_type=media_type)
    server.push(unique, made, "nothing")
    assert server.holds(unique, made, "nothing")
