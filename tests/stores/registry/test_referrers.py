"""Referrers: by the API of distribution spec 1.1, and by the fallback tag."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.stores.base import WritableRepository
from tests.parts.cosign import fallback
from tests.parts.images import OCI_INDEX, Image, artifact, image, index, layer
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness

SUBJECT = image([layer({"a": b"1"})])
SBOM = artifact(SUBJECT, b"sbom")
SIGNATURE = artifact(SUBJECT, b"signature", "application/vnd.example.signature")
TAG = SUBJECT.digest.replace(":", "-")


def of_subject(harness: ClientHarness) -> list[Descriptor]:
    async def asked(repository: WritableRepository) -> list[Descriptor]:
        return list(await repository.referrers(Digest(SUBJECT.digest)))

    return harness.within(asked)


def push(harness: ClientHarness, *images: Image) -> None:
    async def pushed(repository: WritableRepository) -> None:
        await asyncio.gather(*(repository.put_manifest(Manifest.parse(made.raw)) for made in images))

    harness.within(pushed)


def listed(tiny: TinyRegistry) -> list[str]:
    """Return the digests that the fallback tag lists."""
    _, raw = tiny.manifests["app", tiny.tags["app", TAG]]
    return [entry["digest"] for entry in json.loads(raw)["manifests"]]


def test_a_registry_with_the_referrers_api_keeps_the_list(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    push(harness, SUBJECT, SBOM)
    assert [found.digest for found in of_subject(harness)] == [SBOM.digest]
    assert ("app", TAG) not in tiny.tags
    assert not server.seen.of("GET", TAG)


def test_a_registry_without_the_referrers_api_gets_a_fallback_tag(tiny: TinyRegistry, harness: ClientHarness) -> None:
    tiny.referrers = False
    push(harness, SUBJECT, SBOM)
    push(harness, SIGNATURE)
    push(harness, SBOM)
    assert listed(tiny) == [SBOM.digest, SIGNATURE.digest]
    found = of_subject(harness)
    assert {one.digest: one.artifact_type for one in found} == {
        SBOM.digest: "application/vnd.example.sbom",
        SIGNATURE.digest: "application/vnd.example.signature",
    }
    assert found[0].annotations == {"org.example.about": "a test"}


def test_concurrent_referrers_are_all_listed(tiny: TinyRegistry, harness: ClientHarness) -> None:
    tiny.referrers = False
    many = [artifact(SUBJECT, b"%d" % number) for number in range(20)]
    push(harness, *many)
    assert sorted(listed(tiny)) == sorted(made.digest for made in many)


def test_entries_of_other_tools_in_the_fallback_tag_are_kept(tiny: TinyRegistry, harness: ClientHarness) -> None:
    tiny.referrers = False
    tiny.hold("app", index([SIGNATURE]), TAG)
    push(harness, SBOM)
    assert listed(tiny) == [SIGNATURE.digest, SBOM.digest]


def test_all_of_a_list_is_kept_when_an_entry_is_added(tiny: TinyRegistry, harness: ClientHarness) -> None:
    tiny.referrers = False
    entry = {**SIGNATURE.descriptor, "annotations": {"by": "another"}, "data": "e30=", "org.example": 1}
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "annotations": {"of": "another"}, "manifests": [entry]}
    tiny.hold("app", Image(OCI_INDEX, json.dumps(document).encode(), children=[SIGNATURE]), TAG)
    push(harness, SBOM)
    _, raw = tiny.manifests["app", tiny.tags["app", TAG]]
    merged = json.loads(raw)
    assert merged["manifests"].pop()["digest"] == SBOM.digest
    assert merged == document


def test_a_list_is_not_written_for_a_registry_with_the_api_that_does_not_announce_it(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    tiny.announces = False
    push(harness, SUBJECT, SBOM, SIGNATURE)
    assert ("app", TAG) not in tiny.tags
    assert 1 <= len(server.seen.of("GET", "/referrers/")) <= 2


def test_a_list_is_written_once_for_a_referrer_that_is_pushed_again(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    tiny.referrers = False
    push(harness, SBOM)
    push(harness, SBOM)
    assert len(server.seen.of("PUT", TAG)) == 1


class Rival:
    """A client that changes the list right before ours is written, so often."""

    def __init__(self, tiny: TinyRegistry, times: int) -> None:
        self.tiny = tiny
        self.left = times
        self.made: list[Image] = []

    def __call__(self, asked: Asked) -> Reply:
        if asked.method == "HEAD" and asked.path.endswith(TAG) and self.left:
            self.left -= 1
            self.made.append(artifact(SUBJECT, b"rival %d" % self.left))
            self.tiny.hold("app", fallback(*self.made), TAG)
        return self.tiny(asked)


def test_a_list_that_another_client_changes_meanwhile_is_merged_again(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    tiny.referrers = False
    server.app = rival = Rival(tiny, 2)
    push(harness, SBOM)
    assert listed(tiny) == [*(one.digest for one in rival.made), SBOM.digest]


def test_a_list_that_other_clients_change_all_the_time_is_an_error(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    tiny.referrers = False
    server.app = rival = Rival(tiny, 1000)
    with pytest.raises(MirrorsyncError, match=f"the list of referrers {TAG} was changed 5 times"):
        push(harness, SBOM)
    assert listed(tiny) == [one.digest for one in rival.made]


def test_an_image_under_the_fallback_tag_is_not_overwritten(tiny: TinyRegistry, harness: ClientHarness) -> None:
    tiny.referrers = False
    tiny.hold("app", SUBJECT, TAG)
    with pytest.raises(MirrorsyncError, match="is an image, and the list of referrers belongs there"):
        push(harness, SBOM)
    assert tiny.tags["app", TAG] == SUBJECT.digest


def test_an_image_with_the_name_of_the_fallback_tag_is_not_a_list(tiny: TinyRegistry, harness: ClientHarness) -> None:
    tiny.referrers = False
    tiny.hold("app", SUBJECT, TAG)
    assert of_subject(harness) == []


NO_API: dict[str, dict[str, Any]] = {
    "not found": {"status": 404},
    "a bad request": {"status": 400},
    "not allowed": {"status": 405},
    "forbidden": {"status": 403},
    "not implemented": {"status": 501},
    "a web page": {"status": 200, "headers": {"Content-Type": "text/html"}, "body": b"<html>"},
    "empty body": {"status": 204},
    "a redirect to a web page": {"status": 303, "headers": {"Location": "http://localhost:1/orgs/app/packages"}},
    "a redirect to an internal address": {"status": 302, "headers": {"Location": "http://169.254.169.254/"}},
}


@pytest.mark.parametrize("answer", NO_API.values(), ids=NO_API)
def test_a_registry_without_the_api_is_asked_for_the_fallback_tag(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, answer: dict[str, Any]
) -> None:
    tiny.hold("app", index([SBOM]), TAG)
    server.fault("answer", "GET", "/referrers/", **answer)
    assert [found.digest for found in of_subject(harness)] == [SBOM.digest]
    assert len(server.seen.of("GET", "/referrers/")) == 1


def test_a_redirect_of_the_referrers_api_to_a_web_page_is_not_followed(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    tiny.hold("app", index([SBOM]), TAG)
    with Unruly(lambda asked: Reply(429, {"Retry-After": "3600"})) as page:
        server.fault("answer", "GET", "/referrers/", status=303, headers={"Location": f"{page.url}/packages"})
        assert [found.digest for found in of_subject(harness)] == [SBOM.digest]
        assert not page.seen.requests
    assert harness.time is not None
    assert harness.time.waits == []


def test_all_pages_of_referrers_are_read(server: Unruly, harness: ClientHarness) -> None:
    def answer(asked: Asked) -> Reply:
        made = SIGNATURE if "page=2" in asked.target else SBOM
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [made.descriptor]}).encode()
        links = [] if "page=2" in asked.target else [("Link", f'<{asked.path}?page=2>; rel="next"')]
        return Reply(200, {"Content-Type": OCI_INDEX}, body, links)

    server.app = answer
    assert [found.digest for found in of_subject(harness)] == [SBOM.digest, SIGNATURE.digest]


GARBAGE = {
    "not JSON": b"<html>",
    "a list": b"[]",
    "manifests is not a list": b'{"manifests": {}}',
    "no digest": b'{"manifests": [{"mediaType": "a/b", "size": 1}]}',
    "a malformed digest": b'{"manifests": [{"mediaType": "a/b", "size": 1, "digest": "../x"}]}',
    "a malformed entry": b'{"manifests": [null]}',
    "nested too deeply": b'{"manifests": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_an_invalid_referrers_list_is_an_error_and_not_an_empty_list(
    server: Unruly, harness: ClientHarness, body: bytes
) -> None:
    server.fault("answer", "GET", "/referrers/", status=200, headers={"Content-Type": OCI_INDEX}, body=body)
    with pytest.raises(MirrorsyncError) as caught:
        of_subject(harness)
    assert "asking for referrers" in caught.value.message
    assert caught.value.where == f"{server.host}/app@{SUBJECT.digest}"


def test_a_failing_referrers_api_is_an_error_and_not_an_empty_list(server: Unruly, harness: ClientHarness) -> None:
    server.fault("answer", "GET", "/referrers/", status=503)
    with pytest.raises(MirrorsyncError, match="503"):
        of_subject(harness)
