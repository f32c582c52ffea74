"""TLS that ends at a proxy: the registry behind it says http:// of its own host (Harbor, Gitea, distribution)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrorsync.errors import RegistryFailure
from mirrorsync.hosts import HostSettings
from mirrorsync.secret import Secret
from tests.parts.auth_service import PASSWORD, USER, AuthService, with_tokens
from tests.parts.certificates import Authority
from tests.parts.images import image, layer, noise
from tests.parts.tiny_registry import App, Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time, described, pieces

LARGE = noise("through the proxy", 1_500_000)
IMAGE = image([layer({"a": b"1"})])


def without_tls(app: App, url: str) -> App:
    """Return the answers of an app that does not know of the TLS in front of it. url: the one that it assumes."""

    def answer(asked: Asked) -> Reply:
        reply = app(asked)
        if reply.headers.get("Location", "").startswith("/"):
            reply.headers["Location"] = url + reply.headers["Location"]
        return reply

    return answer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tiny() -> TinyRegistry:
    return TinyRegistry()


@pytest.fixture
def server(authority: Authority, tiny: TinyRegistry) -> Iterator[Unruly]:
    with Unruly(tiny, tls=authority.issue("proxy").server()) as running:
        yield running


@pytest.fixture
def harness(server: Unruly, authority: Authority, time: Time) -> ClientHarness:
    return ClientHarness(server.host, HostSettings(USER, Secret(PASSWORD), ca_file=str(authority.path)), time=time)


@pytest.mark.parametrize("believed", ["http://{host}", "http://127.0.0.1", "http://127.0.0.1:80"])
def test_an_upload_continues_over_tls_if_the_location_is_http(
    server: Unruly, tiny: TinyRegistry, harness: ClientHarness, believed: str
) -> None:
    server.app = without_tls(tiny, believed.replace("{host}", server.host))
    harness.put(described(LARGE), pieces(LARGE))
    harness.write(b"small")
    assert set(tiny.blobs.values()) == {LARGE, b"small"}


def test_an_http_redirect_and_realm_of_the_same_host_are_requested_over_tls(
    server: Unruly, tiny: TinyRegistry, harness: ClientHarness
) -> None:
    auth_service = AuthService(realm=f"http://{server.host}/service/token")
    tiny.guard = auth_service.guard
    tiny.hold("app", IMAGE, "1")
    server.app = with_tokens(tiny, auth_service, "/service/token")
    server.fault(
        "answer", "HEAD", "/manifests/1$", status=301, headers={"Location": f"http://{server.host}/v2/app/manifests/1?x=1"}
    )  # fmt: skip
    assert harness.resolve("1") is not None
    assert [question.grant for question in auth_service.token_requests] == ["password"]


def test_the_next_page_is_requested_over_tls_if_the_link_is_http(server: Unruly, harness: ClientHarness) -> None:
    def pages(asked: Asked) -> Reply:
        if "last" in asked.query:
            return Reply(200, {}, b'{"tags": ["2"]}')
        link = f'<http://{server.host}/v2/app/tags/list?last=1>; rel="next"'
        return Reply(200, {"Link": link}, b'{"tags": ["1"]}')

    server.app = pages
    assert harness.tags() == ["1", "2"]


def test_an_http_url_of_another_host_is_rejected(server: Unruly, harness: ClientHarness) -> None:
    server.fault(
        "answer", "HEAD", status=307, headers={"Location": f"http://localhost:{server.port}/v2/app/manifests/1"}
    )
    with pytest.raises(RegistryFailure, match="from https to http"):
        harness.resolve("1")
