"""Stored content is confirmed before a tag names it, and sent again if it is damaged or lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mirrorsync.errors import ExitCode, IntegrityError, NotKept
from mirrorsync.oci.manifest import Manifest
from tests.parts.images import Image, digest, image, index, noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import RecordedEvents
from tests.stores.registry.test_misbehaving_registries import Road, blob_of

SHARED = noise("a layer of both", 3000)
LARGE = noise("a large layer", 2_500_000)
FIRST = image([SHARED, LARGE])
SECOND = image([SHARED, noise("its own", 2000)])
BOTH = {"app": FIRST, "other": SECOND}


@pytest.fixture
def road(server: Unruly, tiny: TinyRegistry) -> Iterator[Road]:
    for name, made in BOTH.items():
        tiny.hold(name, made, "1")
    held = TinyRegistry(strict=True)
    with Unruly(held) as target:
        yield Road(server, [target], [held], RecordedEvents())


def asked(road: Road, name: str) -> list[str]:
    """Return the requests to the destination about a repository, in order, without the uploads' details."""
    lines = []
    for one in road.targets[0].seen.requests:
        if f"/mirror/{name}/" in one.path:
            path = one.path.partition(f"/mirror/{name}/")[2]
            lines.append(f"{one.method} {'upload' if 'uploads' in path else path}")
    return lines


def test_all_content_is_confirmed_once_before_the_tag_is_set(road: Road) -> None:
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    for name, made in BOTH.items():
        assert road.complete(made, name)
        lines = asked(road, name)
        tagged = lines.index("PUT manifests/1")
        by_digest = lines.index(f"PUT manifests/{made.digest}")
        assert by_digest < lines.index(f"HEAD manifests/{made.digest}", by_digest) < tagged
        for key in made.blobs:
            heads = [place for place, line in enumerate(lines) if line == f"HEAD blobs/{key}"]
            # Large blobs are also asked for during planning.
            assert 1 <= len(heads) <= 2
            assert heads[-1] < by_digest


def test_a_first_copy_sends_no_more_requests_than_needed(road: Road) -> None:
    """For one image: three for each of its blobs, and for the manifest one each to store it, to confirm it, to get
    its tag, and to set the tag.
    """
    tiny = road.source.app
    assert isinstance(tiny, TinyRegistry)
    for number in range(10):
        tiny.hold("more", image([noise(f"a {number}", 500), noise(f"b {number}", 500)]), f"v{number}")
    counts = []
    for many in (1, 10):
        road.targets[0].app = TinyRegistry(strict=True)
        before = len(road.targets[0].seen.requests)
        road.mirrors = [f"{road.source.host}/more:v{number}" for number in range(many)]
        assert road.go()[1].exit_code == ExitCode.DONE
        counts.append(len(road.targets[0].seen.requests) - before)
    assert counts[1] - counts[0] == 9 * (3 * 3 + 4)


def test_several_tags_of_one_image_store_and_confirm_it_once(road: Road) -> None:
    tiny = road.source.app
    assert isinstance(tiny, TinyRegistry)
    for tag in ("2", "3"):
        tiny.tags["app", tag] = FIRST.digest
    road.mirrors = [{"from": f"{road.source.host}/app", "tags": ["1", "2", "3"]}]
    assert road.go()[1].exit_code == ExitCode.DONE
    lines = asked(road, "app")
    assert lines.count(f"PUT manifests/{FIRST.digest}") == 1
    tagged = [line for line in lines if line.startswith("PUT manifests/") and ":" not in line]
    assert sorted(tagged) == ["PUT manifests/1", "PUT manifests/2", "PUT manifests/3"]


@pytest.mark.parametrize("which", ["config", "small", "large", "manifest"])
def test_an_empty_file_behind_201_is_detected_and_fails_one_image(road: Road, which: str) -> None:
    """CNCF distribution keeps the first copy of content that was written to a full disk: an empty file."""
    held = road.held[0]
    digests = {"config": next(iter(FIRST.blobs)), "small": digest(SHARED), "large": digest(LARGE)}
    broken = digests.get(which, FIRST.digest)
    held.full = {broken}
    if which == "manifest":
        road.targets[0].fault("answer", "*", f"/manifests/{FIRST.digest}", status=500)
        road.targets[0].fault("answer", "PUT", f"/manifests/{FIRST.digest}", status=201)
    _, report = road.go()
    failed = {failure.subject.rpartition("/")[2] for failure in report.failures}
    assert failed == ({"app:1", "other:1"} if which == "small" else {"app:1"})
    for failure in report.failures:
        assert isinstance(failure.error, NotKept)
        assert (failure.error.side, failure.error.store) == ("destination", road.targets[0].host)
        assert "storage" in failure.error.remedy
    assert ("mirror/app", "1") not in held.tags
    assert (("mirror/other", "1") in held.tags) == (which != "small")
    assert broken in str(report.failures[0].error)
    if which in ("config", "large"):
        ends = [one for one in road.targets[0].seen.of("PUT", "mirror/app/blobs") if broken[7:] in one.target]
        assert len(ends) == 2, "it is sent again once"


def test_a_blob_that_is_lost_once_is_sent_again(road: Road) -> None:
    server = road.targets[0]
    server.fault("answer", "HEAD", f"mirror/app{blob_of(LARGE)}", hits=[2, 3], status=404)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert road.complete(FIRST, "app")
    assert len(server.seen.of("HEAD", f"mirror/app{blob_of(LARGE)}")) == 4
    assert [retry for retry in road.recorded.retries if "does not have it" in retry.reason]


def test_a_manifest_that_is_lost_once_is_sent_again(road: Road) -> None:
    server = road.targets[0]
    server.fault("answer", "*", f"mirror/app/manifests/{FIRST.digest}", hits=[2, 3, 4, 5], status=404)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert road.complete(FIRST, "app")
    assert len(server.seen.of("PUT", f"mirror/app/manifests/{FIRST.digest}")) == 2


def test_content_that_appears_a_moment_later_is_not_sent_again(road: Road) -> None:
    server = road.targets[0]
    server.fault("answer", "HEAD", f"mirror/app{blob_of(LARGE)}", hits=[2], status=404)
    server.fault("answer", "*", f"mirror/app/manifests/{FIRST.digest}", hits=[2, 3], status=404)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert len(server.seen.of("PUT", f"mirror/app/manifests/{FIRST.digest}")) == 1
    assert len([one for one in server.seen.of("PUT", "mirror/app/blobs") if digest(LARGE)[7:] in one.target]) == 1


# Content that is damaged in transit.


def flipping(server: Unruly, pattern: str, times: int) -> None:
    """Flip a bit of the content between client and registry."""
    whole, left = server.app, [times]

    def app(one: Any) -> Any:
        if one.method == "PUT" and pattern in one.path and left[0]:
            left[0] -= 1
            body = one.body.replace(b'"schemaVersion"', b'"schemaVersioN"')
            assert body != one.body
            object.__setattr__(one, "body", body)
        return whole(one)

    server.app = app


def test_a_manifest_that_is_damaged_in_transit_is_sent_again_and_never_tagged(road: Road) -> None:
    flipping(road.targets[0], f"mirror/app/manifests/{FIRST.digest}", 2)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert road.complete(FIRST, "app")
    assert len(road.targets[0].seen.of("PUT", f"mirror/app/manifests/{FIRST.digest}")) == 3
    lines = asked(road, "app")
    assert lines.count("PUT manifests/1") == 1


def test_a_manifest_that_is_damaged_every_time_fails_its_image_without_a_tag(road: Road) -> None:
    flipping(road.targets[0], "mirror/app/manifests/", 1000)
    _, report = road.go()
    (failure,) = report.failures
    assert isinstance(failure.error, IntegrityError)
    assert ("mirror/app", "1") not in road.held[0].tags
    assert road.complete(SECOND, "other")


def test_a_manifest_is_sent_again_if_the_registry_reports_another_digest(road: Road) -> None:
    change = {"Docker-Content-Digest": SECOND.digest}
    road.targets[0].fault("headers", "PUT", "mirror/app/manifests/", hits=[1, 3], change=change)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert road.complete(FIRST, "app")


@pytest.mark.parametrize("hits", [[1], [1, 2]])
def test_a_manifest_with_a_wrong_digest_is_read_again(road: Road, hits: list[int]) -> None:
    road.source.fault("flip", "GET", f"/app/manifests/{FIRST.digest}", hits=hits, at=40)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert road.complete(FIRST, "app")
    assert len(road.source.seen.of("GET", f"/app/manifests/{FIRST.digest}")) == len(hits) + 1


def test_a_manifest_with_a_wrong_digest_every_time_fails_after_three_attempts(road: Road) -> None:
    road.source.fault("flip", "GET", f"/app/manifests/{FIRST.digest}", at=40)
    _, report = road.go()
    (failure,) = report.failures
    assert isinstance(failure.error, IntegrityError)
    assert len(road.source.seen.of("GET", f"/app/manifests/{FIRST.digest}")) == 3


@pytest.mark.parametrize("status", [400, 404, 405])
def test_falls_back_to_a_put_by_tag_if_a_put_by_digest_is_rejected(road: Road, status: int) -> None:
    body = b'{"errors": [{"code": "UNSUPPORTED"}]}'
    road.targets[0].fault("answer", "PUT", "/manifests/sha256:", status=status, body=body)
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    assert road.complete(FIRST, "app")
    lines = asked(road, "app")
    assert f"HEAD manifests/{FIRST.digest}" in lines[lines.index("PUT manifests/1") :]


def test_the_children_of_an_index_are_confirmed_too(road: Road, tiny: TinyRegistry) -> None:
    parts: list[Image] = [image([noise(name, 100)], architecture=name) for name in ("amd64", "arm64")]
    whole = index(parts)
    tiny.hold("app", whole, "1")
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    lines = asked(road, "app")
    for one in (*parts, whole):
        key = f"manifests/{one.digest}"
        put = lines.index(f"PUT {key}")
        assert f"HEAD {key}" in lines[put:]
    assert Manifest.parse(whole.raw).digest == whole.digest
