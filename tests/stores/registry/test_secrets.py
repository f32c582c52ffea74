"""Secrets are sent only to their own host, and never appear in output, logs or files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Locked
from tests.parts.auth_service import PASSWORD, REFRESH, USER, AuthService, with_tokens
from tests.parts.forward_proxy import ForwardProxy
from tests.parts.images import image, layer, multi_platform, noise
from tests.parts.mirrorsync import Done, Mirrorsync
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

IMAGE = image([layer({"a": b"1"}), noise("large", 1_300_000)])
SECRETS = ("canary", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()[:20])


@dataclass
class Site:
    """A registry with a token service, its operator, and everything that was printed and written."""

    server: Unruly
    auth_service: AuthService
    mirrorsync: Mirrorsync
    variables: dict[str, str]

    def spec(self, **settings: Any) -> None:
        self.mirrorsync.spec(
            {
                "registries": {
                    self.server.host: {
                        "plain_http": True, "username": USER, "password": "${SECRET}", **settings
                    }
                },
                "destinations": {"disk": "oci:layout", "back": f"{self.server.host}/copy"},
                "defaults": {"to": ["disk", "back"]},
                "mirrors": [f"{self.server.host}/app:1"],
            }
        )  # fmt: skip

    def run(self, *words: str, code: int | None = None) -> Done:
        done = self.mirrorsync(*words, env=self.variables, code=code)
        self.check(done)
        return done

    def check(self, done: Done) -> None:
        """Check that no secret is in the output, or in any file that was written."""
        for secret in SECRETS:
            assert secret not in done.out
            assert secret not in done.err
            for path in self.mirrorsync.directory.rglob("*"):
                if path.is_file() and path.name != "auth.json":
                    assert secret.encode() not in path.read_bytes(), path


@pytest.fixture
def site(mirrorsync: Mirrorsync) -> Iterator[Site]:
    auth_service = AuthService()
    registry = TinyRegistry(guard=auth_service.guard)
    registry.hold("app", IMAGE, "1")
    with Unruly(with_tokens(registry, auth_service)) as server:
        auth_service.realm = f"{server.url}/token"
        made = Site(server, auth_service, mirrorsync, {"SECRET": PASSWORD})
        made.spec()
        yield made


VERBOSE = ("-vv", "--log-format", "text")


def test_a_successful_run_shows_no_secret(site: Site) -> None:
    site.run("plan", "--output", "plan.json", *VERBOSE, code=0)
    site.run("apply", "plan.json", *VERBOSE, code=0)
    site.run("apply", "--json", *VERBOSE, code=0)
    site.run("verify", *VERBOSE, code=0)
    assert {question.grant for question in site.auth_service.token_requests} == {"password"}


FAULTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "a rejected token": ("answer", "HEAD", "", {"status": 401}),
    "missing rights": ("answer", "GET", "/blobs/", {"status": 403}),
    "a malformed token answer": ("answer", "*", "/token", {"status": 200, "body": b"<html>"}),
    "a denied token": ("answer", "*", "/token", {"status": 403}),
    "a token service that redirects": (
        "answer", "*", "/token", {"status": 302, "headers": {"Location": "/x?canary=1"}},
    ),
    "a rejected presigned URL": (
        "answer", "GET", "/blobs/", {"status": 307, "headers": {"Location": "/x?sig=canary"}},
    ),
    "a lost upload": ("answer", "PUT", "/uploads/", {"status": 400}),
    "an upload location on another host": (
        "headers", "POST", "/uploads/", {"change": {"Location": "http://u:canary@127.0.0.1:1/x?_state=canary"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "method", "pattern", "detail"), FAULTS.values(), ids=FAULTS)
def test_a_failed_run_shows_no_secret(site: Site, name: str, method: str, pattern: str, detail: dict[str, Any]) -> None:
    site.server.fault(name, method, pattern, **detail)
    done = site.run("apply", "--json", *VERBOSE)
    assert done.code in (1, 3)


def test_a_wrong_password_is_reported_with_a_remedy_and_not_shown(site: Site) -> None:
    site.variables["SECRET"] = "canary-of-the-wrong-password"
    for words in (("plan",), ("apply", "--json")):
        done = site.run(*words, *VERBOSE, code=1)
        assert "incorrect username or password" in done.out + done.err
        assert "check username and password" in done.out + done.err
    assert len(site.auth_service.token_requests) <= 9


def test_a_password_from_a_file_is_not_shown(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("secret") / "password"
    path.write_text(PASSWORD)
    site.mirrorsync.spec(
        {
            "registries": {site.server.host: {"plain_http": True, "username": USER, "password_file": str(path)}},
            "destinations": {"disk": "oci:layout"},
            "defaults": {"to": ["disk"]},
            "mirrors": [f"{site.server.host}/app:1"],
        }
    )
    site.run("apply", *VERBOSE, code=0)


def test_a_password_of_a_proxy_is_not_shown(mirrorsync: Mirrorsync) -> None:
    registry = TinyRegistry()
    registry.hold("app", IMAGE, "1")
    with Unruly(registry) as server, ForwardProxy({"registry.example": server.host}, f"{USER}:{PASSWORD}") as proxy:
        site = Site(server, AuthService(), mirrorsync, {"http_proxy": f"http://{USER}:{PASSWORD}@{proxy.host}"})
        mirrorsync.spec(
            {
                "registries": {"registry.example": {"plain_http": True}},
                "destinations": {"disk": "oci:layout"},
                "defaults": {"to": ["disk"]},
                "mirrors": ["registry.example/app:1"],
            }
        )
        site.run("apply", *VERBOSE, code=0)
        site.run("verify", "--json", *VERBOSE, code=0)
        proxy.login = "another:login"
        done = site.run("verify", *VERBOSE, code=3)
        assert "proxy" in done.err + done.out


def test_no_request_to_another_host_has_a_secret(site: Site) -> None:
    with Unruly(lambda asked: Reply(200, {}, IMAGE.all_blobs()[key(asked.path)])) as storage:

        def key(path: str) -> str:
            return path.rpartition("/")[2]

        real = site.server.app

        def redirecting(asked: Any) -> Reply:
            if asked.method == "GET" and "/blobs/" in asked.path:
                refused = site.auth_service.guard(asked)
                return refused or Reply(307, {"Location": f"{storage.url}/{key(asked.path)}"})
            return real(asked)

        site.server.app = redirecting
        site.run("apply", *VERBOSE, code=0)
        assert storage.seen.requests
        for asked in storage.seen.requests:
            assert not any(secret in f"{asked.target} {asked.headers}" for secret in SECRETS)
            assert asked.authorization == ""


@pytest.mark.parametrize("login", ["password", "refresh token", "spec"])
def test_docker_registry_accepts_our_tokens(
    token_registry: Locked, registry: Any, unique: str, mirrorsync: Mirrorsync, login: str
) -> None:
    """From a docker-registry without a login to one with tokens, read back by another tool."""
    from tests.parts.token_server import REFRESH as REAL_REFRESH

    made = multi_platform(unique)
    Registry(registry.host).push(unique, made, "1")
    host = token_registry.host
    settings: dict[str, Any] = {"plain_http": True}
    entry: dict[str, str] = {}
    if login == "spec":
        settings |= {"username": token_registry.username, "password": token_registry.password}
    elif login == "password":
        pair = f"{token_registry.username}:{token_registry.password}"
        entry = {"auth": base64.b64encode(pair.encode()).decode()}
    else:
        entry = {"identitytoken": REAL_REFRESH}
    auth = mirrorsync.directory / "auth.json"
    auth.write_text(json.dumps({"auths": {host: entry}} if entry else {}))
    mirrorsync.spec(
        {
            "registries": {host: settings, registry.host: {"plain_http": True}},
            "destinations": {"locked": host},
            "defaults": {"to": ["locked"]},
            "mirrors": [f"{registry.host}/{unique}:1"],
        }
    )
    assert token_registry.tokens is not None
    before = len(token_registry.tokens.asked)
    mirrorsync("apply", env={"REGISTRY_AUTH_FILE": str(auth)}, code=0)
    logins = {logins for logins, _ in token_registry.tokens.asked[before:]}
    assert logins == {"password" if login == "spec" else login}
    done = mirrorsync("verify", env={"REGISTRY_AUTH_FILE": str(auth)}, code=0)
    assert token_registry.password not in done.out + done.err
    assert Path(auth).exists()
    assert REFRESH not in done.out
