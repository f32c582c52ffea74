"""Registries that claim to have mounted a blob (manifest-tool#98), or that lose one: it is copied."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirrorsync.errors import BlobsUnknown, ExitCode
from tests.parts.images import digest, image, noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import RecordedEvents
from tests.stores.registry.test_misbehaving_registries import Road

SHARED = [noise(f"a layer of all, {number}", 3000) for number in range(3)]
IMAGES = {name: image([*SHARED, noise(name, 500)]) for name in ("app", "other", "third", "fourth")}
UNKNOWN = b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry"}]}'


@pytest.fixture
def road(server: Unruly, tiny: TinyRegistry) -> Iterator[Road]:
    for name in IMAGES:
        tiny.hold(name, IMAGES[name], "1")
    held = TinyRegistry(strict=True)
    with Unruly(held) as target:
        yield Road(server, [target], [held], RecordedEvents(), [f"{server.host}/{name}:1" for name in IMAGES])


def lands(road: Road) -> None:
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE, report.failures
    for name, made in IMAGES.items():
        assert road.complete(made, name)


def mounts(road: Road) -> int:
    return len(road.targets[0].seen.of("POST", "mount="))


def test_a_successful_mount_is_requested_once(road: Road) -> None:
    lands(road)
    assert mounts(road) == 3 * len(SHARED)
    for name in list(IMAGES)[1:]:
        for data in SHARED:
            assert len(road.targets[0].seen.of("HEAD", f"mirror/{name}/blobs/{digest(data)}")) == 1


@pytest.mark.parametrize("deep", [False, True])
def test_a_false_mount_falls_back_to_a_copy_and_mounts_are_disabled_for_the_host(road: Road, deep: bool) -> None:
    road.targets[0].fault("answer", "POST", "mount=", status=201)
    road.deep = deep
    lands(road)
    # Mounts that are in flight when the first turns out to be false.
    assert 1 <= mounts(road) <= 3 * len(SHARED)
    plan, _ = road.go()
    assert plan.steps == ()


def test_after_a_false_mount_no_other_mount_is_tried(road: Road) -> None:
    """The images are copied one after the other, each to a repository of its own."""
    road.targets[0].fault("answer", "POST", "mount=", status=201)
    source, target = road.source.app, road.held[0]
    assert isinstance(source, TinyRegistry)
    target.hold("mirror/app", IMAGES["app"], "1")
    many = [image([SHARED[0], *(noise(f"{name} {number}", 100) for number in range(2))]) for name in "abcdefgh"
            for number in range(20)]  # fmt: skip
    for number, made in enumerate(many):
        source.hold(f"many{number}", made, "1")
    road.mirrors = [f"{road.source.host}/app:1", *(f"{road.source.host}/many{number}:1" for number in range(len(many)))]
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE
    # 64 requests are in flight at a time; the rest of 160 is copied without a mount.
    assert mounts(road) <= 64


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("deep", [False, True])
def test_a_mounted_blob_that_head_confirms_and_the_manifest_put_rejects_is_copied(
    road: Road, deep: bool, named: bool
) -> None:
    server, held = road.targets[0], road.held[0]
    server.fault("answer", "POST", "mount=", status=201)
    for name, key in [(name, digest(data)) for name in list(IMAGES)[1:] for data in SHARED]:
        size = str(len(SHARED[0]))
        server.fault(
            "answer", "HEAD", f"mirror/{name}/blobs/{key}", hits=[1], status=200, headers={"Content-Length": size}
        )
    if not named:
        held.detail = False
    road.deep = False
    lands(road)
    if deep:
        held.blobs.pop(("mirror/other", digest(SHARED[0])))
        road.deep = True
        lands(road)


def test_a_blob_that_is_garbage_collected_during_the_run_is_copied_again(road: Road) -> None:
    held = road.held[0]
    key = digest(SHARED[0])
    for data in SHARED:
        held.hold_blob("mirror/app", data)
    road.mirrors = [f"{road.source.host}/app:1"]
    whole = road.targets[0].app
    seen: list[object] = []

    def collecting(asked: Asked) -> Reply:
        if asked.method == "PUT" and "/manifests/" in asked.path and not seen:
            seen.append(held.blobs.pop(("mirror/app", key), None))
        return whole(asked)

    road.targets[0].app = collecting
    _, report = road.go()
    assert report.exit_code == ExitCode.DONE, report.failures
    assert road.complete(IMAGES["app"], "app")


def test_a_blob_that_the_registry_reports_missing_every_time_fails_the_image(road: Road) -> None:
    road.targets[0].fault("answer", "PUT", "mirror/app/manifests/", status=400, body=UNKNOWN)
    _, report = road.go()
    (failure,) = report.failures
    assert isinstance(failure.error, BlobsUnknown)
    assert "--deep" in failure.error.remedy
    assert ("mirror/app", "1") not in road.held[0].tags
    assert road.complete(IMAGES["other"], "other")
