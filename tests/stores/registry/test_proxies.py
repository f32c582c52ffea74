"""Proxies: both engines use them, and their logins are sent only to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from mirrorsync.errors import MirrorsyncError, Unreachable, UsageError
from mirrorsync.hosts import HostSettings
from mirrorsync.stores.registry.http.proxies import bypasses
from tests.parts.certificates import Authority
from tests.parts.forward_proxy import ForwardProxy
from tests.parts.images import noise
from tests.parts.socks_proxy import SocksProxy
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time, described, pieces

DATA = noise("by proxy", 1_100_000)
BLOB = described(DATA)
LOGIN = "robot:canary p@ss/word"
LOGIN_IN_URL = "robot:canary%20p%40ss%2Fword"
NAME = "registry.example"

Work = Callable[[ClientHarness], object]


def put(harness: ClientHarness) -> None:
    harness.put(BLOB, pieces(DATA))


WORKS: Mapping[str, Work] = {
    "requests": lambda harness: harness.small(BLOB),
    "reading": lambda harness: harness.large(BLOB),
    "writing": put,
}
every_work = pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)


@pytest.fixture
def tiny() -> TinyRegistry:
    registry = TinyRegistry()
    registry.hold_blob("app", DATA)
    return registry


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[Unruly]:
    """The registry with TLS, under a name that only the proxy knows."""
    registry = TinyRegistry()
    registry.hold_blob("app", DATA)
    with Unruly(registry, tls=authority.issue("registry", f"DNS:{NAME}").server()) as running:
        yield running


@every_work
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_plain_http_goes_through_the_proxy(server: Unruly, time: Time, work: Work, variable: str) -> None:
    with ForwardProxy({NAME: server.host}) as proxy:
        work(ClientHarness(NAME, PLAIN, {variable: proxy.url}, time))
        assert all(f" http://{NAME}/v2/" in line for line in proxy.asked)
        assert server.seen.requests


@every_work
@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_tls_goes_through_a_tunnel(authority: Authority, secure: Unruly, work: Work, variable: str) -> None:
    with ForwardProxy({f"{NAME}:443": secure.host}) as proxy:
        settings = HostSettings(ca_file=str(authority.path))
        work(ClientHarness(NAME, settings, {variable: proxy.url}))
        assert set(proxy.asked) == {f"CONNECT {NAME}:443"}
        assert all("authorization" not in headers for headers in proxy.headers)


@every_work
def test_certificates_are_verified_through_a_tunnel(secure: Unruly, work: Work) -> None:
    with (
        ForwardProxy({f"{NAME}:443": secure.host}) as proxy,
        pytest.raises(MirrorsyncError, match="certificate is not trusted"),
    ):
        work(ClientHarness(NAME, HostSettings(), {"https_proxy": proxy.url}))


@every_work
def test_a_proxy_without_a_scheme_is_a_plain_http_proxy(server: Unruly, time: Time, work: Work) -> None:
    with ForwardProxy({NAME: server.host}) as proxy:
        work(ClientHarness(NAME, PLAIN, {"http_proxy": proxy.host}, time))
        assert proxy.asked


@every_work
@pytest.mark.parametrize(
    "no_proxy", ["127.0.0.1", "*", "other.example,127.0.0.1", " 127.0.0.1 , x", "127.0.0.1:{port}"]
)
def test_hosts_in_no_proxy_are_connected_to_directly(server: Unruly, time: Time, work: Work, no_proxy: str) -> None:
    variables = {"http_proxy": "http://127.0.0.1:1", "no_proxy": no_proxy.replace("{port}", str(server.port))}
    work(ClientHarness(server.host, PLAIN, variables, time))
    assert server.seen.requests


def test_a_domain_in_no_proxy_covers_its_hosts_and_no_others(server: Unruly, time: Time) -> None:
    with ForwardProxy({NAME: server.host, "notexample": server.host}) as proxy:
        variables = {"http_proxy": proxy.url, "NO_PROXY": "ample,corp.example"}
        assert ClientHarness(NAME, PLAIN, variables, time).small(BLOB) == DATA
        assert proxy.asked


BYPASSED = {
    "10.0.0.0/8": ("10.1.2.3", "10.1.2.3:5000"),
    "10.1.2.3": ("10.1.2.3",),
    "10.1.2.3:5000": ("10.1.2.3:5000",),
    "fd00::/8": ("[fd00::5]", "[fd00::5]:5000"),
    "[fd00::5]:5000": ("[fd00::5]:5000",),
    "*.corp.example": ("harbor.corp.example", "a.b.corp.example:5000"),
    ".corp.example": ("harbor.corp.example",),
    "corp.example": ("corp.example", "harbor.corp.example", "HARBOR.Corp.Example"),
    "harbor.corp.example:5000": ("harbor.corp.example:5000",),
    "a,b, *": ("anything.example",),
    "a corp.example": ("corp.example",),
}
PROXIED = {
    "10.0.0.0/8": ("11.1.2.3", "host10.example"),
    "10.1.2.3:5000": ("10.1.2.3:5001", "10.1.2.3"),
    "fd00::/8": ("[fe00::5]",),
    "*.corp.example": ("notcorp.example", "example"),
    "corp.example": ("anothercorp.example",),
    "corp.example:5000": ("corp.example:443",),
    "10.0.0.0/99": ("10.0.0.1",),
    "": ("anything.example",),
}


@pytest.mark.parametrize(("direct", "host"), [(one, host) for one, hosts in BYPASSED.items() for host in hosts])
def test_no_proxy_is_read_as_go_reads_it(direct: str, host: str) -> None:
    assert bypasses(host, direct)


@pytest.mark.parametrize(("direct", "host"), [(one, host) for one, hosts in PROXIED.items() for host in hosts])
def test_no_proxy_does_not_cover_other_hosts(direct: str, host: str) -> None:
    assert not bypasses(host, direct)


@every_work
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_a_socks_proxy_resolves_names_and_carries_all_requests(
    server: Unruly, time: Time, work: Work, variable: str
) -> None:
    with SocksProxy({f"{NAME}:80": server.host}) as proxy:
        work(ClientHarness(NAME, PLAIN, {variable: f"socks5h://{proxy.host}"}, time))
        assert set(proxy.asked) == {f"{NAME}:80"}


@every_work
def test_an_https_proxy_is_connected_to_over_tls(
    server: Unruly, time: Time, authority: Authority, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    with ForwardProxy({NAME: server.host}, tls=authority.issue("proxy").server()) as proxy:
        work(ClientHarness(NAME, PLAIN, {"http_proxy": f"https://{proxy.host}"}, time))
        assert proxy.asked


def test_an_empty_variable_means_no_proxy(server: Unruly, time: Time) -> None:
    variables = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": ""}
    assert ClientHarness(server.host, PLAIN, variables, time).small(BLOB) == DATA


def test_lower_case_variables_take_precedence(server: Unruly, time: Time) -> None:
    with ForwardProxy({NAME: server.host}) as proxy:
        variables = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": proxy.url}
        assert ClientHarness(NAME, PLAIN, variables, time).small(BLOB) == DATA


def test_http_proxy_is_not_read_in_a_cgi_environment(server: Unruly, time: Time) -> None:
    variables = {"HTTP_PROXY": "http://127.0.0.1:1", "REQUEST_METHOD": "GET"}
    assert ClientHarness(server.host, PLAIN, variables, time).small(BLOB) == DATA


@every_work
def test_a_proxy_gets_the_login_of_its_url(server: Unruly, time: Time, work: Work) -> None:
    with ForwardProxy({NAME: server.host}, LOGIN) as proxy:
        work(ClientHarness(NAME, PLAIN, {"http_proxy": f"http://{LOGIN_IN_URL}@{proxy.host}"}, time))
    assert all("Proxy-Authorization" not in asked.headers for asked in server.seen.requests)


@every_work
def test_a_tunnel_gets_the_login_of_its_url_and_the_registry_does_not(
    authority: Authority, secure: Unruly, work: Work
) -> None:
    before = len(secure.seen.requests)
    with ForwardProxy({f"{NAME}:443": secure.host}, LOGIN) as proxy:
        settings = HostSettings(ca_file=str(authority.path))
        work(ClientHarness(NAME, settings, {"https_proxy": f"http://{LOGIN_IN_URL}@{proxy.host}"}))
    assert all("Proxy-Authorization" not in asked.headers for asked in secure.seen.requests[before:])


@every_work
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_login_that_the_proxy_rejects_is_reported_without_showing_it(
    authority: Authority, time: Time, work: Work, scheme: str
) -> None:
    settings = PLAIN if scheme == "http" else HostSettings(ca_file=str(authority.path))
    with ForwardProxy(login="somebody:else") as proxy:
        harness = ClientHarness(NAME, settings, {f"{scheme}_proxy": f"http://{LOGIN_IN_URL}@{proxy.host}"}, time)
        with pytest.raises(MirrorsyncError) as caught:
            work(harness)
        error = caught.value
        shown = f"{error} {error!r} {error.remedy} {harness.recorded.events}"
        assert "canary" not in shown
        assert "proxy" in error.message
        assert "407" in error.message or "login" in error.message
        assert "proxy" in error.remedy.lower()
        assert len(proxy.asked) <= 2, "a login that was refused is not tried again and again"


@every_work
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unreachable_proxy_is_reported_as_the_reason(time: Time, work: Work, scheme: str) -> None:
    settings = PLAIN if scheme == "http" else HostSettings()
    harness = ClientHarness(NAME, settings, {f"{scheme}_proxy": f"http://{LOGIN_IN_URL}@127.0.0.1:1"}, time)
    with pytest.raises(Unreachable) as caught:
        work(harness)
    assert "proxy" in caught.value.message
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.remedy} {harness.recorded.events}"


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_this_machine_is_never_reached_through_a_proxy(host: str) -> None:
    assert bypasses(host, "")
    assert not bypasses("localhost.example", "")


@every_work
def test_a_proxy_that_answers_itself_is_named(time: Time, work: Work) -> None:
    with ForwardProxy({NAME: "127.0.0.1:1"}) as proxy, pytest.raises(MirrorsyncError) as caught:
        work(ClientHarness(NAME, PLAIN, {"http_proxy": proxy.url}, time))
    assert f"the registry or the proxy {proxy.host} answered 502" in caught.value.message


def test_a_proxy_is_not_named_for_an_answer_that_only_a_registry_gives(server: Unruly, time: Time) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "no"}]}'
    server.fault("answer", pattern="/manifests/", status=403, body=body)
    with ForwardProxy({NAME: server.host}) as proxy, pytest.raises(MirrorsyncError, match="the registry answered 403"):
        ClientHarness(NAME, PLAIN, {"http_proxy": proxy.url}, time).resolve("1")


@every_work
@pytest.mark.parametrize(
    "proxy", ["gopher://127.0.0.1:1", "ftp://127.0.0.1:1", "http://", "http://:99999", "http://a b"]
)
def test_an_unsupported_proxy_scheme_is_rejected(time: Time, work: Work, proxy: str) -> None:
    harness = ClientHarness(NAME, PLAIN, {"ALL_PROXY": proxy}, time)
    with pytest.raises(UsageError) as caught:
        work(harness)
    assert "proxy" in caught.value.message
    assert caught.value.remedy
    assert time.waits == []
