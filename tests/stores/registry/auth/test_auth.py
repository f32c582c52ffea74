"""Authentication: challenges, tokens, and which hosts get credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirrorsync.errors import Denied, MirrorsyncError, RegistryFailure, Unauthorized
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store, WritableRepository
from tests.parts.auth_service import REFRESH, AuthService, basic, basic_guard, with_tokens
from tests.parts.images import noise
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry, refusal
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, Time, described, pieces
from tests.stores.registry.auth.logins import IMAGE, WRONG

LARGE = noise("large", 1_500_000)


async def resolve(repository: WritableRepository) -> object:
    return await repository.resolve(Tag("1"))


def test_a_token_is_fetched_once_for_each_scope_and_used_for_all_its_requests(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    async def many(store: Store) -> None:
        for name in ("app", "other"):
            repository = store.repository(name)
            await asyncio.gather(*(repository.resolve(Tag("1")) for _ in range(20)))
            _ = [tag async for tag in repository.tags()]

    harness.run(many)
    assert [question.scopes for question in auth_service.token_requests] == [
        ("repository:app:pull",),
        ("repository:other:pull",),
    ]
    assert {question.grant for question in auth_service.token_requests} == {"password"}
    assert len(server.seen.of("GET", "^/v2/$")) == 1
    for asked in server.seen.requests:
        name = "app" if "/app/" in asked.target else "other"
        if "/token" not in asked.target and asked.path != "/v2/":
            token = next(one.token for one in auth_service.token_requests if f":{name}:" in one.scopes[0])
            assert asked.authorization == f"Bearer {token}"


def test_without_credentials_an_anonymous_token_is_used(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.anonymous = True
    harness.settings = PLAIN
    assert harness.resolve("1") is not None
    assert [question.grant for question in auth_service.token_requests] == ["anonymous"]


@pytest.mark.parametrize("member", ["token", "access_token"])
def test_a_token_is_read_from_either_of_its_two_fields(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, member: str
) -> None:
    auth_service.extra = {"token": None}
    real = server.app

    def renamed(asked: Asked) -> Reply:
        reply = real(asked)
        if asked.path == "/token":
            document = {member: auth_service.token_requests[-1].token}
            reply.body = json.dumps(document).encode()
        return reply

    server.app = renamed
    assert harness.resolve("1") is not None


BAD_TOKENS = {
    "not JSON": b"<html>log in</html>",
    "empty body": b"",
    "a list": b"[]",
    "no token": b"{}",
    "an empty token": b'{"token": ""}',
    "two empty tokens": b'{"token": "", "access_token": ""}',
    "a number": b'{"token": 5}',
    "a line break": b'{"token": "a\\r\\nX-Evil: 1"}',
    "not ASCII": '{"token": "\u00e4"}'.encode(),
    "a space": b'{"token": "a b"}',
    "nested too deeply": b'{"token": ' + b"[" * 100_000,
    "too large": b'{"token": "' + b"a" * 200_000 + b'"}',
}


@pytest.mark.parametrize("body", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_an_invalid_token_answer_is_rejected(server: Unruly, harness: ClientHarness, body: bytes) -> None:
    server.fault("answer", "*", "/token", status=200, body=body)
    with pytest.raises(RegistryFailure, match="token") as caught:
        harness.resolve("1")
    assert caught.value.where == f"{server.host}/app:1"
    assert not server.seen.of("HEAD")


@pytest.mark.parametrize("lifetime", ["1e999", "-5", "0", "null", "true", '"300"', "1" + "0" * 400, "[]"])
def test_an_invalid_token_lifetime_is_ignored(server: Unruly, harness: ClientHarness, lifetime: str) -> None:
    real = server.app

    def odd(asked: Asked) -> Reply:
        reply = real(asked)
        if asked.path == "/token":
            document = json.loads(reply.body)
            reply.body = f'{{"token": "{document["token"]}", "expires_in": {lifetime}}}'.encode()
        return reply

    server.app = odd
    assert harness.resolve("1") is not None


@pytest.mark.parametrize("lifetime", [60, 300, 3600, None])
def test_a_token_is_renewed_before_it_expires(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, time: Time, lifetime: float | None
) -> None:
    auth_service.lifetime = lifetime
    life = lifetime or 60

    async def over_time(repository: WritableRepository) -> None:
        for _ in range(20):
            assert await repository.resolve(Tag("1")) is not None
            time.pass_by(life / 7)

    harness.within(over_time)
    assert 3 <= len(auth_service.token_requests) <= 5
    # No expired token was ever sent: after the first request, no token was rejected.
    assert len(server.seen.of("HEAD")) == 20


def test_a_token_that_is_about_to_expire_is_not_used(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, time: Time
) -> None:
    async def late(repository: WritableRepository) -> None:
        await repository.resolve(Tag("1"))
        time.pass_by(295)
        await repository.resolve(Tag("1"))

    harness.within(late)
    assert len(auth_service.token_requests) == 2


def test_a_wrong_clock_of_the_token_service_is_ignored(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.extra = {"issued_at": "2001-01-01T00:00:00Z"}

    async def twice(repository: WritableRepository) -> None:
        await repository.resolve(Tag("1"))
        await repository.resolve(Tag("1"))

    harness.within(twice)
    assert len(auth_service.token_requests) == 1


def test_a_rejected_token_is_renewed_once(server: Unruly, harness: ClientHarness, auth_service: AuthService) -> None:
    async def revoked(repository: WritableRepository) -> None:
        await repository.resolve(Tag("1"))
        auth_service.tokens.clear()
        assert await repository.resolve(Tag("1")) is not None

    harness.within(revoked)
    assert len(auth_service.token_requests) == 2
    assert len(server.seen.of("HEAD")) == 3


def test_concurrent_requests_with_a_rejected_token_renew_it_once(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    async def revoked(repository: WritableRepository) -> None:
        await repository.resolve(Tag("1"))
        auth_service.tokens.clear()
        await asyncio.gather(*(repository.resolve(Tag("1")) for _ in range(25)))

    harness.within(revoked)
    assert len(auth_service.token_requests) == 2


@pytest.mark.parametrize("engine", ["questions", "bytes"])
def test_requests_end_if_the_registry_rejects_every_token(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, tiny: TinyRegistry, engine: str
) -> None:
    tiny.guard = lambda asked: auth_service.refusal(["repository:app:pull"])
    with pytest.raises(Unauthorized) as caught:
        harness.small(described(LARGE)) if engine == "questions" else harness.large(described(LARGE))
    assert len(auth_service.token_requests) == 2
    assert len(server.seen.of("GET", "/blobs/")) == 2
    assert caught.value.remedy


def test_the_missing_scope_is_requested_after_insufficient_scope(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    real = auth_service.guard

    def wants_more(asked: Asked) -> Reply | None:
        if (refused := real(asked)) is not None:
            return refused
        _, allowed = auth_service.tokens[asked.authorization.removeprefix("Bearer ")]
        if "/manifests/" in asked.path and "repository:base:pull" not in allowed:
            scope = "repository:app:pull repository:base:pull"
            challenge = f'Bearer realm="{auth_service.realm}",scope="{scope}",error="insufficient_scope"'
            return refusal(401, "DENIED", headers={"WWW-Authenticate": challenge})
        return None

    server.app = with_tokens(lambda asked: wants_more(asked) or tiny_of(server)(asked), auth_service)
    assert harness.resolve("1") is not None
    assert [set(question.scopes) for question in auth_service.token_requests] == [
        {"repository:app:pull"},
        {"repository:app:pull", "repository:base:pull"},
    ]


def tiny_of(server: Unruly) -> TinyRegistry:
    open_registry = TinyRegistry()
    open_registry.hold("app", IMAGE, "1")
    return open_registry


def test_a_token_service_that_grants_less_than_requested_causes_no_loop(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.grants = lambda scopes: []
    with pytest.raises(Unauthorized):
        harness.resolve("1")
    assert len(auth_service.token_requests) == 2


def test_a_mount_requests_scopes_for_both_repositories_and_the_written_one_first(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    blob = described(next(iter(IMAGE.blobs.values())))

    async def mounted(repository: WritableRepository) -> bool:
        return await repository.mount(blob, "other")

    assert harness.within(mounted, "new") is True
    assert [question.scopes for question in auth_service.token_requests] == [
        ("repository:new:pull,push", "repository:other:pull"),
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_mount_falls_back_to_a_copy_if_the_token_is_denied(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, status: int
) -> None:
    server.fault("answer", "GET", "/token.*other", status=status)

    async def mounted(repository: WritableRepository) -> bool:
        return await repository.mount(described(b"x"), "other")

    assert harness.within(mounted, "new") is False


def test_a_token_is_not_used_for_another_scope(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    async def all_of_it(store: Store) -> None:
        repository = store.repository("app")
        await repository.resolve(Tag("1"))
        await repository.write(described(b"new"), b"new")
        await store.repository("other").resolve(Tag("1"))
        await repository.resolve(Tag("1"))

    harness.run(all_of_it)
    assert [question.scopes for question in auth_service.token_requests] == [
        ("repository:app:pull",),
        ("repository:app:pull,push",),
        ("repository:other:pull",),
    ]


def auth_file(tmp_path: Path, host: str, **entry: str) -> dict[str, str]:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {host: entry}}))
    return {"REGISTRY_AUTH_FILE": str(path)}


def test_an_identity_token_is_exchanged_with_post_and_sent_only_to_the_token_service(
    server: Unruly, time: Time, auth_service: AuthService, tmp_path: Path
) -> None:
    harness = ClientHarness(server.host, PLAIN, auth_file(tmp_path, server.host, identitytoken=REFRESH), time)
    assert harness.resolve("1") is not None
    assert [(question.method, question.grant, question.scopes) for question in auth_service.token_requests] == [
        ("POST", "refresh token", ("repository:app:pull",))
    ]
    assert all(REFRESH not in f"{asked.target} {asked.headers}" for asked in server.seen.requests)


@pytest.mark.parametrize("status", [404, 405])
def test_a_token_service_without_post_is_asked_with_get(
    server: Unruly, time: Time, auth_service: AuthService, tmp_path: Path, status: int
) -> None:
    variables = auth_file(tmp_path, server.host, identitytoken=REFRESH, auth=basic().removeprefix("Basic "))
    server.fault("answer", "POST", "/token", status=status)
    assert ClientHarness(server.host, PLAIN, variables, time).resolve("1") is not None
    assert [question.grant for question in auth_service.token_requests] == ["password"]


def test_a_refresh_token_in_a_token_answer_is_used_from_then_on(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.extra = {"refresh_token": REFRESH}

    async def both(store: Store) -> None:
        await store.repository("app").resolve(Tag("1"))
        await store.repository("other").resolve(Tag("1"))

    harness.run(both)
    assert [question.grant for question in auth_service.token_requests] == ["password", "refresh token"]


def test_falls_back_to_the_password_if_the_refresh_token_is_rejected(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    auth_service.extra = {"refresh_token": "canary-of-no-use"}

    async def both(store: Store) -> None:
        await store.repository("app").resolve(Tag("1"))
        await store.repository("other").resolve(Tag("1"))

    harness.run(both)
    assert [question.grant for question in auth_service.token_requests] == ["password", "refresh token", "password"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failing_token_service_is_retried(server: Unruly, harness: ClientHarness, status: int) -> None:
    server.fault("answer", "GET", "/token", hits=[1, 2], status=status)
    assert harness.resolve("1") is not None
    assert len(server.seen.of("GET", "/token")) == 3


Use = Callable[[ClientHarness], object]
USES: dict[str, Use] = {
    "a request": lambda harness: harness.resolve("1"),
    "reading": lambda harness: harness.large(described(LARGE)),
    "writing": lambda harness: harness.put(described(LARGE), pieces(LARGE)),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_wrong_password_is_reported_with_a_remedy_and_never_shown(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, use: Use
) -> None:
    harness.settings = WRONG
    with pytest.raises(Unauthorized, match="incorrect username or password") as caught:
        use(harness)
    error = caught.value
    assert error.exit_code == 1
    assert "username and password" in error.remedy
    assert error.where.startswith(f"{server.host}/app")
    assert "canary" not in f"{error} {error!r} {error.remedy} {harness.settings} {harness.settings!r}"
    assert len(auth_service.token_requests) == 1


def test_a_wrong_password_is_not_sent_for_every_tag(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    harness.settings = WRONG

    async def many(repository: WritableRepository) -> None:
        for _ in range(20):
            with pytest.raises(Unauthorized):
                await repository.resolve(Tag("1"))

    harness.within(many)
    assert len(auth_service.token_requests) == 1


@pytest.mark.parametrize("kind", ["tokens", "basic"])
def test_a_wrong_password_is_sent_once_for_22_images_at_a_time(
    server: Unruly, harness: ClientHarness, tiny: TinyRegistry, auth_service: AuthService, kind: str
) -> None:
    harness.settings = WRONG
    if kind == "basic":
        tiny.guard = basic_guard('Basic realm="x"')

    async def many(store: Store) -> list[object]:
        asked = [store.repository(f"app{number}").resolve(Tag("1")) for number in range(22)]
        return await asyncio.gather(*asked, return_exceptions=True)

    failures = harness.run(many)
    assert len(failures) == 22
    assert all(isinstance(failure, Unauthorized) for failure in failures)
    assert len([asked for asked in server.seen.requests if asked.authorization]) == 1
    assert len(server.seen.requests) == 2, "the API for its challenge, and the login"


def test_a_login_that_gets_403_is_asked_for_once_more_without_a_repository_and_not_for_22(
    server: Unruly, harness: ClientHarness
) -> None:
    """GitLab and locked accounts: 403 for a wrong password, and for a right one without rights."""
    server.fault("answer", pattern="/token", status=403)

    async def many(store: Store) -> list[object]:
        asked = [store.repository(f"app{number}").resolve(Tag("1")) for number in range(22)]
        return await asyncio.gather(*asked, return_exceptions=True)

    failures = harness.run(many)
    assert all(isinstance(failure, Unauthorized) for failure in failures)
    assert len({failure.message for failure in failures if isinstance(failure, Unauthorized)}) == 1
    assert len([asked for asked in server.seen.requests if asked.path == "/token"]) == 2


def test_a_right_login_that_gets_403_for_one_repository_is_used_for_others(
    server: Unruly, harness: ClientHarness
) -> None:
    server.fault("answer", "GET", "app1%3Apull", status=403)

    async def several(store: Store) -> None:
        with pytest.raises(Denied):
            await store.repository("app1").resolve(Tag("1"))
        assert await store.repository("app").resolve(Tag("1")) is not None

    harness.run(several)


def test_an_accepted_login_is_used_for_other_repositories_after_one_was_denied(
    server: Unruly, harness: ClientHarness, auth_service: AuthService
) -> None:
    server.fault("answer", "GET", "app1%3Apull", status=401)

    async def several(store: Store) -> None:
        assert await store.repository("app").resolve(Tag("1")) is not None
        with pytest.raises(Unauthorized):
            await store.repository("app1").resolve(Tag("1"))
        assert await store.repository("other").resolve(Tag("1")) is not None

    harness.run(several)


def test_missing_rights_are_reported_without_the_remedy_to_check_the_password(
    server: Unruly, harness: ClientHarness
) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}'
    server.fault("answer", pattern="/manifests/", status=403, body=body)
    with pytest.raises(Denied, match="requested access") as caught:
        harness.resolve("1")
    assert "right" in caught.value.remedy


def test_a_token_that_expires_during_an_upload_costs_one_more_attempt(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, tiny: TinyRegistry
) -> None:
    blob = described(LARGE)

    def chunks() -> Iterator[bytes]:
        auth_service.tokens.clear()  # after the Authorization header was determined
        yield from pieces(LARGE)

    async def written(repository: WritableRepository) -> None:
        with pytest.raises(MirrorsyncError) as caught:
            await asyncio.to_thread(repository.put, blob, chunks())
        assert caught.value.transient
        await asyncio.to_thread(repository.put, blob, pieces(LARGE))

    harness.within(written)
    assert tiny.blobs["app", blob.digest] == LARGE
    assert len(auth_service.token_requests) == 2


def test_a_token_that_expires_between_parts_is_renewed_and_no_part_is_sent_twice(
    server: Unruly, harness: ClientHarness, auth_service: AuthService, tiny: TinyRegistry
) -> None:
    data = noise("parts", 3 * 1024 * 1024)
    real = server.app
    server.app = lambda asked: Reply(413) if len(asked.body) > 1024 * 1024 else real(asked)

    async def written(repository: WritableRepository) -> None:
        with pytest.raises(MirrorsyncError):
            await asyncio.to_thread(repository.put, described(data), pieces(data))
        auth_service.lifetime = 1e-9
        await asyncio.to_thread(repository.put, described(data), pieces(data))

    harness.within(written)
    assert tiny.blobs["app", described(data).digest] == data
