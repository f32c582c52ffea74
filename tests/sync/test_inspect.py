"""Inspect an image: never one image's layers under another image's digest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mirrorsync.documents.inspection import inspection_document
from mirrorsync.errors import ContentNotFound, Malformed, MirrorsyncError, UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import parse_image
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.sync.session import Session
from mirrorsync.sync.single.inspect import Examination, examine
from tests.parts.documents import valid
from tests.parts.images import OCI_INDEX, OCI_MANIFEST, Image, artifact, digest, image, index, layer
from tests.sync.in_memory import fill

STORE = "source.example"
HELM = "application/vnd.cncf.helm.config.v1+json"
AMD64, ARM64 = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def look(store: MemoryStore, reference: str, **options: Any) -> Examination:
    """Inspect a reference, and validate the document against its schema."""

    async def work() -> Examination:
        async with Session(lambda _: store) as session:
            return await examine(session, parse_image(f"{STORE}/{reference}"), **options)

    found = asyncio.run(work())
    valid(json.loads(json.dumps(inspection_document(found))), "inspection")
    return found


def holding(**images: Image) -> MemoryStore:
    store = MemoryStore(STORE)
    for tag, made in images.items():
        fill(store, "app", tag, made)
    return store


def entries(*pairs: tuple[Image, dict[str, Any]]) -> Image:
    """Return an index whose entries have these further members."""
    manifests = [{**child.descriptor, **members} for child, members in pairs]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return Image(OCI_INDEX, json.dumps(document).encode(), children=[child for child, _ in pairs])


def attestation(of: Image) -> tuple[Image, dict[str, Any]]:
    """Return an attestation manifest as buildkit adds it to the index of an image."""
    annotations = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.digest}
    return image([b"attests " + of.digest.encode()]), {"platform": UNKNOWN, "annotations": annotations}


ONE = image([layer({"a": b"one"}), layer({"b": b"one"})])
TWO = image([layer({"a": b"two"})], architecture="arm64")


def test_an_index_of_several_platforms_is_shown_without_layers() -> None:
    found = look(holding(one=index([ONE, TWO])), "app:one")
    assert [(str(each.content.platform), str(each.content.digest)) for each in found.members] == [
        ("linux/amd64", ONE.digest),
        ("linux/arm64", TWO.digest),
    ]
    assert found.image is None
    assert found.root is not None
    assert found.root.digest == index([ONE, TWO]).digest


@pytest.mark.parametrize(("architecture", "made"), [("amd64", ONE), ("arm64", TWO)])
def test_a_platform_is_shown_under_its_own_digest(architecture: str, made: Image) -> None:
    found = look(holding(one=index([ONE, TWO])), "app:one", platform=Platform("linux", architecture))
    assert found.root is not None
    assert found.image is not None
    assert found.root.digest == index([ONE, TWO]).digest
    assert found.image.manifest.digest == made.digest
    assert found.image.config is not None
    assert found.image.config.platform == Platform("linux", architecture)


def test_a_buildkit_index_of_one_platform_is_one_image_with_its_attestation() -> None:
    root = entries((ONE, {"platform": AMD64}), attestation(ONE))
    found = look(holding(one=root), "app:one")
    assert [each.kind for each in found.members] == ["image", "attestation"]
    assert found.members[1].attests == ONE.digest
    assert found.image is not None
    assert found.image.manifest.digest == ONE.digest


def test_an_index_in_an_index_is_followed_to_the_image() -> None:
    inner = entries((ONE, {"platform": AMD64}), attestation(ONE))
    found = look(holding(one=entries((inner, {"platform": AMD64}))), "app:one")
    assert [each.kind for each in found.members] == ["index"]
    assert found.image is not None
    assert found.image.manifest.digest == ONE.digest


def test_deeply_nested_indexes_are_rejected() -> None:
    root = ONE
    for _ in range(12):
        root = entries((root, {"platform": AMD64}))
    with pytest.raises(Malformed, match="nested more than"):
        look(holding(one=root), "app:one")


def test_one_image_for_two_platforms_is_listed_for_both() -> None:
    found = look(holding(one=entries((ONE, {"platform": AMD64}), (ONE, {"platform": ARM64}))), "app:one")
    assert [str(each.content.platform) for each in found.members] == ["linux/amd64", "linux/arm64"]
    assert found.image is not None, "it is one image all the same"


def test_several_images_for_a_platform_are_reported_with_their_digests() -> None:
    pairs = [(made, {"platform": {"os": "windows", "architecture": "amd64", "os.version": version}})
             for made, version in ((ONE, "10.0.1"), (TWO, "10.0.2"))]  # fmt: skip
    with pytest.raises(UsageError, match="2 images for platform windows/amd64") as caught:
        look(holding(one=entries(*pairs)), "app:one", platform=Platform("windows", "amd64"))
    assert f"@{TWO.digest} (10.0.2)" in caught.value.remedy


@pytest.mark.parametrize("root", [index([ONE, TWO]), ONE], ids=["index", "image"])
def test_a_missing_platform_is_reported_with_the_available_ones(root: Image) -> None:
    with pytest.raises(ContentNotFound, match=r"source\.example/app:one.*linux/s390x") as caught:
        look(holding(one=root), "app:one", platform=Platform("linux", "s390x"))
    assert "linux/amd64" in caught.value.remedy


def test_repeated_layers_are_listed_each_time_and_counted_once() -> None:
    base, top = layer({"a": b"base"}), layer({"b": b"top"})
    found = look(holding(one=image([base, top, base])), "app:one")
    assert found.image is not None
    assert [str(each.digest) for each in found.image.layers] == [digest(base), digest(top), digest(base)]
    assert found.image.size == len(base) + len(top)


def test_attachments_of_the_index_and_of_its_image_are_distinguished() -> None:
    root = index([ONE, TWO])
    store = holding(one=root)
    for subject in (root, ONE, TWO):
        fill(store, "app", "x", artifact(subject, subject.digest.encode()))
    whole = look(store, "app:one")
    named = look(store, "app:one", platform=Platform("linux", "amd64"))
    assert [str(each.subject) for each in whole.attached] == [root.digest]
    assert [str(each.subject) for each in named.attached] == [root.digest, ONE.digest]


def test_a_chart_is_shown_without_an_image_config() -> None:
    config, chart = b'{"name": "chart", "created": 5}', b"chart"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": HELM, "digest": digest(config), "size": len(config)},
        "layers": [
            {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": digest(chart), "size": 5}
        ],
        "annotations": {"org.opencontainers.image.title": "chart"},
    }
    made = Image(OCI_MANIFEST, json.dumps(document).encode(), {digest(config): config, digest(chart): chart})
    found = look(holding(one=made), "app:one")
    assert found.image is not None
    assert found.image.config is None
    assert found.image.manifest.artifact_type == HELM
    assert found.notices == ()
    assert len(found.image.layers) == 1


def test_an_invalid_config_is_a_notice_and_the_rest_is_shown() -> None:
    made = image([layer({"a": b"x"})])
    config = b'{"os": 5}'
    document = json.loads(made.raw)
    document["config"] |= {"digest": digest(config), "size": len(config)}
    broken = Image(OCI_MANIFEST, json.dumps(document).encode(), {**made.blobs, digest(config): config})
    found = look(holding(one=broken), "app:one")
    assert found.image is not None
    assert found.image.config is None
    assert len(found.image.layers) == 1
    assert any("os is not a string" in notice for notice in found.notices)


def test_an_index_without_its_only_image_is_shown_with_a_notice() -> None:
    store = holding(one=entries((ONE, {"platform": AMD64})))
    asyncio.run(store.repository("app").delete(Digest(ONE.digest)))
    found = look(store, "app:one")
    assert [str(each.content.digest) for each in found.members] == [ONE.digest]
    assert found.image is None
    assert any("cannot be shown" in notice for notice in found.notices)


def test_a_reference_with_tag_and_digest_shows_the_digest_and_notices_a_moved_tag() -> None:
    store = holding(one=ONE, two=TWO)
    same = look(store, f"app:one@{ONE.digest}")
    moved = look(store, f"app:two@{ONE.digest}")
    gone = look(store, f"app:three@{ONE.digest}")
    assert {str(each.root.digest) for each in (same, moved, gone) if each.root} == {ONE.digest}
    assert same.notices == ()
    assert f"the tag two names another image now: {TWO.digest}" in moved.notices
    assert "the tag three does not exist; showing the digest" in gone.notices


def test_a_repository_is_shown_with_latest_and_its_tags() -> None:
    found = look(holding(latest=ONE, old=TWO), "app")
    assert found.root is not None
    assert found.root.digest == ONE.digest
    assert found.tags == ("latest", "old")


def test_a_repository_without_latest_is_shown_with_its_tags() -> None:
    found = look(holding(v1=ONE, v2=TWO), "app")
    assert (found.root, found.tags) == (None, ("v1", "v2"))
    assert any("latest" in notice for notice in found.notices)


@pytest.mark.parametrize(
    ("reference", "options", "said"),
    [
        ("app:v11", {}, r"source\.example/app:v11: .*no such tag"),
        ("app", {"platform": Platform("linux", "amd64")}, r"source\.example/app:latest: .*no such tag"),
        ("app", {"tags": False}, r"source\.example/app:latest: .*no such tag"),
        (f"app@{digest(b'none')}", {}, f"{digest(b'none')}: .*no image with this digest"),
        ("none", {}, r"source\.example/none:latest: .*no such repository"),
        ("none:1", {}, r"source\.example/none:1: .*no such repository"),
    ],
)
def test_a_missing_image_is_reported(reference: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(MirrorsyncError, match=said) as caught:
        look(holding(v1=ONE, v2=TWO), reference, **options)
    assert caught.value.exit_code == 1
    if reference == "app:v11":
        assert caught.value.remedy == "did you mean v1?"
