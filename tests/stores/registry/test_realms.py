"""Which token services get a password: an origin is a scheme, a host and a port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirrorsync.hosts import HostSettings
from mirrorsync.secret import Secret
from mirrorsync.stores.registry.http.origins import leads_inward, resolved
from mirrorsync.stores.registry.http.realms import Realms
from tests.parts.auth_service import PASSWORD, USER, AuthService
from tests.parts.images import image, layer
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time

IMAGE = image([layer({"a": b"1"})])
HARBOR = "https://harbor.example"

TRUSTED = {
    "its own": (HARBOR, "https://harbor.example/service/token", ()),
    "its own, with the port written out": (HARBOR, "https://harbor.example:443/token", ()),
    "its own port": ("https://harbor.example:8443", "https://harbor.example:8443/token", ()),
    "Docker Hub's": ("https://registry-1.docker.io", "https://auth.docker.io/token", ()),
    "GitLab's": ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", ()),
    "a named host": (HARBOR, "https://auth.example:8443/token", ("auth.example",)),
    "a named port": (HARBOR, "https://auth.example:8443/token", ("auth.example:8443",)),
    "a named port of its host": (HARBOR, "https://harbor.example:5001/token", ("harbor.example:5001",)),
    "a named IPv6 address": (HARBOR, "https://[2001:db8::1]:5001/token", ("[2001:db8::1]:5001",)),
}
NOT_TRUSTED = {
    "another port": (HARBOR, "https://harbor.example:5001/token", ()),
    "another scheme": ("http://harbor.example", "https://harbor.example/token", ()),
    "a subdomain": (HARBOR, "https://auth.harbor.example/token", ()),
    "another port than the named one": (HARBOR, "https://auth.example/token", ("auth.example:8443",)),
    "Docker Hub's without TLS": ("https://registry-1.docker.io", "http://auth.docker.io/token", ()),
    "Docker Hub's at another port": ("https://registry-1.docker.io", "https://auth.docker.io:444/token", ()),
    "Docker Hub's, of another registry": (HARBOR, "https://auth.docker.io/token", ()),
    "a host with a named one as prefix": (HARBOR, "https://auth.example.evil/token", ("auth.example",)),
}


@pytest.mark.parametrize(("registry", "realm", "named"), TRUSTED.values(), ids=TRUSTED)
def test_a_trusted_token_service_gets_the_password(registry: str, realm: str, named: tuple[str, ...]) -> None:
    assert Realms(registry, named).trusts(realm)


@pytest.mark.parametrize(("registry", "realm", "named"), NOT_TRUSTED.values(), ids=NOT_TRUSTED)
def test_an_untrusted_token_service_does_not_get_the_password(
    registry: str, realm: str, named: tuple[str, ...]
) -> None:
    assert not Realms(registry, named).trusts(realm)


@pytest.fixture
def auth_service(time: Time) -> AuthService:
    return AuthService(clock=time, anonymous=True)


@pytest.fixture
def service(auth_service: AuthService) -> Iterator[Unruly]:
    with Unruly(auth_service) as running:
        auth_service.realm = f"{running.url}/token"
        yield running


@pytest.fixture
def tiny(auth_service: AuthService) -> TinyRegistry:
    registry = TinyRegistry(guard=auth_service.guard)
    registry.hold("app", IMAGE, "1")
    return registry


@pytest.mark.parametrize(("named", "grant"), [(False, "anonymous"), (True, "password")])
def test_another_port_of_the_registrys_host_gets_the_password_only_if_it_is_named(
    server: Unruly, service: Unruly, time: Time, auth_service: AuthService, named: bool, grant: str
) -> None:
    hosts = (service.host,) if named else ()
    harness = ClientHarness(
        server.host, HostSettings(USER, Secret(PASSWORD), plain_http=True, realm_hosts=hosts), time=time
    )
    assert harness.resolve("1") is not None
    assert [question.grant for question in auth_service.token_requests] == [grant]
    assert [service.host in notice for notice in harness.recorded.notices] == ([] if named else [True])


UPGRADED = {
    "no port": ("https://harbor.example/v2/a", "http://harbor.example/v2/b?x=1", "https://harbor.example/v2/b?x=1"),
    "port 80": ("https://harbor.example/v2/a", "http://harbor.example:80/b", "https://harbor.example/b"),
    "the same port": ("https://h.example:8443/v2/a", "http://h.example:8443/b", "https://h.example:8443/b"),
    "no port, but the registry has one": ("https://h.example:8443/a", "http://h.example/b", "https://h.example:8443/b"),
    "port 443": ("https://harbor.example/v2/a", "http://harbor.example:443/b", "https://harbor.example/b"),
}  # fmt: skip


@pytest.mark.parametrize(("base", "location", "leads"), UPGRADED.values(), ids=UPGRADED)
def test_http_urls_of_the_same_host_become_https(base: str, location: str, leads: str) -> None:
    assert resolved(base, location, base) == leads


def test_https_urls_never_become_http() -> None:
    assert resolved("http://h.example/a", "https://h.example/b", "http://h.example") == "https://h.example/b"


@pytest.mark.parametrize("host", ["registry.example", "10.0.0.1", "2001:db8::1", "2002:0a00:1::", "8.8.8.8"])
def test_an_external_address_is_not_internal(host: str) -> None:
    assert not leads_inward(host)
