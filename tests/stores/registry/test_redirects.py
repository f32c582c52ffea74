"""Redirects: followed by our own code, and never with credentials to another origin."""

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
READERS: Mapping[str, Read] = {"requests": ClientHarness.small, "streams": ClientHarness.large}
# Every character that a query may have: the signature covers it.
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
    """The storage of blobs: another port of the same address is another origin."""
    with Unruly(lambda asked: Reply(200, {}, DATA)) as running:
        yield running


def redirect(
    server: Unruly, location: str, *, method: str = "GET", status: int = 307, hits: list[int] | None = None
) -> None:
    server.fault("answer", method, "/blobs/", hits=hits, status=status, headers={"Location": location})


@read_both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_blob_is_fetched_from_a_storage_without_credentials(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read, status: int
) -> None:
    redirect(server, f"{storage.url}/blob", status=status)
    assert read(harness, BLOB) == DATA
    assert server.seen.of("GET", "/blobs/")[0].authorization == basic()
    assert [asked.authorization for asked in storage.seen.requests] == [""]


@read_both
def test_a_presigned_url_is_sent_unchanged(server: Unruly, storage: Unruly, harness: ClientHarness, read: Read) -> None:
    redirect(server, f"{storage.url}{PRESIGNED}")
    assert read(harness, BLOB) == DATA
    assert [asked.target for asked in storage.seen.requests] == [PRESIGNED]


@read_both
def test_a_redirect_to_the_same_origin_keeps_the_credentials(
    server: Unruly, harness: ClientHarness, read: Read
) -> None:
    redirect(server, f"/v2/app/blobs/{BLOB.digest}?again=1", hits=[1])
    assert read(harness, BLOB) == DATA
    assert server.seen.of("GET", "again=1")[0].authorization == basic()


@read_both
def test_a_redirect_back_to_the_registry_sends_credentials_to_the_registry_only(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read
) -> None:
    redirect(server, f"{storage.url}/away", hits=[1])
    storage.fault("answer", status=302, headers={"Location": f"{server.url}/v2/app/blobs/{BLOB.digest}?back=1"})
    assert read(harness, BLOB) == DATA
    assert [asked.authorization for asked in storage.seen.requests] == [""]


@read_both
def test_redirects_of_a_head_are_followed(server: Unruly, storage: Unruly, harness: ClientHarness, read: Read) -> None:
    redirect(server, f"{storage.url}/blob", method="HEAD")
    assert harness.within(lambda repository: repository.has(BLOB)) is True
    assert [(asked.method, asked.authorization) for asked in storage.seen.requests] == [("HEAD", "")]


def test_a_blob_exists_if_its_storage_rejects_head(server: Unruly, storage: Unruly, harness: ClientHarness) -> None:
    redirect(server, f"{storage.url}/blob", method="HEAD")
    storage.fault("answer", "HEAD", status=403)
    assert harness.within(lambda repository: repository.has(BLOB)) is True


EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


@read_both
@pytest.mark.parametrize("status", [400, 403])
def test_an_expired_presigned_url_is_requested_again(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read, status: int
) -> None:
    """As often as a transient failure: a line that is slow once may be slow twice."""
    redirect(server, f"{storage.url}/old", hits=[1, 2, 3])
    redirect(server, f"{storage.url}/new", hits=[4])
    storage.fault("answer", "GET", "/old", status=status, body=EXPIRED)
    assert read(harness, BLOB) == DATA
    assert [asked.target for asked in storage.seen.requests] == ["/old", "/old", "/old", "/new"]


@read_both
def test_requests_end_if_the_storage_rejects_every_url(
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
def test_endless_redirects_are_aborted(server: Unruly, harness: ClientHarness, read: Read) -> None:
    redirect(server, f"/v2/app/blobs/{BLOB.digest}")
    with pytest.raises(RegistryFailure, match="redirects more than 5 times"):
        read(harness, BLOB)
    assert len(server.seen.of("GET", "/blobs/")) == 6


def test_a_read_that_the_storage_interrupts_is_resumed_from_the_registry(
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
def test_the_error_names_an_unreachable_storage(
    server: Unruly, storage: Unruly, harness: ClientHarness, read: Read
) -> None:
    redirect(server, "http://127.0.0.1:1/blob?X-Amz-Signature=canary")
    with pytest.raises(Unreachable) as caught:
        read(harness, BLOB)
    assert "127.0.0.1:1" in str(caught.value)
    assert "canary" not in f"{caught.value} {caught.value!r}"


BAD_LOCATIONS = {
    "another scheme": "ftp://127.0.0.1/blob",
    "a file": "file:///etc/passwd",
    "no host": "http:///blob",
    "a truncated address": "http://[::1/blob",
    "a port too high": "http://127.0.0.1:99999/blob",
    "a port that is not a number": "http://127.0.0.1:port/blob",
    "a control character": "http://127.0.0.1:1/\x01blob",
    "a control character in the query": "http://127.0.0.1:1/blob?\x7f",
    "an invalid host": "http://exa mple/blob",
    "an invalid label": "http://xn--/blob",
    "an empty label": "http://a..b/blob",
    "a label too long": f"http://{'a' * 70}.example/blob",
    "not ASCII": "http://127.0.0.1:1/bl\xf6b",
    "a host that is not ASCII": "http://bl\xf6b\u2028.example/blob",
    "very long": f"http://127.0.0.1:1/{'a' * 60_000}",
    "credentials": "http://user:canary@127.0.0.1:1/blob",
    "a space": "http://127.0.0.1:1/a blob HTTP/1.1",
    "only a colon": ":",
    "a backslash": "http://127.0.0.1:1\\@elsewhere/blob",
    "an invalid escape": "http://127.0.0.1:1/%zz%",
}


@read_both
@pytest.mark.parametrize("location", BAD_LOCATIONS.values(), ids=BAD_LOCATIONS)
def test_an_invalid_location_is_reported(server: Unruly, harness: ClientHarness, read: Read, location: str) -> None:
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
def test_a_redirect_without_a_location_fails(server: Unruly, harness: ClientHarness, read: Read) -> None:
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
def test_an_external_registry_cannot_redirect_to_internal_addresses(
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
def test_a_subdomain_is_another_origin(server: Unruly, storage: Unruly, time: Time, read: Read) -> None:
    redirect(server, "http://cdn.registry.example/blob")
    routes = {"registry.example": server.host, "cdn.registry.example": storage.host}
    with ForwardProxy(routes) as proxy:
        harness = ClientHarness("registry.example", LOGIN, {"http_proxy": proxy.url}, time)
        assert read(harness, BLOB) == DATA
    assert [asked.authorization for asked in storage.seen.requests] == [""]
