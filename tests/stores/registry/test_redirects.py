"""Redirects: followed by hand, and never with credentials to another place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from mirrorsync.errors import MirrorsyncError, RegistryFailure, RegistryUnavailable, Unreachable
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.secret import Secret
from mirrorsync.stores.registry.http.retry import ATTEMPTS
from tests.parts.auth_service import PASSWORD, USER, basic, basic_guard
from tests.parts.forward_proxy import ForwardProxy
from tests.parts.images import noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time, described

DATA = noise("redirected", 3000)
BLOB = described(DATA)
Read = Callable[[ClientHarness, Descriptor], bytes]
READERS: Mapping[str, Read] = {"questions": ClientHarness.small, "bytes": ClientHarness.large}
# Every character that may stand in a query: a signature is over it.
PRESIGNED = "/blob?X-Amz-Signature=abc%2Fdef%2Bghi&Expires=1700&a=b+c&d=%20~!$'()*,;:@/?-._%3D%C3%A9&empty=&bare"
LOGIN = HostSettings(plain_http=True, username=USER, password=Secret(PASSWORD))

read_both = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@pytest.fixture
def tiny() -> TinyRegistry:
    registry = TinyRegistry(guard=basic_guard('Basic realm="here"'))
    registry.hold_blob("app", DATA)
    return registry


@pytest.fixture
def harness(server: Unruly, time: Time) -> ClientHarness:
    return ClientHarness(server.host, LOGIN, time=time)


@pytest.fixture
def storage() -> Iterator[Unruly]:
    """What blobs are kept in: another port of the same address is another place."""
    with Unruly(lambda asked: Reply(200, {}, DATA)) as running:
        yield running


def redirect(
    server: Unruly, location: str, *, method: str = "GET", status: int = 307, hits: list[int] | None = None
) -> None:
    server.fault("answer", method, "/blobs/", hits=hits, status=status, headers={"Location": location})


@read_both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_blob_is_fetched_elsewhere_without_credentials(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read, status: int
) -> None:
    redirect(server, f"{storage.url}/blob", status=status)
    assert read(harness, BLOB) == DATA
    assert server.seen.of("GET", "/blobs/")[0].authorization == basic()
    assert [asked.authorization for asked in storage.seen.requests] == [""]


@read_both
def test_a_presigned_url_is_sent_as_it_was_written(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read
) -> None:
    redirect(server, f"{storage.url}{PRESIGNED}")
    assert read(harness, BLOB) == DATA
    assert [asked.target for asked in storage.seen.requests] == [PRESIGNED]


@read_both
def test_a_redirect_at_home_keeps_the_credentials(server: Unruly, harness: ClientHarness, read: Read) -> None:
    redirect(server, f"/v2/app/blobs/{BLOB.digest}?again=1", hits=[1])
    assert read(harness, BLOB) == DATA
    assert server.seen.of("GET", "again=1")[0].authorization == basic()


@read_both
def test_who_comes_back_from_elsewhere_shows_credentials_at_home_only(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read
) -> None:
    redirect(server, f"{storage.url}/away", hits=[1])
    storage.fault("answer", status=302, headers={"Location": f"{server.url}/v2/app/blobs/{BLOB.digest}?back=1"})
    assert read(harness, BLOB) == DATA
    assert [asked.authorization for asked in storage.seen.requests] == [""]


@read_both
def test_a_head_is_redirected_too(server: Unruly, storage: Unruly, harness: ClientHarness, read: Read) -> None:
    redirect(server, f"{storage.url}/blob", method="HEAD")
    assert harness.within(lambda repository: repository.has(BLOB)) is True
    assert [(asked.method, asked.authorization) for asked in storage.seen.requests] == [("HEAD", "")]


def test_a_storage_that_lets_nobody_ask_for_a_head_has_the_blob(
    server: Unruly, storage: Unruly, harness: ClientHarness
) -> None:
    redirect(server, f"{storage.url}/blob", method="HEAD")
    storage.fault("answer", "HEAD", status=403)
    assert harness.within(lambda repository: repository.has(BLOB)) is True


EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


@read_both
@pytest.mark.parametrize("status", [400, 403])
def test_a_presigned_url_that_ran_out_before_it_was_used_is_asked_for_again(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read, status: int
) -> None:
    """As often as a fault that passes: a line that is slow once may be slow twice."""
    redirect(server, f"{storage.url}/old", hits=[1, 2, 3])
    redirect(server, f"{storage.url}/new", hits=[4])
    storage.fault("answer", "GET", "/old", status=status, body=EXPIRED)
    assert read(harness, BLOB) == DATA
    assert [asked.target for asked in storage.seen.requests] == ["/old", "/old", "/old", "/new"]


@read_both
def test_a_storage_that_refuses_is_not_asked_for_ever(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read
) -> None:
    redirect(server, f"{storage.url}/blob?X-Amz-Signature=canary")
    storage.fault("answer", status=403)
    with pytest.raises(RegistryUnavailable) as caught:
        read(harness, BLOB)
    assert len(storage.seen.requests) == ATTEMPTS
    assert "clocks" in caught.value.remedy
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.remedy}"


@read_both
def test_redirects_that_do_not_end_are_left_after_a_few(server: Unruly, harness: ClientHarness, read: Read) -> None:
    redirect(server, f"/v2/app/blobs/{BLOB.digest}")
    with pytest.raises(RegistryFailure, match="redirects more than 5 times"):
        read(harness, BLOB)
    assert len(server.seen.of("GET", "/blobs/")) == 6


def test_a_read_that_breaks_off_elsewhere_goes_on_from_the_registry(
    server: Unruly, storage: Unruly, harness: ClientHarness
) -> None:
    def with_range(asked: Asked) -> Reply:
        return TinyRegistry.blob_reply(DATA, asked)

    storage.app = with_range
    redirect(server, f"{storage.url}/first", hits=[1])
    redirect(server, f"{storage.url}/second", hits=[2])
    storage.fault("cut", "GET", "/first", at=1000)
    assert harness.large(BLOB) == DATA
    assert [(asked.target, asked.headers["Range"]) for asked in storage.seen.requests] == [
        ("/first", None),
        ("/second", "bytes=1000-"),
    ]
    assert storage.seen.served == len(DATA)


@read_both
def test_a_storage_that_is_down_is_named(server: Unruly, storage: Unruly, harness: ClientHarness, read: Read) -> None:
    redirect(server, "http://127.0.0.1:1/blob?X-Amz-Signature=canary")
    with pytest.raises(Unreachable) as caught:
        read(harness, BLOB)
    assert "127.0.0.1:1" in str(caught.value)
    assert "canary" not in f"{caught.value} {caught.value!r}"


BAD_LOCATIONS = {
    "another scheme": "ftp://127.0.0.1/blob",
    "a file": "file:///etc/passwd",
    "no host": "http:///blob",
    "half an address": "http://[::1/blob",
    "a port too high": "http://127.0.0.1:99999/blob",
    "a port of letters": "http://127.0.0.1:port/blob",
    "a control character": "http://127.0.0.1:1/\x01blob",
    "a control character in the query": "http://127.0.0.1:1/blob?\x7f",
    "a bad host": "http://exa mple/blob",
    "a bad label": "http://xn--/blob",
    "an empty label": "http://a..b/blob",
    "a label too long": f"http://{'a' * 70}.example/blob",
    "beyond ascii": "http://127.0.0.1:1/bl\xf6b",
    "a host beyond ascii": "http://bl\xf6b\u2028.example/blob",
    "very long": f"http://127.0.0.1:1/{'a' * 60_000}",
    "credentials": "http://user:canary@127.0.0.1:1/blob",
    "a space": "http://127.0.0.1:1/a blob HTTP/1.1",
    "only a colon": ":",
    "a backslash": "http://127.0.0.1:1\\@elsewhere/blob",
    "a bad escape": "http://127.0.0.1:1/%zz%",
}


@read_both
@pytest.mark.parametrize("location", BAD_LOCATIONS.values(), ids=BAD_LOCATIONS)
def test_a_location_that_leads_nowhere_is_one_clear_error(
    server: Unruly, harness: ClientHarness, read: Read, location: str
) -> None:
    server.fault(
        "answer", "GET", "/blobs/", status=307,
        headers={"Location": location.encode("utf-8").decode("latin-1")},
    )  # fmt: skip
    with pytest.raises(MirrorsyncError) as caught:
        read(harness, BLOB)
    assert caught.value.where == f"{server.host}/app@{BLOB.digest}"
    assert caught.value.message.isprintable()
    assert "canary" not in str(caught.value)


@read_both
def test_a_redirect_without_a_location_is_a_failure(server: Unruly, harness: ClientHarness, read: Read) -> None:
    server.fault("answer", "GET", "/blobs/", status=307)
    with pytest.raises(RegistryFailure, match="307"):
        read(harness, BLOB)


INWARD = (
    "127.0.0.1", "localhost", "sub.localhost", "[::1]", "169.254.169.254", "0.0.0.0", "127.1", "2130706433",
    "0x7f000001", "[::ffff:127.0.0.1]", "[fe80::1]", "[fd00:ec2::254]", "[::]", "localhost.", "LOCALHOST",
    "ip6-loopback", "metadata.google.internal", "100.100.100.200", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "[::127.0.0.1]", "127.0.0.1.",
)  # fmt: skip


@read_both
@pytest.mark.parametrize("inside", INWARD)
def test_a_registry_outside_leads_nobody_inside(
    server: Unruly, storage: Unruly, time: Time, read: Read, inside: str
) -> None:
    redirect(server, f"http://{inside}:{storage.port}/blob")
    with ForwardProxy({"registry.example": server.host}) as proxy:
        harness = ClientHarness("registry.example", LOGIN, {"http_proxy": proxy.url}, time)
        with pytest.raises(RegistryFailure, match="inside this machine"):
            read(harness, BLOB)
        assert not storage.seen.requests
        assert all("registry.example" in line for line in proxy.asked)


@read_both
def test_a_subdomain_is_another_place(server: Unruly, storage: Unruly, time: Time, read: Read) -> None:
    redirect(server, "http://cdn.registry.example/blob")
    routes = {"registry.example": server.host, "cdn.registry.example": storage.host}
    with ForwardProxy(routes) as proxy:
        harness = ClientHarness("registry.example", LOGIN, {"http_proxy": proxy.url}, time)
        assert read(harness, BLOB) == DATA
    assert [asked.authorization for asked in storage.seen.requests] == [""]
