"""Some platforms of an index: which images are meant, and what the index of them is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.media_types import OCI_INDEX, OCI_MANIFEST
from mirrorsync.oci.narrowing import ATTESTATION_KIND, ATTESTED, chosen, narrowed
from mirrorsync.oci.platform import Platform


def entry(name: str, platform: str | None, **more: Any) -> dict[str, Any]:
    members = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(name.encode())), "size": 7, **more}
    if platform is not None:
        members["platform"] = Platform.parse(platform).to_json()
    return members


def index(*entries: dict[str, Any], **more: Any) -> Manifest:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **more}
    return Manifest.parse(json.dumps(document, indent=2).encode(), OCI_INDEX)


def platforms(*texts: str) -> list[Platform]:
    return [Platform.parse(text) for text in texts]


FULL = index(
    entry("amd64", "linux/amd64"),
    entry("arm64", "linux/arm64/v8"),
    entry("armv6", "linux/arm/v6"),
    entry("armv7", "linux/arm/v7"),
    entry("att amd64", "unknown/unknown", annotations={ATTESTATION_KIND: "x", ATTESTED: Digest.of(b"amd64")}),
    entry("att arm64", "unknown/unknown", annotations={ATTESTATION_KIND: "x", ATTESTED: Digest.of(b"arm64")}),
    entry("bare", None),
    annotations={"org.example": "kept"},
)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (("linux/amd64",), ["amd64"]),
        (("linux/amd64/v1",), ["amd64"]),
        (("linux/arm64",), ["arm64"]),
        (("linux/arm64/v8",), ["arm64"]),
        (("linux/arm",), ["armv7"]),
        (("linux/arm/v6",), ["armv6"]),
        (("linux/arm/v7", "linux/amd64"), ["amd64", "armv7"]),
        (("linux/amd64", "linux/amd64/v1"), ["amd64"]),
    ],
)
def test_a_platform_means_these_images_in_the_order_of_the_index(wanted: tuple[str, ...], names: list[str]) -> None:
    found = chosen(FULL, platforms(*wanted))
    assert [image.digest for image in found] == [Digest.of(name.encode()) for name in names]


@pytest.mark.parametrize("wanted", ["linux/s390x", "linux/amd64/v3", "windows/amd64", "linux/arm/v5"])
def test_a_platform_that_is_missing_is_told_with_those_that_are_there(wanted: str) -> None:
    with pytest.raises(ContentNotFound) as caught:
        chosen(FULL, platforms("linux/amd64", wanted))
    assert wanted in caught.value.message
    assert caught.value.remedy == "there is linux/amd64, linux/arm64/v8, linux/arm/v6, linux/arm/v7"


def test_an_image_that_is_listed_for_two_platforms_is_found_for_both() -> None:
    twice = index(entry("arm", "linux/arm/v6"), entry("arm", "linux/arm/v7"), entry("amd64", "linux/amd64"))
    for platform in ("linux/arm/v6", "linux/arm/v7"):
        assert [image.digest for image in chosen(twice, platforms(platform))] == [Digest.of(b"arm")]
    assert narrowed(twice, chosen(twice, platforms("linux/arm/v6", "linux/amd64"))) is twice


def test_versions_of_windows_are_told_apart_only_where_one_is_named() -> None:
    old, new = Platform("windows", "amd64", os_version="10.0.1"), Platform("windows", "amd64", os_version="10.0.2")
    entries = [{**entry(one.os_version, None), "platform": one.to_json()} for one in (old, new)]
    assert len(chosen(index(*entries), platforms("windows/amd64"))) == 2
    assert [image.platform for image in chosen(index(*entries), [new])] == [new]


def test_the_index_of_some_images_keeps_their_entries_their_attestations_and_all_else() -> None:
    part = narrowed(FULL, chosen(FULL, platforms("linux/arm64", "linux/arm/v6")))
    before, after = json.loads(FULL.raw), json.loads(part.raw)
    assert after["manifests"] == [before["manifests"][number] for number in (1, 2, 5)]
    assert {**after, "manifests": 0} == {**before, "manifests": 0}
    assert part.media_type == FULL.media_type
    assert narrowed(FULL, chosen(FULL, platforms("linux/arm/v6", "linux/arm64"))).raw == part.raw


def test_an_index_of_which_nothing_is_left_out_is_itself() -> None:
    whole = index(entry("amd64", "linux/amd64"), entry("arm64", "linux/arm64"))
    assert narrowed(whole, chosen(whole, platforms("linux/amd64", "linux/arm64"))) is whole


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [
        ("Linux", "x86_64", "linux/amd64"),
        ("Linux", "aarch64", "linux/arm64"),
        ("Darwin", "arm64", "darwin/arm64"),
        ("Linux", "armv7l", "linux/arm"),
        ("Linux", "armv6l", "linux/arm/v6"),
        ("Linux", "s390x", "linux/s390x"),
    ],
)
def test_a_machine_has_a_platform(system: str, machine: str, platform: str) -> None:
    assert str(Platform.of_machine(system, machine)) == platform
