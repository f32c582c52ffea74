"""Selected platforms of an index: the images for them, and the index of only those."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.media_types import OCI_INDEX, OCI_MANIFEST
from mirrorsync.oci.narrowing import ATTESTATION_KIND, ATTESTED, chosen, left_out, narrowed
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
def test_images_of_platforms_are_chosen_in_the_order_of_the_index(wanted: tuple[str, ...], names: list[str]) -> None:
    found = chosen(FULL, platforms(*wanted))
    assert [image.digest for image in found] == [Digest.of(name.encode()) for name in names]


@pytest.mark.parametrize("wanted", ["linux/s390x", "linux/amd64/v3", "windows/amd64", "linux/arm/v5"])
def test_a_missing_platform_is_reported_with_the_available_ones(wanted: str) -> None:
    with pytest.raises(ContentNotFound) as caught:
        chosen(FULL, platforms("linux/amd64", wanted))
    assert wanted in caught.value.message
    assert caught.value.remedy == "available: linux/amd64, linux/arm64/v8, linux/arm/v6, linux/arm/v7"


def test_an_image_that_is_listed_for_two_platforms_is_found_for_both() -> None:
    twice = index(entry("arm", "linux/arm/v6"), entry("arm", "linux/arm/v7"), entry("amd64", "linux/amd64"))
    for platform in ("linux/arm/v6", "linux/arm/v7"):
        assert [image.digest for image in chosen(twice, platforms(platform))] == [Digest.of(b"arm")]
    assert narrowed(twice, chosen(twice, platforms("linux/arm/v6", "linux/amd64"))) is twice


def test_windows_versions_are_compared_only_if_one_is_given() -> None:
    old, new = Platform("windows", "amd64", os_version="10.0.1"), Platform("windows", "amd64", os_version="10.0.2")
    entries = [{**entry(one.os_version, None), "platform": one.to_json()} for one in (old, new)]
    assert len(chosen(index(*entries), platforms("windows/amd64"))) == 2
    assert [image.platform for image in chosen(index(*entries), [new])] == [new]


def test_a_narrowed_index_keeps_entries_attestations_and_all_other_members() -> None:
    part = narrowed(FULL, chosen(FULL, platforms("linux/arm64", "linux/arm/v6")))
    before, after = json.loads(FULL.raw), json.loads(part.raw)
    assert after["manifests"] == [before["manifests"][number] for number in (1, 2, 5)]
    assert {**after, "manifests": 0} == {**before, "manifests": 0}
    assert part.media_type == FULL.media_type
    assert narrowed(FULL, chosen(FULL, platforms("linux/arm/v6", "linux/arm64"))).raw == part.raw


def test_an_index_from_which_nothing_is_left_out_is_unchanged() -> None:
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
def test_the_platform_of_a_machine_is_from_uname(system: str, machine: str, platform: str) -> None:
    assert str(Platform.of_machine(system, machine)) == platform


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (("linux/amd64",), ["arm64", "armv6", "armv7", "att arm64", "bare"]),
        (("linux/arm64", "linux/amd64"), ["armv6", "armv7", "bare"]),
    ],
)
def test_a_sparse_index_lacks_other_images_and_their_attestations(wanted: tuple[str, ...], names: list[str]) -> None:
    assert left_out(FULL, platforms(*wanted)) == {Digest.of(name.encode()) for name in names}
    with pytest.raises(ContentNotFound, match="no image for platform linux/s390x"):
        left_out(FULL, platforms(*wanted, "linux/s390x"))
