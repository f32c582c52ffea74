"""Mount blobs from another repository, and fall back to a copy if the registry does not."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from mirrorsync.environment import Environment
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import WritableRepository
from mirrorsync.stores.open import opener
from tests.parts.auth_service import AuthService, basic, with_tokens
from tests.parts.images import noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, Time, described

SMALL = noise("small", 5000)


def mount(harness: ClientHarness, data: bytes, origin: str = "other") -> bool:
    return harness.within(lambda repository: repository.mount(described(data), origin))


def test_a_blob_is_mounted_without_a_transfer(tiny: TinyRegistry, server: Unruly, harness: ClientHarness) -> None:
    key = tiny.hold_blob("other", SMALL)
    assert mount(harness, SMALL) is True
    assert tiny.blobs["app", key] == SMALL
    (asked,) = server.seen.of("POST")
    assert asked.query == {"mount": key, "from": "other"}
    assert asked.headers["Content-Length"] == "0"


def test_an_upload_opened_instead_of_a_mount_is_cancelled(
    tiny: TinyRegistry, server: Unruly, harness: ClientHarness
) -> None:
    assert mount(harness, SMALL) is False
    assert server.seen.of("DELETE", "/uploads/session1")
    assert not tiny.uploads


@pytest.mark.parametrize("fault", ["hang_up", "answer"])
def test_a_failed_cancel_of_an_upload_is_not_retried(
    server: Unruly, harness: ClientHarness, time: Time, fault: str
) -> None:
    if fault == "answer":
        server.fault("answer", "DELETE", status=503)
    else:
        server.fault("hang_up", "DELETE")

    async def both(repository: WritableRepository) -> bool:
        mounted = await repository.mount(described(SMALL), "other")
        assert await repository.resolve(Tag("1")) is None
        return mounted

    assert harness.within(both) is False
    assert time.waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 412, 415, 422, 500, 501, 503])
def test_a_rejected_mount_falls_back_to_a_copy(server: Unruly, harness: ClientHarness, status: int) -> None:
    server.fault("answer", "POST", "mount=", status=status)
    assert mount(harness, SMALL) is False


LOGINS = {"a": HostSettings("of-a", Secret("canary-a")), "b": HostSettings("of-b", Secret("canary-b"))}


@dataclass
class Accounts:
    """A token service for accounts of two namespaces. asked: the usernames, and the scopes that they asked for."""

    service: AuthService = field(default_factory=AuthService)
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Reply:
        user = base64.b64decode(asked.authorization.removeprefix("Basic ")).decode().partition(":")[0]
        self.asked.append((user, tuple(parse_qs(urlsplit(asked.target).query)["scope"])))
        asked.headers.replace_header("Authorization", basic())
        return self.service(asked)


@pytest.mark.parametrize(("origin", "mounted"), [("a/two", True), ("b/one", False)])
def test_a_blob_of_a_namespace_with_another_login_is_not_mounted_and_no_token_is_for_both(
    origin: str, mounted: bool
) -> None:
    accounts = Accounts()
    tiny = TinyRegistry(guard=accounts.service.guard)
    tiny.hold_blob(origin, SMALL)

    async def copy(host: str) -> bool:
        logins = {f"{host}/{namespace}": login for namespace, login in LOGINS.items()}
        store = opener(Environment({host: HostSettings(plain_http=True), **logins}))(host)
        try:
            target, source = store.repository("a/one"), store.repository(origin)
            if found := await target.mount(described(SMALL), origin):
                return found
            await target.write(described(SMALL), await source.read(described(SMALL)))
            return False
        finally:
            await store.close()

    with Unruly(with_tokens(tiny, accounts)) as server:
        accounts.service.realm = f"{server.url}/token"
        assert asyncio.run(copy(server.host)) is mounted
        assert len(server.seen.of("POST", "mount=")) == int(mounted)
    assert all(f"repository:{user[-1]}/" in scope for user, scopes in accounts.asked for scope in scopes)
    assert {user for user, _ in accounts.asked} == ({"of-a"} if mounted else {"of-a", "of-b"})
    assert all(digest == described(SMALL).digest for _, digest in tiny.blobs)
