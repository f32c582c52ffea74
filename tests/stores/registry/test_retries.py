"""Retries: of which failures, how often, after how long, and when requests to a host stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from email.utils import formatdate

import pytest

from mirrorsync.errors import (
    ConnectionRefused,
    HostUnknown,
    MirrorsyncError,
    RateLimited,
    RegistryFailure,
    Unreachable,
)
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store, WritableRepository
from tests.parts.images import image, layer, noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import HangUp, Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time, described, pieces

PASSING = (408, 429, 500, 502, 503, 504)
FINAL = (400, 401, 403, 405, 409, 410, 413, 415, 422, 501)
IMAGE = image([layer({"a": b"1"})])
DATA = noise("retried", 3000)
LARGE = noise("retried and large", CHUNK_BYTES + 100)
BLOB = described(DATA)


@pytest.fixture(autouse=True)
def held(tiny: TinyRegistry, server: Unruly) -> None:
    tiny.hold("app", IMAGE, "1")
    tiny.hold_blob("app", DATA)
    # A list is requested with a page size first, and without one if that is rejected: two requests.
    server.fault("answer", "GET", "/tags/list.n=", status=413)


def resolve(harness: ClientHarness) -> object:
    return harness.resolve("1")


def read_small(harness: ClientHarness) -> object:
    return harness.small(BLOB)


def read_large(harness: ClientHarness) -> object:
    return harness.large(BLOB)


def list_tags(harness: ClientHarness) -> object:
    return harness.tags()


def write_small(harness: ClientHarness) -> None:
    harness.write(DATA + b"new")


def start_large(harness: ClientHarness) -> None:
    harness.put(described(LARGE), pieces(LARGE))


# The work, and the request that it sends: method and path.
Work = tuple[Callable[[ClientHarness], object], str, str]
REPLAYABLE: Mapping[str, Work] = {
    "asking for the API": (resolve, "GET", "/v2/$"),
    "resolving": (resolve, "HEAD", "/manifests/"),
    "reading a small blob": (read_small, "GET", "/blobs/"),
    "reading a large blob": (read_large, "GET", "/blobs/"),
    "listing": (list_tags, "GET", "/tags/list$"),
    "starting a small upload": (write_small, "POST", "/uploads/"),
    "finishing a small upload": (write_small, "PUT", "/uploads/"),
    "starting a large upload": (start_large, "POST", "/uploads/"),
}
every_work = pytest.mark.parametrize("work", REPLAYABLE.values(), ids=REPLAYABLE)


@every_work
@pytest.mark.parametrize("status", PASSING)
def test_transient_failures_are_retried_until_they_succeed(
    server: Unruly, harness: ClientHarness, work: Work, status: int
) -> None:
    do, method, path = work
    server.fault("answer", method, path, hits=[1, 2, 3, 4], status=status)
    do(harness)
    assert len(server.seen.of(method, path)) == 5
    assert len(harness.recorded.retries) == 4
    assert all(retry.what.startswith((server.host, f"asking {server.host}")) for retry in harness.recorded.retries)
    assert str(status) in harness.recorded.retries[0].reason


@every_work
@pytest.mark.parametrize("status", PASSING)
def test_transient_failures_that_persist_fail_after_five_attempts(
    server: Unruly, harness: ClientHarness, work: Work, status: int
) -> None:
    do, method, path = work
    server.fault("answer", method, path, status=status)
    with pytest.raises(RateLimited if status == 429 else RegistryFailure, match=str(status)):
        do(harness)
    assert len(server.seen.of(method, path)) == 5


@every_work
@pytest.mark.parametrize("status", FINAL)
def test_permanent_failures_are_not_retried(server: Unruly, harness: ClientHarness, work: Work, status: int) -> None:
    do, method, path = work
    server.fault("answer", method, path, status=status)
    try:
        do(harness)
    except MirrorsyncError as error:
        assert str(status) in error.message  # noqa: PT017 - some of these are answers and no failures
    assert len(server.seen.of(method, path)) <= (2 if status == 401 else 1)
    assert harness.time is not None
    assert harness.time.waits == []


@every_work
def test_a_connection_closed_without_an_answer_is_retried(server: Unruly, harness: ClientHarness, work: Work) -> None:
    do, method, path = work
    server.fault("hang_up", method, path, hits=[1, 2, 3])
    do(harness)
    assert len(server.seen.of(method, path)) >= 4


def test_waits_between_retries_grow_and_stay_within_bounds(server: Unruly, harness: ClientHarness, time: Time) -> None:
    server.fault("answer", "HEAD", "/manifests/", status=503)
    with pytest.raises(RegistryFailure):
        harness.resolve("1")
    assert len(time.waits) == 4
    assert all(wait <= bound for wait, bound in zip(time.waits, (0.5, 1, 2, 4), strict=True))


def seconds(harness: ClientHarness, wanted: int) -> str:
    return str(wanted)


def date(harness: ClientHarness, wanted: int) -> str:
    assert harness.time is not None
    return formatdate(harness.time.clock.now() + wanted, usegmt=True)


FORMS = {"seconds": seconds, "date": date}
Form = Callable[[ClientHarness, int], str]


@every_work
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("status", [429, 503])
def test_no_request_is_sent_before_retry_after_is_over(
    server: Unruly, harness: ClientHarness, work: Work, form: Form, status: int
) -> None:
    do, method, path = work
    headers = {"Retry-After": form(harness, 37)}
    server.fault("answer", method, path, hits=[1], status=status, headers=headers)
    do(harness)
    first, second = (asked.at for asked in server.seen.of(method, path)[:2])
    assert 37 <= second - first < 40


def test_a_retry_after_date_is_relative_to_the_servers_clock(
    server: Unruly, harness: ClientHarness, time: Time
) -> None:
    tomorrow = time.clock.now() + 86400
    headers = {"Date": formatdate(tomorrow, usegmt=True), "Retry-After": formatdate(tomorrow + 20, usegmt=True)}
    server.fault("answer", "HEAD", "/manifests/", hits=[1], status=429, headers=headers)
    assert harness.resolve("1") is not None
    assert 20 <= time.seconds < 22


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "Mon, 99 Foo 2026", "9" * 400, "\xb2", "0x10"])
def test_an_invalid_retry_after_is_ignored_and_a_huge_one_is_a_rate_limit(
    server: Unruly, harness: ClientHarness, value: str
) -> None:
    server.fault("answer", "HEAD", "/manifests/", hits=[1], status=429, headers={"Retry-After": value})
    if value.startswith("9"):
        with pytest.raises(RateLimited):
            harness.resolve("1")
    else:
        assert harness.resolve("1") is not None


def test_a_retry_after_date_in_the_past_is_ignored(server: Unruly, harness: ClientHarness, time: Time) -> None:
    past = formatdate(time.clock.now() - 3600, usegmt=True)
    server.fault("answer", "HEAD", "/manifests/", hits=[1], status=429, headers={"Retry-After": past})
    assert harness.resolve("1") is not None
    assert time.seconds < 2


def test_retry_after_delays_all_requests_to_the_host(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    for number in range(40):
        tiny.hold("app", IMAGE, f"v{number}")
    server.fault("answer", "HEAD", "/manifests/", hits=[5], status=429, headers={"Retry-After": "50"})

    async def many(repository: WritableRepository) -> None:
        # One at a time first, so that the pause is known before the rest begins.
        for number in range(5):
            waiting = asyncio.create_task(repository.resolve(Tag(f"v{number}")))
            await asyncio.sleep(0)
            await waiting
        await asyncio.gather(*(repository.resolve(Tag(f"v{number}")) for number in range(40)))

    harness.within(many)
    asked = server.seen.of("HEAD", "/manifests/")
    answered = asked[4].at
    assert all(later.at >= answered + 50 for later in asked[5:])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_retry_after_over_the_limit_stops_requests_to_the_host(
    server: Unruly, harness: ClientHarness, time: Time, form: Form
) -> None:
    server.fault("answer", "HEAD", "/manifests/", status=429, headers={"Retry-After": form(harness, 3600)})

    async def several(repository: WritableRepository) -> None:
        for _ in range(3):
            with pytest.raises(RateLimited, match="retry after 3600 seconds") as caught:
                await repository.resolve(Tag("1"))
            assert caught.value.where == f"{server.host}/app:1"
        with pytest.raises(RateLimited):
            await asyncio.to_thread(repository.put, BLOB, pieces(DATA))
        server.heal()
        time.pass_by(3601)
        assert await repository.resolve(Tag("1")) is not None

    harness.within(several)
    assert len(server.seen.of("HEAD", "/manifests/")) == 2
    assert not server.seen.of("POST")
    assert time.waits == []


def test_a_rate_limited_host_does_not_affect_another(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness, time: Time
) -> None:
    with Unruly(tiny) as other:
        server.fault("answer", "HEAD", "/manifests/", status=429, headers={"Retry-After": "3600"})
        with pytest.raises(RateLimited):
            harness.resolve("1")
        assert ClientHarness(other.host, time=time).resolve("1") is not None


def test_an_unreachable_host_is_not_retried_for_each_request(time: Time) -> None:
    with Unruly(TinyRegistry()) as gone:
        host = gone.host
    harness = ClientHarness(host, time=time)

    async def many(store: Store) -> list[object]:
        asked = [store.repository("app").resolve(Tag(f"v{number}")) for number in range(200)]
        return await asyncio.gather(*asked, return_exceptions=True)

    failures = harness.run(many)
    assert all(isinstance(failure, Unreachable) for failure in failures)
    assert {str(failure) for failure in failures} >= {f"{host}/app:v7: Connection refused"}
    assert len(harness.recorded.retries) == 1


@pytest.mark.parametrize("engine", ["requests", "streams"])
def test_a_refused_connection_is_retried_once_after_a_pause(time: Time, engine: str) -> None:
    with Unruly(TinyRegistry()) as gone:
        host = gone.host
    harness = ClientHarness(host, time=time)
    reader: Callable[[Descriptor], bytes] = harness.small if engine == "requests" else harness.large
    with pytest.raises(ConnectionRefused) as caught:
        reader(BLOB)
    assert not caught.value.transient, "the blob would be tried three times"
    assert len(time.waits) == len(harness.recorded.retries) == 1
    assert 2 <= time.waits[0] < 4


@pytest.mark.parametrize("engine", ["requests", "streams"])
def test_an_unknown_host_name_is_not_retried(time: Time, engine: str) -> None:
    harness = ClientHarness("registry.invalid", time=time)
    reader: Callable[[Descriptor], bytes] = harness.small if engine == "requests" else harness.large
    with pytest.raises(HostUnknown) as caught:
        reader(BLOB)
    assert not caught.value.transient
    assert time.waits == []
    assert harness.recorded.retries == []


def test_an_unusable_host_is_not_asked_again_in_the_run(time: Time) -> None:
    with Unruly(TinyRegistry()) as gone:
        host = gone.host
    for name, kind in ((host, ConnectionRefused), ("registry.invalid", HostUnknown)):
        harness = ClientHarness(name, time=time)

        async def later(store: Store, kind: type[Unreachable] = kind) -> None:
            messages = set()
            for number in range(5):
                with pytest.raises(kind) as caught:
                    await store.repository(f"app{number}").resolve(Tag("1"))
                messages.add(caught.value.message)
                time.pass_by(3600)
            assert len(messages) == 1

        harness.run(later)
        assert len(harness.recorded.retries) == (kind is ConnectionRefused)


def test_a_registry_that_is_being_restarted_is_retried_like_any_transient_failure(time: Time) -> None:
    registry = TinyRegistry()
    registry.hold("app", IMAGE, "1")
    with ExitStack() as stack:
        running = stack.enter_context(Unruly(registry))
        running.fault("headers", change={"Connection": "close"})  # no kept connection of the registry outlives it

        async def restarted(repository: WritableRepository) -> None:
            assert await repository.resolve(Tag("1")) is not None
            stack.close()
            with pytest.raises(Unreachable, match="refused") as caught:
                await repository.resolve(Tag("1"))
            assert caught.value.transient

        ClientHarness(running.host, time=time).within(restarted)
    assert len(time.waits) == 4


def test_a_host_that_stops_answering_is_not_asked_for_a_while(
    server: Unruly, harness: ClientHarness, time: Time
) -> None:
    server.fault("hang_up", "HEAD", "/manifests/")

    async def many(repository: WritableRepository) -> None:
        for _ in range(5):
            with pytest.raises(Unreachable):
                await repository.resolve(Tag("1"))
        asked = len(server.seen.of("HEAD"))
        server.heal()
        time.pass_by(60)
        assert await repository.resolve(Tag("1")) is not None
        assert len(server.seen.of("HEAD")) == asked + 1

    harness.within(many)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("registry.invalid", "ame"),  # "Name or service not known", or another message of the resolver
    ],
)
@pytest.mark.parametrize("engine", ["requests", "streams"])
def test_the_reason_for_an_unreachable_host_is_in_plain_words(host: str, message: str, engine: str) -> None:
    harness = ClientHarness(host, PLAIN)
    reader: Callable[[Descriptor], bytes] = harness.small if engine == "requests" else harness.large
    with pytest.raises(Unreachable) as caught:
        reader(BLOB)
    assert message in caught.value.message
    assert "(" not in caught.value.message
    assert caught.value.remedy
    assert caught.value.where == f"{host}/app@{BLOB.digest}"


def test_retries_share_a_time_budget_for_each_host(time: Time) -> None:
    """A host that takes minutes for each failure does not delay a run for days."""

    def slow(asked: Asked) -> Reply:
        time.pass_by(400)
        raise HangUp

    with Unruly(slow) as server:
        harness = ClientHarness(server.host, time=time)
        with pytest.raises(Unreachable, match="no more retries"):
            harness.resolve("1")
        assert len(server.seen.requests) == 3
