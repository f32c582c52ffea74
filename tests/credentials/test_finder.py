"""Find credentials: in the spec, in the files that logins are stored in, and in credential helpers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.credentials.finder import CredentialFinder
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, StorageError, Unauthorized, UsageError
from mirrorsync.hosts import Access, Credentials, HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import Store
from mirrorsync.stores.open import opener
from tests.parts.auth_service import basic
from tests.parts.images import image, layer
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry, refusal
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness

IMAGE = image([layer({"a": b"1"})])
REPOSITORIES = ("app", "team/app", "team/sub/app", "teamwork/app", "other")


@dataclass
class LoginLog:
    """A registry that accepts every username, and records the username and password for each repository."""

    logins: dict[str, str] = field(default_factory=dict)

    def guard(self, asked: Asked) -> Reply | None:
        kind, _, encoded = asked.authorization.partition(" ")
        if kind != "Basic":
            return refusal(401, "UNAUTHORIZED", headers={"WWW-Authenticate": 'Basic realm="x"'})
        repository = asked.path.partition("/v2/")[2].partition("/manifests/")[0]
        if repository:  # a login is first tried at /v2/, which is no repository
            self.logins[repository] = base64.b64decode(encoded).decode()
        return None


@pytest.fixture
def registry_log() -> LoginLog:
    return LoginLog()


@pytest.fixture
def server(registry_log: LoginLog) -> Iterator[Unruly]:
    registry = TinyRegistry(guard=registry_log.guard)
    for name in REPOSITORIES:
        registry.hold(name, IMAGE, "1")
    with Unruly(registry) as running:
        yield running


@dataclass(frozen=True)
class Home:
    """A user's home directory with auth files and credential helpers."""

    home: Path
    host: str

    @property
    def variables(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}"}

    def write(self, name: str, content: Mapping[str, Any] | bytes) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def login(self, name: str, user: str, key: str = "", **more: Any) -> Path:
        """Write an auth file with one entry."""
        return self.write(name, {"auths": {key or self.host: {"auth": entry(user)}}, **more})

    def helper(self, name: str, script: str) -> None:
        """Put a credential helper on PATH; it logs its requests."""
        path = self.home / "bin" / f"docker-credential-{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nread -r host\necho "$1 $host" >> "{self.home}/helper.log"\n{script}\n')
        path.chmod(0o755)

    @property
    def helped(self) -> list[str]:
        log = self.home / "helper.log"
        return log.read_text().splitlines() if log.exists() else []


def entry(user: str, password: str = "pw") -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def answer(user: str, password: str = "pw") -> str:
    return f"""echo '{json.dumps({"ServerURL": "x", "Username": user, "Secret": password})}'"""


@pytest.fixture
def user(tmp_path: Path, server: Unruly) -> Home:
    home = tmp_path / "home"
    home.mkdir()
    return Home(home, server.host)


def login_sent(user: Home, registry_log: LoginLog, settings: HostSettings = PLAIN, /, **variables: str) -> str:
    """Resolve a tag; return the username and password that were sent."""
    assert ClientHarness(user.host, settings, {**user.variables, **variables}).resolve("1") is not None
    return registry_log.logins["app"]


def error_of(user: Home, settings: HostSettings = PLAIN, /, **variables: str) -> MirrorsyncError:
    with pytest.raises(MirrorsyncError) as caught:
        ClientHarness(user.host, settings, {**user.variables, **variables}).resolve("1")
    assert caught.value.where == f"{user.host}/app:1"
    return caught.value


def test_the_spec_comes_before_every_file(user: Home, registry_log: LoginLog) -> None:
    user.login(".config/containers/auth.json", "from-file")
    settings = HostSettings("from-spec", Secret("p:w\u00e4"), plain_http=True)
    assert login_sent(user, registry_log, settings) == "from-spec:p:w\u00e4"


@pytest.mark.parametrize("content", ["pw", "pw\n", "pw\r\n", "pw\n\n"])
def test_a_password_file_may_end_with_a_line_break(user: Home, registry_log: LoginLog, content: str) -> None:
    path = user.write("secret", content.encode())
    assert login_sent(user, registry_log, HostSettings("u", password_file=str(path), plain_http=True)) == "u:pw"


def test_a_space_in_a_password_file_is_part_of_the_password(user: Home, registry_log: LoginLog) -> None:
    path = user.write("secret", b" p w ")
    assert login_sent(user, registry_log, HostSettings("u", password_file=str(path), plain_http=True)) == "u: p w "


@pytest.mark.parametrize("kind", ["missing", "empty", "only a line break", "a directory", "binary"])
def test_an_unusable_password_file_is_named_in_the_error(user: Home, kind: str) -> None:
    path = user.home / "secret"
    contents = {"empty": b"", "only a line break": b"\n", "binary": b"\xff\xfe\x00"}
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "a directory":
        path.mkdir()
    error = error_of(user, HostSettings("u", password_file=str(path), plain_http=True))
    assert isinstance(error, UsageError)
    assert f"password_file {path} of {user.host}" in error.message


def test_an_error_that_is_remembered_is_raised_as_a_copy_each_time(user: Home) -> None:
    settings = HostSettings("u", password_file=str(user.home / "missing"))
    finder = CredentialFinder(Environment({user.host: settings}, user.variables))
    errors = []
    for _ in range(3):
        with pytest.raises(UsageError) as caught:
            finder(user.host)
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 3
    assert len({str(error) for error in errors}) == 1
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors}) == 1


FILES = {
    "podman's in XDG_RUNTIME_DIR": ("run/containers/auth.json", {"XDG_RUNTIME_DIR": "run"}),
    "podman's in XDG_CONFIG_HOME": ("conf/containers/auth.json", {"XDG_CONFIG_HOME": "conf"}),
    "podman's in HOME": (".config/containers/auth.json", {}),
    "docker's in DOCKER_CONFIG": ("dock/config.json", {"DOCKER_CONFIG": "dock"}),
    "docker's in HOME": (".docker/config.json", {}),
    "the one that REGISTRY_AUTH_FILE names": ("my.json", {"REGISTRY_AUTH_FILE": "my.json"}),
}


def placed(user: Home, variables: Mapping[str, str]) -> dict[str, str]:
    return {name: str(user.home / path) for name, path in variables.items()}


@pytest.mark.parametrize(("path", "variables"), FILES.values(), ids=FILES)
def test_a_login_is_found_in_each_auth_file_of_podman_and_docker(
    user: Home, registry_log: LoginLog, path: str, variables: Mapping[str, str]
) -> None:
    user.login(path, "somebody")
    assert login_sent(user, registry_log, PLAIN, **placed(user, variables)) == "somebody:pw"


def test_auth_files_are_read_in_the_order_of_podman_and_docker(user: Home, registry_log: LoginLog) -> None:
    order = ["run/containers/auth.json", "conf/containers/auth.json", "dock/config.json"]
    variables = placed(user, {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "conf", "DOCKER_CONFIG": "dock"})
    for path in order:
        user.login(path, path.partition("/")[0])
    for path in order:
        assert login_sent(user, registry_log, PLAIN, **variables) == f"{path.partition('/')[0]}:pw"
        (user.home / path).unlink()
    error_of(user, PLAIN, **variables)


def found(user: Home, run: Path, repository: str = "", /, **variables: str) -> str | None:
    """Return the username that is found, with podman's directory somewhere else than /run."""
    environment = Environment(variables={**user.variables, **variables})
    credentials = CredentialFinder(environment, run_directory=run)(user.host, repository)
    return credentials.username if credentials else None


def test_without_a_runtime_directory_podmans_file_is_found_by_user_id(user: Home, tmp_path: Path) -> None:
    """A session of cron, of su or of a container has no XDG_RUNTIME_DIR; containers-auth.json(5)."""
    run = tmp_path / "run-containers"
    user.login(f"../run-containers/{os.getuid()}/auth.json", "number")
    user.login(".config/containers/auth.json", "config")
    assert found(user, run) == "number"
    (run / str(os.getuid()) / "auth.json").unlink()
    assert found(user, run) == "config"


def test_a_runtime_directory_replaces_the_directory_by_user_id(user: Home, tmp_path: Path) -> None:
    run = tmp_path / "run-containers"
    user.login(f"../run-containers/{os.getuid()}/auth.json", "number")
    (user.home / "runtime").mkdir()
    assert found(user, run, XDG_RUNTIME_DIR=str(user.home / "runtime")) is None
    assert found(user, run, REGISTRY_AUTH_FILE=str(user.home / "none.json")) is None
    assert found(user, run) == "number"


SAID: dict[str, tuple[dict[str, Access], dict[str, str]]] = {
    "one account for a host": ({"HOST": Access(Credentials("one", Secret("1")))}, {"app": "one:1", "other": "one:1"}),
    "one for each repository": (
        {"HOST/app": Access(Credentials("one", Secret("1"))), "HOST/other": Access(Credentials("two", Secret("2")))},
        {"app": "one:1", "other": "two:2"},
    ),
    "one of them": ({"HOST/app": Access(Credentials("one", Secret("1")))}, {"app": "one:1", "other": "spec:pw"}),
    "the repository before the host": (
        {"HOST/app": Access(Credentials("one", Secret("1"))), "HOST": Access(Credentials("all", Secret("2")))},
        {"app": "one:1", "other": "all:2"},
    ),
    "a file of its own": ({"HOST/app": Access(auth_file=Path("FILE"))}, {"app": "file:pw", "other": "spec:pw"}),
    "nothing": ({}, {"app": "spec:pw", "other": "spec:pw"}),
}  # fmt: skip


@pytest.mark.parametrize(("said", "came"), SAID.values(), ids=SAID)
def test_access_of_the_command_line_overrides_the_spec_for_its_host_or_repository(
    user: Home, registry_log: LoginLog, said: dict[str, Access], came: dict[str, str]
) -> None:
    file = user.login("file.json", "file")
    access = {
        key.replace("HOST", user.host): replace(value, auth_file=file if value.auth_file else None)
        for key, value in said.items()
    }
    settings = HostSettings("spec", Secret("pw"), plain_http=True)

    async def ask() -> None:
        store = opener(Environment({user.host: settings}, user.variables, access))(user.host)
        try:
            for name in came:
                assert await store.repository(name).resolve(Tag("1")) is not None
        finally:
            await store.close()

    asyncio.run(ask())
    assert registry_log.logins == came


def test_anonymous_access_sends_no_stored_login(user: Home) -> None:
    user.login(".docker/config.json", "somebody")
    finder = CredentialFinder(Environment({}, user.variables, {f"{user.host}/app": Access(anonymous=True)}))
    assert finder(user.host, "app") is None
    assert finder(user.host, "other") is not None


def test_an_auth_file_for_a_host_is_the_only_one_read_for_it(user: Home) -> None:
    user.login(".docker/config.json", "somebody")
    empty = user.write("empty.json", {})
    finder = CredentialFinder(Environment({}, user.variables, {user.host: Access(auth_file=empty)}))
    assert finder(user.host, "app") is None


def test_a_registry_token_is_sent_unchanged_without_asking_a_token_service(tmp_path: Path) -> None:
    came = []

    def guard(asked: Asked) -> Reply | None:
        came.append((asked.path, asked.authorization))
        if asked.authorization != "Bearer given-token":
            return refusal(401, "UNAUTHORIZED", headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})
        return None

    registry = TinyRegistry(guard=guard)
    registry.hold("app", IMAGE, "1")
    with Unruly(registry) as server:
        realm = f"{server.url}/token"
        access = {f"{server.host}/app": Access(Credentials(registry_token=Secret("given-token")))}

        async def ask() -> None:
            store = opener(Environment({server.host: PLAIN}, {}, access))(server.host)
            try:
                assert await store.repository("app").resolve(Tag("1")) is not None
            finally:
                await store.close()

        asyncio.run(ask())
    assert not [path for path, _ in came if path.startswith("/token")]


def test_registry_auth_file_is_the_only_file_read(user: Home) -> None:
    user.login(".docker/config.json", "somebody")
    error = error_of(user, REGISTRY_AUTH_FILE=str(user.write("my.json", {"auths": {}})))
    assert isinstance(error, Unauthorized)


def test_the_next_file_is_read_if_one_has_no_entry_for_the_host(user: Home, registry_log: LoginLog) -> None:
    user.login(".config/containers/auth.json", "stranger", key="another.example")
    user.login(".docker/config.json", "somebody")
    assert login_sent(user, registry_log) == "somebody:pw"


@pytest.mark.parametrize(
    "key",
    [
        "{host}",
        "{host}/",
        "{host}/v1/",
        "{host}/v2/",
        "https://{host}",
        "https://{host}/",
        "https://{host}/v1/",
        "https://{host}/v2/",
        "https://{host}/v2",
        "https://{host}/v1/users/",
        "http://{host}",
        "http://{host}/",
        "http://{host}/v2/",
        "HTTPS://{host}",
    ],
)
def test_a_url_of_any_form_is_the_key_of_its_host(user: Home, registry_log: LoginLog, key: str) -> None:
    user.login(".docker/config.json", "somebody", key=key.replace("{host}", user.host))
    assert login_sent(user, registry_log) == "somebody:pw"


def test_the_key_without_a_scheme_comes_before_urls(user: Home, registry_log: LoginLog) -> None:
    keys = {f"http://{user.host}": "url", f"https://{user.host}/v1/": "old-docker", user.host: "plain"}
    user.write(".docker/config.json", {"auths": {key: {"auth": entry(name)} for key, name in keys.items()}})
    assert login_sent(user, registry_log) == "plain:pw"


@pytest.mark.parametrize("key", ["ftp://{host}", "{host}/v2", "{host}/other", "https://x/{host}", "://{host}"])
def test_other_keys_with_the_host_in_them_are_not_its_login(user: Home, key: str) -> None:
    user.login(".docker/config.json", "somebody", key=key.replace("{host}", user.host))
    assert isinstance(error_of(user), Unauthorized)


@pytest.mark.parametrize(("every", "end"), [(76, "\n"), (4, "\r\n"), (1, "\n"), (60, " \n")])
def test_an_entry_in_base64_with_line_breaks_is_read(user: Home, registry_log: LoginLog, every: int, end: str) -> None:
    """`base64` breaks lines, and `echo` adds one, on their way into a Kubernetes secret (kubernetes#85687)."""
    password = "secret" * 20
    encoded = entry("plain", password)
    broken = "".join(encoded[start : start + every] + end for start in range(0, len(encoded), every))
    user.write(".docker/config.json", {"auths": {user.host: {"auth": broken}}})
    assert login_sent(user, registry_log) == f"plain:{password}"


@pytest.mark.parametrize("more", [{}, {"auth": ""}, {"email": "me@corp.example"}])
def test_username_and_password_without_auth_are_read(user: Home, registry_log: LoginLog, more: dict[str, str]) -> None:
    """As written by Ansible and by hand (container-libs#249)."""
    user.write(".docker/config.json", {"auths": {user.host: {"username": "me", "password": "a:b", **more}}})
    assert login_sent(user, registry_log) == "me:a:b"


def test_auth_comes_before_username_and_password(user: Home, registry_log: LoginLog) -> None:
    members = {"auth": entry("one"), "username": "other", "password": "x"}
    user.write(".docker/config.json", {"auths": {user.host: members}})
    assert login_sent(user, registry_log) == "one:pw"


@pytest.mark.parametrize("members", [{"username": "me"}, {"password": "x"}, {"username": "me", "password": 5}])
def test_half_a_login_without_auth_is_no_login(user: Home, members: dict[str, Any]) -> None:
    user.write(".docker/config.json", {"auths": {user.host: members}})
    assert isinstance(error_of(user), Unauthorized)


def test_a_missing_auth_file_that_was_named_is_reported_with_the_401(user: Home) -> None:
    missing = user.home / "missing.json"
    error = error_of(user, REGISTRY_AUTH_FILE=str(missing))
    assert isinstance(error, Unauthorized)
    assert f"REGISTRY_AUTH_FILE names {missing}, which does not exist" in error.remedy
    assert "missing" not in error_of(user).remedy, "the usual files may be missing"


def test_a_missing_auth_file_of_the_access_options_is_reported_with_the_401(user: Home) -> None:
    missing = user.home / "missing.json"
    finder = CredentialFinder(Environment({}, user.variables, {user.host: Access(auth_file=missing)}))
    assert finder(user.host) is None
    (trouble,) = finder.troubles(user.host)
    assert f"{missing}, which does not exist" in trouble.remedy


def test_a_login_for_another_port_is_for_another_host(user: Home) -> None:
    host, _, port = user.host.partition(":")
    for key in (host, f"{host}:1", f"{host}:{port}0", f"x.{user.host}"):
        user.login(".docker/config.json", "somebody", key=key)
        error_of(user)


def test_an_entry_padded_with_nul_is_read_as_docker_reads_it(user: Home, registry_log: LoginLog) -> None:
    user.write(".docker/config.json", {"auths": {user.host: {"auth": entry("u", "pw\0\0")}}})
    assert login_sent(user, registry_log) == "u:pw"


def test_the_login_of_the_longest_namespace_is_sent(user: Home, registry_log: LoginLog) -> None:
    keys = {user.host: "all", f"{user.host}/team": "team", f"{user.host}/team/sub/app": "one"}
    user.write("auth.json", {"auths": {key: {"auth": entry(user)} for key, user in keys.items()}})
    variables = {**user.variables, "REGISTRY_AUTH_FILE": str(user.home / "auth.json")}

    async def everything(store: Store) -> None:
        for name in REPOSITORIES:
            assert await store.repository(name).resolve(Tag("1")) is not None

    ClientHarness(user.host, PLAIN, variables).run(everything)
    assert registry_log.logins == {
        "app": "all:pw",
        "team/app": "team:pw",
        "team/sub/app": "one:pw",
        "teamwork/app": "all:pw",
        "other": "all:pw",
    }


def test_the_login_of_the_longest_namespace_in_a_spec_is_sent(user: Home, registry_log: LoginLog) -> None:
    user.login(".config/containers/auth.json", "file")
    logins = {
        f"{user.host}/team": HostSettings("team", Secret("pw")),
        f"{user.host}/team/sub/app": HostSettings("one", Secret("pw")),
    }

    async def ask() -> None:
        store = opener(Environment({user.host: PLAIN, **logins}, user.variables))(user.host)
        try:
            for name in REPOSITORIES:
                assert await store.repository(name).resolve(Tag("1")) is not None
        finally:
            await store.close()

    asyncio.run(ask())
    assert registry_log.logins == {
        "app": "file:pw",
        "team/app": "team:pw",
        "team/sub/app": "one:pw",
        "teamwork/app": "file:pw",
        "other": "file:pw",
    }


def test_an_unusable_password_file_of_a_namespace_is_named_with_it(user: Home) -> None:
    settings = HostSettings("u", password_file=str(user.home / "missing"))
    finder = CredentialFinder(Environment({f"{user.host}/team": settings}, user.variables))
    with pytest.raises(UsageError, match=f"of {user.host}/team cannot be read"):
        finder(user.host, "team/app")


def test_a_login_for_one_namespace_is_not_sent_for_another(user: Home, registry_log: LoginLog) -> None:
    user.login(".config/containers/auth.json", "team", key=f"{user.host}/team")
    harness = ClientHarness(user.host, PLAIN, user.variables)
    assert harness.resolve("1", "team/app") is not None
    with pytest.raises(Unauthorized):
        harness.resolve("1", "app")
    assert registry_log.logins == {"team/app": "team:pw"}


def test_a_credential_helper_for_the_host_is_run_by_dockers_protocol(user: Home, registry_log: LoginLog) -> None:
    user.helper("corp", answer("helped"))
    user.write(".docker/config.json", {"credHelpers": {user.host: "corp"}})
    assert login_sent(user, registry_log) == "helped:pw"
    assert user.helped == [f"get {user.host}"]


def test_a_credential_helper_for_the_host_overrides_the_entry_of_the_file(user: Home, registry_log: LoginLog) -> None:
    user.helper("corp", answer("helped"))
    user.login(".docker/config.json", "somebody", credHelpers={user.host: "corp"})
    assert login_sent(user, registry_log) == "helped:pw"


def test_the_helper_of_creds_store_is_run(user: Home, registry_log: LoginLog) -> None:
    user.helper("keychain", answer("kept"))
    user.write(".docker/config.json", {"auths": {user.host: {}}, "credsStore": "keychain"})
    assert login_sent(user, registry_log) == "kept:pw"


def test_a_credential_helper_is_run_once_for_many_repositories(user: Home) -> None:
    user.helper("keychain", answer("kept"))
    user.write(".docker/config.json", {"credsStore": "keychain"})

    async def everything(store: Store) -> None:
        for name in REPOSITORIES:
            assert await store.repository(name).resolve(Tag("1")) is not None

    ClientHarness(user.host, PLAIN, user.variables).run(everything)
    assert len(user.helped) == 1


def test_access_is_anonymous_if_the_credential_helper_has_no_login(user: Home) -> None:
    user.helper("keychain", "echo 'credentials not found in native keychain'; exit 1")
    user.write(".docker/config.json", {"credsStore": "keychain"})
    assert isinstance(error_of(user), Unauthorized)


def test_an_identity_token_of_a_credential_helper_is_not_sent_as_a_password(user: Home, registry_log: LoginLog) -> None:
    user.helper("keychain", answer("<token>", "canary-identity"))
    user.write(".docker/config.json", {"credsStore": "keychain"})
    error = error_of(user)
    assert isinstance(error, Unauthorized)
    assert registry_log.logins == {}
    assert "canary" not in f"{error} {error!r} {error.remedy}"


ENDLESS = {
    "on stdout": "while :; do printf '%65536s' canary; done",
    "on stderr": "while :; do printf '%65536s' canary >&2; done",
    "on both": "while :; do printf '%65536s' canary; printf '%65536s' canary >&2; done",
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS)
def test_a_credential_helper_with_endless_output_is_killed(user: Home, script: str) -> None:
    user.helper("keychain", f'echo $$ > "{user.home}/pid"\n{script}')
    user.write(".docker/config.json", {"credsStore": "keychain"})
    assert "sent more than 1048576 bytes" in error_of(user).message
    with pytest.raises(ProcessLookupError):
        os.kill(int((user.home / "pid").read_text()), 0)


def test_stderr_of_a_credential_helper_is_read_and_ignored(user: Home, registry_log: LoginLog) -> None:
    """More bytes than a pipe holds: if nothing read them, the helper would block for ever."""
    user.helper("keychain", f"printf '%200000s' warning >&2\n{answer('helped')}")
    user.write(".docker/config.json", {"credsStore": "keychain"})
    assert login_sent(user, registry_log) == "helped:pw"


def test_a_credential_helper_may_answer_without_reading_stdin(user: Home, registry_log: LoginLog) -> None:
    path = user.home / "bin" / "docker-credential-deaf"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nexec 0<&-\n{answer('helped')}\n")
    path.chmod(0o755)
    user.write(".docker/config.json", {"credsStore": "deaf"})
    assert login_sent(user, registry_log) == "helped:pw"


FAILING: dict[str, tuple[str, str]] = {
    "stdout": (
        "echo 'gpg: decryption failed: No secret key'; exit 1",
        "docker-credential-pass failed: gpg: decryption failed: No secret key",
    ),
    "stderr": ("echo 'exit status 2: locked' >&2; exit 1", "docker-credential-pass failed: exit status 2: locked"),
    "several lines": ("printf 'gpg: one\ngpg: two\n'; exit 2", "docker-credential-pass failed: gpg: one gpg: two"),
    "a crash": ("kill -SEGV $$", "docker-credential-pass failed: signal 11"),
    "an exit code alone": ("exit 3", "docker-credential-pass failed: exit code 3"),
    "chatter before its JSON": (
        f"echo 'A new version is available'; {answer('u', 'canary')}",
        "docker-credential-pass returned invalid JSON: A new version is available",
    ),
    "a Python traceback": (
        "echo 'ModuleNotFoundError: keyring' >&2; echo canary",
        "docker-credential-pass returned invalid JSON: ModuleNotFoundError: keyring",
    ),
}


@pytest.mark.parametrize(("script", "said"), FAILING.values(), ids=FAILING)
@pytest.mark.parametrize("member", ["credsStore", "credHelpers"])
def test_the_words_of_a_failing_credential_helper_are_reported_with_the_401(
    user: Home, script: str, said: str, member: str
) -> None:
    user.helper("pass", script)
    path = user.write(".docker/config.json", {member: "pass" if member == "credsStore" else {user.host: "pass"}})
    error = error_of(user)
    assert isinstance(error, Unauthorized)
    assert said in error.message
    assert f"remove it from {path}" in error.remedy
    assert "canary" not in f"{error} {error.remedy}"
    assert len(user.helped) == 1, "it may ask for a passphrase each time"


@pytest.mark.parametrize(
    "script",
    [
        "echo 'credentials not found in native keychain'; exit 1",
        "echo 'Credentials not found' >&2; exit 1",
        "exit 1",
        "exit 0",
        answer("", ""),
    ],
)
def test_a_missing_login_is_not_a_failure_of_the_helper(user: Home, script: str) -> None:
    user.helper("pass", script)
    user.write(".docker/config.json", {"credsStore": "pass"})
    error = error_of(user)
    assert isinstance(error, Unauthorized)
    assert error.remedy == Unauthorized.default_remedy
    assert "docker-credential-pass" not in error.message


def test_a_failing_credential_helper_does_not_hide_the_login_of_the_next_file(
    user: Home, registry_log: LoginLog
) -> None:
    user.helper("pass", "exit 2")
    user.write(".config/containers/auth.json", {"credHelpers": {user.host: "pass"}})
    user.login(".docker/config.json", "somebody")
    assert login_sent(user, registry_log) == "somebody:pw"


def test_a_public_image_needs_no_credential_helper_that_works(user: Home) -> None:
    """docker.io asks for a token also for what everyone may read (cog#2588)."""
    given = "anonymous-token"

    def guard(asked: Asked) -> Reply | None:
        if asked.path.startswith("/token"):
            return Reply(body=json.dumps({"token": given}).encode())
        if asked.authorization != f"Bearer {given}":
            return refusal(401, "UNAUTHORIZED", headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})
        return None

    registry = TinyRegistry(guard=guard)
    registry.hold("app", IMAGE, "1")
    with Unruly(registry) as server:
        realm = f"{server.url}/token"
        public = Home(user.home, server.host)
        public.helper("desktop", "kill -SEGV $$")
        public.write(".docker/config.json", {"credsStore": "desktop"})
        assert ClientHarness(server.host, PLAIN, public.variables).resolve("1") is not None
        assert public.helped == [f"get {server.host}"]


BROKEN_HELPERS: dict[str, tuple[Mapping[str, Any], str, type[MirrorsyncError]]] = {
    "it is not installed": ({"credsStore": "absent"}, "docker-credential-absent is not installed", Unauthorized),
    "its answer is not JSON": ({"credsStore": "odd"}, "returned invalid JSON", Unauthorized),
    "its name is a path": ({"credsStore": "../../bin/sh"}, "is not a valid name of a credential helper", UsageError),
    "its name is an option": ({"credsStore": "a b"}, "is not a valid name of a credential helper", UsageError),
    "it cannot be run": ({"credsStore": "noexec"}, "docker-credential-noexec", Unauthorized),
}


@pytest.mark.parametrize(("document", "said", "kind"), BROKEN_HELPERS.values(), ids=BROKEN_HELPERS)
def test_an_unusable_credential_helper_is_named_in_the_error(
    user: Home, document: Mapping[str, Any], said: str, kind: type[MirrorsyncError]
) -> None:
    user.helper("odd", "echo canary-nonsense")
    user.helper("noexec", "")
    (user.home / "bin/docker-credential-noexec").write_bytes(b"\x7fELF garbage")
    user.write(".docker/config.json", document)
    error = error_of(user)
    assert isinstance(error, kind)
    assert said in error.message
    assert "canary" not in str(error)


BROKEN_FILES: dict[str, bytes] = {
    "no json": b"{auths: {}",
    "a list": b"[]",
    "a string": b'"x"',
    "binary": b"\xff\xfe\x00\x01",
    "nested too deep": b'{"auths": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_damaged_auth_file_is_named_in_the_error_and_not_skipped(user: Home, content: bytes) -> None:
    path = user.write(".config/containers/auth.json", content)
    user.login(".docker/config.json", "somebody")
    error = error_of(user)
    assert isinstance(error, UsageError)
    assert str(path) in error.message
    assert "log in again" in error.remedy


@pytest.mark.parametrize("auth", ["%%%", "bm8gY29sb24=", base64.b64encode(b"\xff:\xfe").decode(), "YTp"])
def test_a_damaged_entry_is_reported_without_its_content(user: Home, auth: str) -> None:
    path = user.write(".docker/config.json", {"auths": {user.host: {"auth": auth}}})
    error = error_of(user)
    assert f"{path} has an invalid entry for {user.host}" in error.message
    assert auth not in str(error)


def test_a_damaged_entry_of_another_host_is_ignored(user: Home, registry_log: LoginLog) -> None:
    auths = {"another.example": {"auth": "%%%"}, user.host: {"auth": entry("somebody")}}
    user.write(".docker/config.json", {"auths": auths})
    assert login_sent(user, registry_log) == "somebody:pw"


ODD: dict[str, Mapping[str, Any]] = {
    "null": {"auths": None, "credHelpers": None, "credsStore": None},
    "lists": {"auths": [], "credHelpers": [], "credsStore": []},
    "an empty entry": {"auths": {"HOST": {}}},
    "an entry that is none": {"auths": {"HOST": "x"}},
    "an auth that is none": {"auths": {"HOST": {"auth": 5}}},
    "an empty auth": {"auths": {"HOST": {"auth": ""}}},
    "no name of a helper": {"credHelpers": {"HOST": 5}, "credsStore": ""},
    "nothing": {},
}


@pytest.mark.parametrize("document", ODD.values(), ids=ODD)
def test_a_file_without_a_login_for_the_host_means_anonymous_access(user: Home, document: Mapping[str, Any]) -> None:
    user.write(".docker/config.json", json.dumps(document).replace("HOST", user.host).encode())
    assert isinstance(error_of(user), Unauthorized)


def test_an_empty_auth_file_is_valid(user: Home) -> None:
    user.write(".docker/config.json", b"")
    assert isinstance(error_of(user), Unauthorized)


def test_an_unreadable_auth_file_is_named_in_the_error(user: Home) -> None:
    (user.home / ".docker/config.json").mkdir(parents=True)
    error = error_of(user)
    assert isinstance(error, StorageError)
    assert ".docker/config.json cannot be read" in error.message


def test_auth_files_are_not_read_for_a_registry_that_needs_no_login(tmp_path: Path) -> None:
    user = Home(tmp_path, "")
    user.write(".docker/config.json", b"damaged")
    open_registry = TinyRegistry()
    open_registry.hold("app", IMAGE, "1")
    with Unruly(open_registry) as server:
        assert ClientHarness(server.host, PLAIN, user.variables).resolve("1") is not None


@pytest.mark.parametrize(
    "key",
    [
        "docker.io",
        "https://index.docker.io/v1/",
        "index.docker.io",
        "http://index.docker.io/v1",
        "https://docker.io/",
        "registry-1.docker.io",
        "docker.io/library",
    ],
)
def test_docker_hub_has_several_names(tmp_path: Path, key: str) -> None:
    from tests.parts.certificates import Authority
    from tests.parts.forward_proxy import ForwardProxy

    registry_log = LoginLog()
    registry = TinyRegistry(guard=registry_log.guard)
    registry.hold("library/app", IMAGE, "1")
    authority = Authority(tmp_path)
    user = Home(tmp_path, "docker.io")
    user.login(".docker/config.json", "hub-user", key=key)
    tls = authority.issue("hub", "DNS:registry-1.docker.io").server()
    with Unruly(registry, tls=tls) as server, ForwardProxy({"registry-1.docker.io:443": server.host}) as proxy:
        settings = HostSettings(ca_file=str(authority.path))
        harness = ClientHarness("docker.io", settings, {**user.variables, "HTTPS_PROXY": proxy.url})
        assert harness.resolve("1", "library/app") is not None
    assert registry_log.logins["library/app"] == "hub-user:pw"


def test_basic_authentication_is_encoded_as_in_rfc_7617() -> None:
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
