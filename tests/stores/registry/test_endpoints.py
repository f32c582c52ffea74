"""A registry with endpoints: what is read where, what is believed, and what happens if one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from mirrorsync.environment import Environment
from mirrorsync.errors import ContentNotFound, IntegrityError, MirrorsyncError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.hosts import Endpoint, HostSettings
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.open import opener
from tests.parts.auth_service import basic, basic_guard
from tests.parts.images import image, layer, noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, RecordedEvents, Time, described, pieces, streamed

T = TypeVar("T")
IMAGE = image([layer({"a": b"1"})])
OLD = image([layer({"a": b"old"})])
SMALL = noise("small", 5000)
LARGE = noise("large", 3 * CHUNK_BYTES)
PREFIX = "hub/x"


def registry(prefix: str = "", **users: str) -> TinyRegistry:
    """Return a registry that has the content, under a prefix."""
    guard = basic_guard('Basic realm="x"', **users) if users else None
    made = TinyRegistry(guard=guard) if guard else TinyRegistry()
    made.hold(f"{prefix}app", IMAGE, "1")
    for data in (SMALL, LARGE):
        made.hold_blob(f"{prefix}app", data)
    return made


@dataclass
class Site:
    """A registry and two endpoints of it: the first below a prefix."""

    home: Unruly
    first: Unruly
    second: Unruly
    tags: bool = False
    settings: dict[str, HostSettings] = field(default_factory=dict)
    recorded: RecordedEvents = field(default_factory=RecordedEvents)

    def run(self, work: Callable[[WritableRepository], Awaitable[T]], *, destination: bool = False) -> T:
        """Run some work with the repository app of the registry."""
        endpoints = (Endpoint(self.first.host, PREFIX, tags=self.tags), Endpoint(self.second.host, tags=self.tags))
        hosts = {self.first.host: PLAIN, self.second.host: PLAIN, self.home.host: PLAIN, **self.settings}
        hosts[self.home.host] = HostSettings(
            hosts[self.home.host].username, hosts[self.home.host].password, plain_http=True, endpoints=endpoints
        )

        async def run() -> T:
            around = Environment(hosts, observer=self.recorded, clock=Time().clock)
            store = opener(around)(self.home.host)
            try:
                return await work(store.destination("app") if destination else store.repository("app"))  # type: ignore[attr-defined]
            finally:
                await store.close()

        return asyncio.run(run())

    @property
    def seen(self) -> list[int]:
        """How many requests each has got, except for the API: the endpoints, and the registry last."""
        servers = (self.first, self.second, self.home)
        return [len([asked for asked in one.seen.requests if asked.path != "/v2/"]) for one in servers]


@pytest.fixture
def site() -> Iterator[Site]:
    with Unruly(registry()) as home, Unruly(registry(f"{PREFIX}/")) as first, Unruly(registry()) as second:
        yield Site(home, first, second)


async def manifest(repository: WritableRepository) -> object:
    found = await repository.resolve(Digest(IMAGE.digest))
    assert found is not None
    assert (await repository.manifest(found)).raw == IMAGE.raw
    return found


async def small(repository: WritableRepository) -> object:
    assert await repository.read(described(SMALL)) == SMALL
    return True


async def large(repository: WritableRepository) -> object:
    assert await asyncio.to_thread(streamed, repository, described(LARGE)) == LARGE
    return True


READS = {"manifests": manifest, "small blobs": small, "large blobs": large}
every_read = pytest.mark.parametrize("read", READS.values(), ids=READS)
Read = Callable[[WritableRepository], Awaitable[object]]


@every_read
def test_content_is_read_at_the_first_endpoint_under_its_prefix(site: Site, read: Read) -> None:
    site.run(read)
    assert site.seen[1:] == [0, 0]
    assert all(f"/v2/{PREFIX}/app/" in asked.target for asked in site.first.seen.requests if asked.path != "/v2/")
    assert site.recorded.notices == []


@every_read
def test_what_an_endpoint_does_not_have_is_read_at_the_next_address(site: Site, read: Read) -> None:
    site.first.app = TinyRegistry()
    site.run(read)
    assert site.seen[0] > 0
    assert site.seen[2] == 0
    site.second.app = TinyRegistry()
    site.run(read)
    assert site.seen[2] > 0
    assert site.recorded.notices == []


@every_read
@pytest.mark.parametrize("fault", ["answer", "hang_up", "cut"])
def test_a_failing_endpoint_is_reported_once_and_left_after_repeated_failures(
    site: Site, read: Read, fault: str
) -> None:
    details: dict[str, dict[str, Any]] = {"answer": {"status": 500}, "hang_up": {}, "cut": {"at": 0}}
    site.first.fault(fault, **details[fault])

    async def often(repository: WritableRepository) -> None:
        for _ in range(8):
            await read(repository)

    site.run(often)
    assert site.seen[1] > 0
    assert site.seen[2] == 0
    notices = [notice for notice in site.recorded.notices if "endpoint" in notice]
    assert len(notices) == 2
    assert all(notice.startswith(f"{site.home.host}: endpoint {site.first.host}/{PREFIX}: ") for notice in notices)
    assert notices[0].endswith("; its content is read at the next address")
    assert notices[1].endswith("it failed repeatedly, and is not asked any more in this run")


@every_read
def test_the_error_of_the_registry_is_raised_if_every_address_fails(site: Site, read: Read) -> None:
    for server in (site.first, site.second, site.home):
        server.fault("answer", status=403)
    with pytest.raises(MirrorsyncError) as caught:
        site.run(read)
    assert caught.value.where.startswith(f"{site.home.host}/app@")


@pytest.mark.parametrize(("read", "path"), [(manifest, "/manifests/"), (small, "/blobs/")])
def test_wrong_content_is_reported_and_read_at_the_next_address(site: Site, read: Read, path: str) -> None:
    site.first.fault("flip", "GET", path, at=20)
    site.run(read)
    assert site.seen[1] > 0
    assert site.seen[2] == 0
    (notice,) = site.recorded.notices
    assert f"endpoint {site.first.host}/{PREFIX}: " in notice
    assert "digest" in notice


def test_a_large_blob_with_wrong_content_fails_before_its_last_chunk_and_is_read_at_the_next_address(
    site: Site,
) -> None:
    site.first.fault("flip", "GET", "/blobs/", at=20)

    async def twice(repository: WritableRepository) -> int:
        taken: list[bytes] = []

        def read() -> None:
            with repository.open(described(LARGE)) as chunks:
                taken.extend(chunks)

        with pytest.raises(IntegrityError):
            await asyncio.to_thread(read)
        await large(repository)
        return len(b"".join(taken))

    assert site.run(twice) < len(LARGE)
    assert site.seen == [1, 1, 0]
    assert "digest" in site.recorded.notices[0]


def test_a_large_blob_that_breaks_off_is_continued_at_the_next_address(site: Site) -> None:
    site.first.fault("cut", "GET", "/blobs/", at=2_000_000, hits=[1])
    site.first.fault("hang_up", "GET", "/blobs/", hits=range(2, 20))
    site.run(large)
    (rest,) = site.second.seen.of("GET", "/blobs/")
    assert rest.headers["Range"].startswith("bytes=")
    assert int(rest.headers["Range"][6:-1]) > 1_000_000
    assert site.seen[2] == 0


async def tag(repository: WritableRepository) -> object:
    return await repository.resolve(Tag("1"))


async def tags(repository: WritableRepository) -> object:
    return [tag async for tag in repository.tags()]


async def referrers(repository: WritableRepository) -> object:
    return await repository.referrers(Digest(IMAGE.digest))


@pytest.mark.parametrize("ask", [tag, tags, referrers])
def test_tags_and_referrers_are_asked_at_the_registry_alone(site: Site, ask: Read) -> None:
    for server in (site.first, site.second):
        server.app = registry_of_old()
    found = site.run(ask)
    assert site.seen[:2] == [0, 0]
    assert site.seen[2] > 0
    assert OLD.digest not in str(found)


def registry_of_old() -> TinyRegistry:
    made = TinyRegistry()
    for name in ("app", f"{PREFIX}/app"):
        made.hold(name, OLD, "1")
        made.hold(name, OLD, "old")
    return made


def test_an_endpoint_with_tags_is_believed_and_the_registry_need_not_answer(site: Site) -> None:
    site.tags = True
    site.first.app = TinyRegistry()
    site.second.app = registry_of_old()
    site.home.fault("hang_up")
    found = site.run(tag)
    assert getattr(found, "digest", "") == OLD.digest
    assert site.run(tags) == ["1", "old"]
    assert site.seen[2] == 0


def test_a_list_that_breaks_off_is_not_continued_at_another_address(site: Site) -> None:
    site.tags = True
    link = {"Link": f'</v2/{PREFIX}/app/tags/list?last=1>; rel="next"'}
    site.first.fault("headers", "GET", "/tags/list", change=link, hits=[1])
    site.first.fault("answer", "GET", "last=1", status=403)
    with pytest.raises(MirrorsyncError, match="403"):
        site.run(tags)
    assert site.seen[1:] == [0, 0]


def test_each_address_gets_only_its_own_login() -> None:
    users = {name: {"username": name, "password": f"canary-{name}"} for name in ("home", "first", "second")}
    with (
        Unruly(registry(**users["home"])) as home,
        Unruly(registry(f"{PREFIX}/", **users["first"])) as first,
        Unruly(registry(**users["second"])) as second,
    ):
        servers = {"home": home, "first": first, "second": second}
        site = Site(home, first, second)
        for name, server in servers.items():
            site.settings[server.host] = HostSettings(name, Secret(f"canary-{name}"), plain_http=True)
        first.fault("answer", "GET", "/blobs/", status=404)
        second.fault("answer", "GET", "/blobs/", status=404)
        site.run(small)
        site.run(tag)
        for name, server in servers.items():
            sent = {asked.authorization for asked in server.seen.requests} - {""}
            assert sent == {basic(name, f"canary-{name}")}


def test_a_destination_is_read_and_written_at_the_registry_itself(site: Site) -> None:
    new = noise("new", 3000)

    async def both(repository: WritableRepository) -> None:
        await repository.write(described(new), new)
        await asyncio.to_thread(repository.put, described(new + b"!"), pieces(new + b"!"))
        assert await repository.resolve(Digest(IMAGE.digest)) is not None
        await small(repository)

    site.run(both, destination=True)
    assert site.seen[:2] == [0, 0]


def test_a_digest_that_no_address_has_is_missing(site: Site) -> None:
    async def ask(repository: WritableRepository) -> None:
        missing = described(b"missing")
        assert await repository.resolve(missing.digest) is None
        with pytest.raises(ContentNotFound):
            await repository.read(missing)
        with pytest.raises(ContentNotFound):
            await asyncio.to_thread(streamed, repository, missing)

    site.run(ask)
    assert min(site.seen) == 3
    assert site.recorded.notices == []


def test_a_wrong_length_of_an_endpoint_does_no_harm(site: Site) -> None:
    site.first.fault("headers", "HEAD", "/manifests/", change={"Content-Length": "7"})
    site.first.fault("answer", "GET", "/manifests/", status=404)
    site.second.fault("answer", "GET", "/manifests/", status=404)
    site.run(manifest)
    assert site.seen[2] == 1


def test_an_endpoint_that_is_a_source_of_its_own_has_one_client_with_one_limit(site: Site) -> None:
    hosts = {site.first.host: replace(PLAIN, requests_per_second=10), site.home.host: PLAIN}
    hosts[site.home.host] = replace(PLAIN, endpoints=(Endpoint(site.first.host, PREFIX),))
    time = Time()

    async def both() -> None:
        opened = opener(Environment(hosts, clock=time.clock))
        stores = [opened(site.home.host), opened(site.first.host)]
        try:
            await stores[0].repository("app").read(described(SMALL))
            await stores[1].repository(f"{PREFIX}/app").read(described(SMALL))
        finally:
            for store in stores:
                await store.close()

    asyncio.run(both())
    assert [asked.path for asked in site.first.seen.requests].count("/v2/") == 1
    assert time.seconds == pytest.approx(0.2)
