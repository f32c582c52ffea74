"""Errors of a destination: each is reported with its cause and a remedy."""

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


def test_a_read_only_registry_is_distinguished_from_a_missing_login(
    mirrorsync: Mirrorsync, source: Unruly, tmp_path: Path
) -> None:
    with DockerRegistry(tmp_path / "read-only", readonly=True) as registry:
        output = copied(mirrorsync, source, f"{registry.host}/app:1", code=1)
    assert "answered 405" in output
    assert "it is read-only, or a cache of another registry" in output


def test_a_pull_through_cache_as_destination_is_reported(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly
) -> None:
    server.fault("answer", "POST", "/uploads/", status=405, body=PROXY_PROJECT)
    output = copied(mirrorsync, source, f"{server.host}/app:1", code=1)
    assert "can not push artifact to a proxy project" in output
    assert "it is read-only, or a cache of another registry" in output


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("size", [10, 1_200_000])
def test_a_web_page_as_the_answer_to_an_upload_is_reported_as_a_firewall(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, status: int, method: str, size: int
) -> None:
    data = noise("blocked", size)
    server.fault("answer", method, "/uploads/", status=status, headers=HTML, body=PAGE)
    with pytest.raises(RegistryFailure, match="web page") as caught:
        harness.write(data) if size == 10 else harness.put(described(data), pieces(data))
    assert "firewall" in caught.value.remedy
    assert tiny.blobs == {}


def test_a_web_page_as_the_answer_to_a_manifest_is_an_error(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly
) -> None:
    server.fault("answer", "PUT", "/manifests/", status=200, headers=HTML, body=PAGE)
    assert "the answer is a web page" in copied(mirrorsync, source, f"{server.host}/app:1", code=1)


def test_an_empty_answer_with_an_html_content_type_is_not_a_web_page(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, tiny: TinyRegistry
) -> None:
    """Quay's web framework sends that."""
    for method in ("POST", "PUT", "PATCH"):
        server.fault("headers", method, "/v2/", change={"Content-Type": HTML["Content-Type"]})
    copied(mirrorsync, source, f"{server.host}/app:1")
    assert tiny.tags["app", "1"] == IMAGE.digest


@pytest.mark.parametrize("status", [200, 403])
def test_a_web_page_as_the_answer_to_a_list_is_reported(server: Unruly, harness: ClientHarness, status: int) -> None:
    server.fault("answer", "GET", "/tags/list", status=status, headers=HTML, body=PAGE)
    with pytest.raises(RegistryFailure, match="web page") as caught:
        harness.tags()
    assert "firewall" in caught.value.remedy


def test_a_web_page_does_not_count_as_absent(server: Unruly, tiny: TinyRegistry, time: Time) -> None:
    auth_service = AuthService(realm=f"{server.url}/token")
    tiny.guard = auth_service.guard
    server.app = with_tokens(tiny, auth_service)
    server.fault("answer", "*", "/manifests/", status=403, headers=HTML)
    login = HostSettings(USER, Secret(PASSWORD), plain_http=True)
    with pytest.raises(RegistryFailure, match="web page"):
        asking(ClientHarness(server.host, login, time=time), "app")


@pytest.mark.parametrize("tells_why", [True, False], ids=["insufficient_scope", "no error parameter"])
def test_a_token_without_push_rights_is_not_reported_as_a_wrong_password(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, tiny: TinyRegistry, tells_why: bool
) -> None:
    auth_service = AuthService(realm=f"{server.url}/token", tells_why=tells_why)
    auth_service.grants = lambda scopes: [scope.replace(":pull,push", ":pull") for scope in scopes]
    tiny.guard = auth_service.guard
    server.app = with_tokens(tiny, auth_service)
    output = copied(mirrorsync, source, f"{server.host}/app:1", code=1)
    assert "give this account the right to push to this repository" in output
    assert "check username and password" not in output


def test_a_valid_login_without_read_rights_is_not_reported_as_a_wrong_password(
    server: Unruly, tiny: TinyRegistry, time: Time
) -> None:
    auth_service = AuthService(realm=f"{server.url}/token", grants=lambda scopes: [])
    tiny.guard = auth_service.guard
    server.app = with_tokens(tiny, auth_service)
    login = HostSettings(USER, Secret(PASSWORD), plain_http=True)
    with pytest.raises(Unauthorized) as caught:
        ClientHarness(server.host, login, time=time).resolve("1")
    assert "the login is good" in caught.value.remedy
