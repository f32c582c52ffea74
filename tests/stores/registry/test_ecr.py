"""ECR: repositories that must be created by hand, and rate limits in unusual statuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirrorsync.errors import RateLimited
from mirrorsync.hosts import HostSettings
from mirrorsync.secret import Secret
from mirrorsync.stores.registry.http.retry import ATTEMPTS
from tests.parts.auth_service import PASSWORD, USER
from tests.parts.ecr import Ecr
from tests.parts.images import image, layer
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time, described, pieces
from tests.stores.registry.asking_destinations import copied, holds, spec

IMAGE = image([layer({"a": b"1"})])
THROTTLED = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "Rate exceeded"}]}'


@pytest.fixture
def ecr() -> Ecr:
    return Ecr()


@pytest.fixture
def server(ecr: Ecr, time: Time) -> Iterator[Unruly]:
    with Unruly(ecr, clock=time) as running:
        yield running


@pytest.fixture
def harness(server: Unruly, time: Time) -> ClientHarness:
    return ClientHarness(server.host, HostSettings(USER, Secret(PASSWORD), plain_http=True), time=time)


def test_a_missing_repository_is_reported_with_the_command_that_creates_it(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly
) -> None:
    output = copied(mirrorsync, source, f"{server.host}/new:1", code=1)
    assert "does not exist in the registry with id" in output
    assert "aws ecr create-repository --repository-name NAME" in output


def test_create_repository_is_reported_as_unsupported(mirrorsync: Mirrorsync, source: Unruly, server: Unruly) -> None:
    server.fault("answer", "POST", "/api/", status=404)
    done = mirrorsync("apply", spec(mirrorsync, source, server, create_repository=True), code=1)
    assert "create_repository uses the API of Harbor" in done.err
    assert "aws ecr create-repository --repository-name NAME" in done.err
    assert len(server.seen.of("POST", "/api/")) == 1


def test_an_image_is_copied_to_an_existing_repository(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, ecr: Ecr
) -> None:
    ecr.repositories.add("new")
    copied(mirrorsync, source, f"{server.host}/new:1")
    assert holds(ecr.registry, "new", IMAGE)


@pytest.mark.parametrize("status", [400, 403, 429])
def test_toomanyrequests_is_retried_after_a_wait(server: Unruly, harness: ClientHarness, ecr: Ecr, status: int) -> None:
    ecr.repositories.add("app")
    ecr.registry.hold("app", IMAGE, "1")
    blob = described(b"a large one" * 200_000)
    headers = {"Retry-After": "7"}
    for method, pattern in (("GET", "/manifests/"), ("POST", "/uploads/"), ("PUT", "/manifests/")):
        server.fault("answer", method, pattern, hits=[1, 2], status=status, headers=headers, body=THROTTLED)
    server.fault("headers", "HEAD", "/manifests/", change={"Docker-Content-Digest": None})
    assert harness.resolve("1", "app") is not None
    harness.put(blob, pieces(b"a large one" * 200_000), "app")
    assert harness.time is not None
    assert len(harness.time.waits) == 4
    assert min(harness.time.waits) >= 7


@pytest.mark.parametrize("status", [400, 403])
def test_endless_toomanyrequests_is_reported_as_a_rate_limit(
    server: Unruly, harness: ClientHarness, ecr: Ecr, status: int
) -> None:
    ecr.repositories.add("app")
    server.fault("answer", "GET", "/tags/", status=status, body=THROTTLED)
    with pytest.raises(RateLimited) as caught:
        harness.tags("app")
    assert len(server.seen.of("GET", "/tags/")) == ATTEMPTS
    assert "lower max_connections" in caught.value.remedy
    server.fault("answer", "GET", "/tags/", status=status, body=THROTTLED, headers={"Retry-After": "9999"})
    with pytest.raises(RateLimited, match="retry after 9999 seconds"):
        harness.tags("app")


def test_toomanyrequests_at_a_destination_does_not_count_as_absent(
    server: Unruly, harness: ClientHarness, ecr: Ecr
) -> None:
    """403 counts as absent there, unless its code has another meaning."""
    from mirrorsync.stores.base import Store
    from mirrorsync.stores.registry.store import RegistryStore

    ecr.repositories.add("app")
    server.fault("answer", "GET", "/tags/", status=403, body=THROTTLED)

    async def ask(store: Store) -> None:
        assert isinstance(store, RegistryStore)
        with pytest.raises(RateLimited):
            _ = [tag async for tag in store.destination("app").tags()]

    harness.run(ask)


def test_a_list_is_requested_without_a_page_size_after_one_was_rejected(
    server: Unruly, harness: ClientHarness, ecr: Ecr
) -> None:
    ecr.repositories |= {"app", "other"}
    ecr.registry.hold("app", IMAGE, "1")
    ecr.registry.hold("other", IMAGE, "2")
    from mirrorsync.stores.base import Store

    async def both(store: Store) -> list[str]:
        return [tag for name in ("app", "other") async for tag in store.repository(name).tags()]

    assert harness.run(both) == ["1", "2"]
    asked = [one.target for one in server.seen.of("GET", "/tags/") if one.authorization]
    assert asked == ["/v2/app/tags/list?n=1000", "/v2/app/tags/list", "/v2/other/tags/list"]
