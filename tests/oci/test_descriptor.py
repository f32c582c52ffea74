"""Descriptors: read strictly, written unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform

DIGEST = str(Digest.of(b"x"))
PLAIN = {"mediaType": media_types.OCI_LAYER_GZIP, "digest": DIGEST, "size": 1}
FULL = {
    **PLAIN,
    "artifactType": "application/example",
    "platform": {"os": "windows", "architecture": "amd64", "variant": "v2", "os.version": "10.0.1"},
    "urls": ["https://example/layer"],
    "annotations": {"org.example.Key": "value", "org.example.key": ""},
}


@pytest.mark.parametrize("document", [PLAIN, FULL, {**PLAIN, "size": 0}, {**PLAIN, "size": 2**63 - 1}])
def test_a_descriptor_is_written_as_it_was_read(document: dict[str, Any]) -> None:
    assert Descriptor.from_json(document).to_json() == document


def test_unknown_and_null_members_are_ignored() -> None:
    read = Descriptor.from_json({**PLAIN, "data": "eA==", "x": {}, "platform": None, "urls": None, "annotations": None})
    assert read.to_json() == PLAIN


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": None},
        {"mediaType": ""},
        {"mediaType": 1},
        {"mediaType": "a" * 256},
        {"digest": None},
        {"digest": 1},
        {"digest": "sha256:abc"},
        {"digest": f"{DIGEST}\n"},
        {"digest": "md5:d41d8cd98f00b204e9800998ecf8427e"},
        {"size": None},
        {"size": -1},
        {"size": 1.0},
        {"size": "1"},
        {"size": True},
        {"size": 2**63},
        {"size": [[[1]]]},
        {"platform": []},
        {"platform": "linux/amd64"},
        {"platform": {"os": 1, "architecture": "amd64"}},
        {"annotations": []},
        {"annotations": {"a": 1}},
        {"annotations": {"a": None}},
        {"artifactType": 1},
        {"urls": "https://example"},
        {"urls": [1]},
        {"Digest": DIGEST},
        {"SIZE": 1},
        {"mediatype": "x"},
        {"\u017fize": 2},
    ],
    ids=str,
)
def test_a_malformed_descriptor_is_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(GrammarError):
        Descriptor.from_json({**PLAIN, **change})


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_a_descriptor_that_is_not_an_object_is_rejected(value: object) -> None:
    with pytest.raises(GrammarError):
        Descriptor.from_json(value)


def test_descriptors_with_equal_type_digest_and_size_are_equal() -> None:
    plain, full = Descriptor.from_json(PLAIN), Descriptor.from_json(FULL)
    assert plain == full
    assert len({plain, full}) == 1
    assert full.bare().to_json() == PLAIN
    assert plain != Descriptor.from_json({**PLAIN, "size": 2})
    assert plain != Descriptor.from_json({**PLAIN, "mediaType": "x"})


def test_annotations_can_be_replaced() -> None:
    read = Descriptor.from_json(FULL).annotated({"a": "b"})
    assert read.to_json() == {**FULL, "annotations": {"a": "b"}}


@pytest.mark.parametrize(
    ("media_type", "is_manifest", "is_foreign"),
    [
        (media_types.OCI_MANIFEST, True, False),
        (media_types.OCI_INDEX, True, False),
        (media_types.OCI_ARTIFACT, True, False),
        (media_types.DOCKER_MANIFEST, True, False),
        (media_types.DOCKER_LIST, True, False),
        (media_types.OCI_LAYER_GZIP, False, False),
        (media_types.OCI_CONFIG, False, False),
        (media_types.DOCKER_CONFIG, False, False),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", False, False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", False, True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", False, True),
        ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", False, False),
    ],
)
def test_manifests_and_foreign_layers_are_recognised_by_media_type(
    media_type: str, is_manifest: bool, is_foreign: bool
) -> None:
    descriptor = Descriptor.of(b"x", media_type)
    assert (descriptor.digest, descriptor.size) == (DIGEST, 1)
    assert descriptor.is_manifest is is_manifest
    assert media_types.is_foreign_layer(media_type) is is_foreign


def test_the_accept_header_has_every_manifest_type_and_not_schema_1() -> None:
    accepted = set(media_types.ACCEPT.split(", "))
    assert accepted == media_types.MANIFESTS
    assert not accepted & media_types.SCHEMA_1


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("windows/amd64", Platform("windows", "amd64")),
    ],
)
def test_a_platform_is_written_as_it_was_read(text: str, platform: Platform) -> None:
    assert Platform.parse(text) == platform
    assert str(platform) == text
    assert Platform.from_json(json.loads(json.dumps(platform.to_json()))) == platform


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux//v8", "linux/arm/v7/x", "a/b/"])
def test_an_invalid_platform_is_rejected_with_a_remedy(text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        Platform.parse(text)
    assert caught.value.remedy
