"""What a destination refuses, by whom and why: each is named for what it is, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrorsync.errors import RegistryFailure, Unauthorized
from mirrorsync.hosts import HostSettings
from mirrorsync.secret import Secret
from tests.parts.auth_service import PASSWORD, USER, AuthService, with_tokens
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, layer, noise
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time, described, pieces
from tests.stores.registry.asking_destinations import asking, copied

IMAGE = image([layer({"a": b"1"}), noise("a layer", 1_200_000)])
PAGE = b"<!DOCTYPE html><html><title>Blocked by policy</title></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}
PROXY_PROJECT = b'{"errors": [{"code": "METHOD_NOT_ALLOWED", "message": "can not push artifact to a proxy project"}]}'


def test_a_registry_that_is_read_only_is_told_from_one_that_wants_a_login(
    mirrorsync: Mirrorsync, source: Unruly, tmp_path: Path
) -> None:
    with DockerRegistry(tmp_path / "read-only", readonly=True) as registry:
        said = copied(mirrorsync, source, f"{registry.host}/app:1", code=1)
    assert "answered 405" in said
    assert "it is read-only, or a cache of another registry" in said


def test_a_cache_is_named(mirrorsync: Mirrorsync, source: Unruly, server: Unruly) -> None:
    server.fault("answer", "POST", "/uploads/", status=405, body=PROXY_PROJECT)
    said = copied(mirrorsync, source, f"{server.host}/app:1", code=1)
    assert "can not push artifact to a proxy project" in said
    assert "it is read-only, or a cache of another registry" in said


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("size", [10, 1_200_000])
def test_a_web_page_in_the_place_of_an_answer_is_a_firewalls(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, status: int, method: str, size: int
) -> None:
    data = noise("blocked", size)
    server.fault("answer", method, "/uploads/", status=status, headers=HTML, body=PAGE)
    with pytest.raises(RegistryFailure, match="web page") as caught:
        harness.write(data) if size == 10 else harness.put(described(data), pieces(data))
    assert "firewall" in caught.value.remedy
    assert tiny.blobs == {}


def test_a_page_that_answers_for_a_manifest_is_no_success(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly
) -> None:
    server.fault("answer", "PUT", "/manifests/", status=200, headers=HTML, body=PAGE)
    assert "the answer is a web page" in copied(mirrorsync, source, f"{server.host}/app:1", code=1)


def test_a_registry_that_says_html_of_its_empty_answers_is_no_page(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, tiny: TinyRegistry
) -> None:
    """Quay's web framework does."""
    for method in ("POST", "PUT", "PATCH"):
        server.fault("headers", method, "/v2/", change={"Content-Type": HTML["Content-Type"]})
    copied(mirrorsync, source, f"{server.host}/app:1")
    assert tiny.tags["app", "1"] == IMAGE.digest


@pytest.mark.parametrize("status", [200, 403])
def test_a_page_in_the_place_of_a_list_is_named(server: Unruly, harness: ClientHarness, status: int) -> None:
    server.fault("answer", "GET", "/tags/list", status=status, headers=HTML, body=PAGE)
    with pytest.raises(RegistryFailure, match="web page") as caught:
        harness.tags()
    assert "firewall" in caught.value.remedy


def test_a_page_is_no_word_that_something_is_absent(server: Unruly, tiny: TinyRegistry, time: Time) -> None:
    auth_service = AuthService(realm=f"{server.url}/token")
    tiny.guard = auth_service.guard
    server.app = with_tokens(tiny, auth_service)
    server.fault("answer", "*", "/manifests/", status=403, headers=HTML)
    login = HostSettings(USER, Secret(PASSWORD), plain_http=True)
    with pytest.raises(RegistryFailure, match="web page"):
        asking(ClientHarness(server.host, login, time=time), "app")


@pytest.mark.parametrize("tells_why", [True, False], ids=["insufficient_scope", "nothing said"])
def test_a_token_that_may_not_push_is_no_wrong_password(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, tiny: TinyRegistry, tells_why: bool
) -> None:
    auth_service = AuthService(realm=f"{server.url}/token", tells_why=tells_why)
    auth_service.grants = lambda scopes: [scope.replace(":pull,push", ":pull") for scope in scopes]
    tiny.guard = auth_service.guard
    server.app = with_tokens(tiny, auth_service)
    said = copied(mirrorsync, source, f"{server.host}/app:1", code=1)
    assert "give this account the right to push to this repository" in said
    assert "check username and password" not in said


def test_a_good_login_that_may_not_read_is_no_wrong_password(server: Unruly, tiny: TinyRegistry, time: Time) -> None:
    auth_service = AuthService(realm=f"{server.url}/token", grants=lambda scopes: [])
    tiny.guard = auth_service.guard
    server.app = with_tokens(tiny, auth_service)
    login = HostSettings(USER, Secret(PASSWORD), plain_http=True)
    with pytest.raises(Unauthorized) as caught:
        ClientHarness(server.host, login, time=time).resolve("1")
    assert "the login is good" in caught.value.remedy
