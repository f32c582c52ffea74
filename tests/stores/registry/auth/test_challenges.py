"""Challenges in all their forms, and the token services that they name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirrorsync.errors import MirrorsyncError, RegistryFailure, Unauthorized
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import Store
from tests.parts.auth_service import PASSWORD, REFRESH, USER, AuthService, basic_guard
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time


def auth_file(tmp_path: Path, host: str, **entry: str) -> dict[str, str]:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {host: entry}}))
    return {"REGISTRY_AUTH_FILE": str(path)}


CHALLENGES = {
    "usual": ('Basic realm="here"',),
    "upper case": ('BASIC realm="here"',),
    "without a realm": ("Basic",),
    "after another, in one header": ('Negotiate, Basic realm="here"',),
    "after another, in another header": ("Negotiate", 'Basic realm="here"'),
    "after a token": ("Negotiate YII=, Basic realm=here",),
    "with a comma in its realm": ('Digest realm="a, Basic b", nonce="x", Basic realm="c"',),
    "before another": ('Basic realm="here", charset="UTF-8", NTLM',),
    "next to a Bearer without a realm": ('Bearer service="x"', "Basic realm=x"),
}


@pytest.mark.parametrize("challenges", CHALLENGES.values(), ids=CHALLENGES)
def test_a_basic_challenge_is_found_among_other_challenges(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, challenges: tuple[str, ...]
) -> None:
    tiny.guard = basic_guard(*challenges)
    assert harness.resolve("1") is not None


BEARERS = {
    "lower case": 'bearer realm="{realm}",service="tests",scope="{scope}"',
    "spaces": 'Bearer   realm = "{realm}" , service = "tests" , scope="{scope}"',
    "upper-case names": 'Bearer REALM="{realm}",Service="tests",SCOPE="{scope}"',
    "escaped": 'Bearer realm="{realm}",service="the \\"tests\\"",scope="{scope}"',
    "no scope": 'Bearer realm="{realm}",service="tests"',
    "no service": 'Bearer realm="{realm}"',
    "next to Basic": 'Basic realm="x", Bearer realm="{realm}",service="tests",scope="{scope}"',
    "relative": 'Bearer realm="/token",service="tests"',
    "with a query": 'Bearer realm="{realm}?account=robot",service="tests"',
}


@pytest.mark.parametrize("challenge", BEARERS.values(), ids=BEARERS)
def test_every_valid_form_of_a_bearer_challenge_is_parsed(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, challenge: str
) -> None:
    auth_service.challenges = (challenge,)
    assert harness.resolve("1") is not None
    (asked,) = server.seen.of("GET", "/token")
    assert asked.query["scope"] == "repository:app:pull"
    if "account" in challenge:
        assert asked.query["account"] == "robot"


@pytest.mark.parametrize(
    "challenges",
    [
        (),
        ("Negotiate",),
        ("Bearer",),
        ('Bearer realm=""',),
        ("=",),
        ('"' * 4000,),
        ("Digest " + "a," * 3000,),
        ("Bearer a" + " " * 7900,),
    ],
    ids=["none", "negotiate", "only bearer", "an empty realm", "garbage", "quotes", "commas", "spaces"],
)
def test_a_401_without_a_supported_challenge_is_reported_as_unauthorized(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, challenges: tuple[str, ...]
) -> None:
    tiny.guard = basic_guard(*challenges, password="another")
    with pytest.raises(Unauthorized) as caught:
        harness.resolve("1")
    assert caught.value.remedy
    assert all(asked.authorization == "" for asked in server.seen.requests)


def test_a_challenge_that_only_the_api_sends_is_used_for_other_requests(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry
) -> None:
    guard = basic_guard('Basic realm="here"')
    silent = basic_guard()
    tiny.guard = lambda asked: guard(asked) if asked.path == "/v2/" else silent(asked)
    assert harness.resolve("1") is not None


def test_a_challenge_that_only_the_request_gets_is_answered(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, auth_service: AuthService
) -> None:
    tiny.guard = lambda asked: None if asked.path == "/v2/" else auth_service.guard(asked)
    assert harness.resolve("1") is not None
    assert len(server.seen.of("HEAD")) == 2


ELSEWHERE = "localhost"  # the same machine under another name is another host


def test_a_token_service_on_another_host_gets_no_credentials_and_one_notice_says_so(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.anonymous = True
    auth_service.realm = f"http://{ELSEWHERE}:{server.port}/token"

    async def several(store: Store) -> None:
        for name in ("app", "other", "third"):
            assert await store.repository(name).resolve(Tag("1")) is not None

    harness.run(several)
    assert {question.grant for question in auth_service.token_requests} == {"anonymous"}
    (notice,) = harness.recorded.notices
    assert f"{ELSEWHERE}:{server.port}" in notice
    assert "realm_hosts" in notice


def test_a_token_service_on_another_host_gets_no_identity_token(
    server: Unruly, time: Time, auth_service: AuthService, tmp_path: Path
) -> None:
    auth_service.anonymous = True
    auth_service.realm = f"http://{ELSEWHERE}:{server.port}/token"
    harness = ClientHarness(server.host, PLAIN, auth_file(tmp_path, server.host, identitytoken=REFRESH), time)
    assert harness.resolve("1") is not None
    assert [(question.method, question.grant) for question in auth_service.token_requests] == [("GET", "anonymous")]


def test_a_token_service_named_in_realm_hosts_gets_credentials(
    server: Unruly, time: Time, auth_service: AuthService
) -> None:
    auth_service.realm = f"http://{ELSEWHERE}:{server.port}/token"
    settings = HostSettings(USER, Secret(PASSWORD), plain_http=True, realm_hosts=(ELSEWHERE,))
    harness = ClientHarness(server.host, settings, time=time)
    assert harness.resolve("1") is not None
    assert [question.grant for question in auth_service.token_requests] == ["password"]
    assert harness.recorded.notices == []


@pytest.mark.parametrize(
    "realm",
    [
        "http://robot:pw@127.0.0.1/token",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
        "http://[::1/token",
        "http://127.0.0.1:99999/token",
    ],
)
def test_an_invalid_realm_is_reported(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, realm: str
) -> None:
    auth_service.realm = realm
    with pytest.raises(RegistryFailure) as caught:
        harness.resolve("1")
    assert caught.value.where == f"{server.host}/app:1"
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_of_a_token_request_are_not_followed(server: Unruly, harness: ClientHarness, status: int) -> None:
    with Unruly(lambda asked: Reply(200, {}, b'{"token": "x"}')) as other:
        headers = {"Location": f"{other.url}/token"}
        server.fault("answer", "GET", "/token", status=status, headers=headers)
        with pytest.raises(RegistryFailure, match="redirect"):
            harness.resolve("1")
        assert not other.seen.requests


def test_the_error_names_an_unreachable_token_service(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.realm = "http://127.0.0.1:1/token?secret=canary"
    with pytest.raises(MirrorsyncError, match=r"127\.0\.0\.1:1: Connection refused") as caught:
        harness.resolve("1")
    assert "canary" not in str(caught.value)
