"""Where credentials come from: the spec, the files that logins leave, and credential helpers."""

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
from mirrorsync.errors import MirrorsyncError, StorageError, Unauthorized, UsageError
from mirrorsync.hosts import Access, Credentials, HostSettings
from mirrorsync.secret import Secret
from mirrorsync.stores.base import Store
from mirrorsync.stores.registry.store import RegistryStore, Surroundings
from tests.parts.doorman import basic
from tests.parts.images import image, layer
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry, refusal
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, Shop

IMAGE = image([layer({"a": b"1"})])
REPOSITORIES = ("app", "team/app", "team/sub/app", "teamwork/app", "other")


@dataclass
class Witness:
    """A registry that takes anybody who says a name, and remembers who came for which repository."""

    came: dict[str, str] = field(default_factory=dict)

    def guard(self, asked: Asked) -> Reply | None:
        kind, _, encoded = asked.authorization.partition(" ")
        if kind != "Basic":
            return refusal(401, "UNAUTHORIZED", headers={"WWW-Authenticate": 'Basic realm="x"'})
        self.came[asked.path.partition("/v2/")[2].partition("/manifests/")[0]] = base64.b64decode(encoded).decode()
        return None


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def server(witness: Witness) -> Iterator[Unruly]:
    registry = TinyRegistry(guard=witness.guard)
    for name in REPOSITORIES:
        registry.hold(name, IMAGE, "1")
    with Unruly(registry) as running:
        yield running


@dataclass(frozen=True)
class Desk:
    """A home directory, with what logins leave in it."""

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
        """Put a credential helper on PATH; it notes what it was asked for."""
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
def desk(tmp_path: Path, server: Unruly) -> Desk:
    home = tmp_path / "home"
    home.mkdir()
    return Desk(home, server.host)


def who(desk: Desk, witness: Witness, settings: HostSettings = PLAIN, /, **variables: str) -> str:
    """Ask something; return who we said we are."""
    assert Shop(desk.host, settings, {**desk.variables, **variables}).resolve("1") is not None
    return witness.came["app"]


def refused(desk: Desk, settings: HostSettings = PLAIN, /, **variables: str) -> MirrorsyncError:
    with pytest.raises(MirrorsyncError) as caught:
        Shop(desk.host, settings, {**desk.variables, **variables}).resolve("1")
    assert caught.value.where == f"{desk.host}/app:1"
    return caught.value


def test_the_spec_comes_before_every_file(desk: Desk, witness: Witness) -> None:
    desk.login(".config/containers/auth.json", "from-file")
    settings = HostSettings("from-spec", Secret("p:w\u00e4"), plain_http=True)
    assert who(desk, witness, settings) == "from-spec:p:w\u00e4"


@pytest.mark.parametrize("content", ["pw", "pw\n", "pw\r\n", "pw\n\n"])
def test_a_password_file_may_end_with_a_line_break(desk: Desk, witness: Witness, content: str) -> None:
    path = desk.write("secret", content.encode())
    assert who(desk, witness, HostSettings("u", password_file=str(path), plain_http=True)) == "u:pw"


def test_a_space_in_a_password_file_is_part_of_the_password(desk: Desk, witness: Witness) -> None:
    path = desk.write("secret", b" p w ")
    assert who(desk, witness, HostSettings("u", password_file=str(path), plain_http=True)) == "u: p w "


@pytest.mark.parametrize("kind", ["missing", "empty", "only a line break", "a directory", "binary"])
def test_a_password_file_that_cannot_be_used_is_named(desk: Desk, kind: str) -> None:
    path = desk.home / "secret"
    contents = {"empty": b"", "only a line break": b"\n", "binary": b"\xff\xfe\x00"}
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "a directory":
        path.mkdir()
    error = refused(desk, HostSettings("u", password_file=str(path), plain_http=True))
    assert isinstance(error, UsageError)
    assert f"password_file {path} of {desk.host}" in error.message


def test_an_error_that_is_remembered_is_raised_as_a_copy_each_time(desk: Desk) -> None:
    settings = HostSettings("u", password_file=str(desk.home / "missing"))
    finder = CredentialFinder({desk.host: settings}, desk.variables)
    errors = []
    for _ in range(3):
        with pytest.raises(UsageError) as caught:
            finder(desk.host)
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


def placed(desk: Desk, variables: Mapping[str, str]) -> dict[str, str]:
    return {name: str(desk.home / path) for name, path in variables.items()}


@pytest.mark.parametrize(("path", "variables"), FILES.values(), ids=FILES)
def test_a_login_is_found_where_the_tools_leave_it(
    desk: Desk, witness: Witness, path: str, variables: Mapping[str, str]
) -> None:
    desk.login(path, "somebody")
    assert who(desk, witness, PLAIN, **placed(desk, variables)) == "somebody:pw"


def test_the_files_are_read_in_the_order_of_the_tools(desk: Desk, witness: Witness) -> None:
    order = ["run/containers/auth.json", "conf/containers/auth.json", "dock/config.json"]
    variables = placed(desk, {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "conf", "DOCKER_CONFIG": "dock"})
    for path in order:
        desk.login(path, path.partition("/")[0])
    for path in order:
        assert who(desk, witness, PLAIN, **variables) == f"{path.partition('/')[0]}:pw"
        (desk.home / path).unlink()
    refused(desk, PLAIN, **variables)


def found(desk: Desk, run: Path, repository: str = "", /, **variables: str) -> str | None:
    """Return who we would be, with podman's directory of logins somewhere else than /run."""
    credentials = CredentialFinder({}, {**desk.variables, **variables}, run_directory=run)(desk.host, repository)
    return credentials.username if credentials else None


def test_podman_without_a_runtime_directory_keeps_logins_under_the_users_number(desk: Desk, tmp_path: Path) -> None:
    """A session of cron, of su or of a container has no XDG_RUNTIME_DIR; containers-auth.json(5)."""
    run = tmp_path / "run-containers"
    desk.login(f"../run-containers/{os.getuid()}/auth.json", "number")
    desk.login(".config/containers/auth.json", "config")
    assert found(desk, run) == "number"
    (run / str(os.getuid()) / "auth.json").unlink()
    assert found(desk, run) == "config"


def test_a_runtime_directory_takes_the_place_of_the_users_number(desk: Desk, tmp_path: Path) -> None:
    run = tmp_path / "run-containers"
    desk.login(f"../run-containers/{os.getuid()}/auth.json", "number")
    (desk.home / "runtime").mkdir()
    assert found(desk, run, XDG_RUNTIME_DIR=str(desk.home / "runtime")) is None
    assert found(desk, run, REGISTRY_AUTH_FILE=str(desk.home / "none.json")) is None
    assert found(desk, run) == "number"


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
def test_what_the_command_line_says_comes_before_the_spec_at_its_own_place(
    desk: Desk, witness: Witness, said: dict[str, Access], came: dict[str, str]
) -> None:
    file = desk.login("file.json", "file")
    access = {
        key.replace("HOST", desk.host): replace(value, auth_file=file if value.auth_file else None)
        for key, value in said.items()
    }
    settings = HostSettings("spec", Secret("pw"), plain_http=True)

    async def ask() -> None:
        finder = CredentialFinder({desk.host: settings}, desk.variables, access)
        store = RegistryStore(desk.host, settings, Surroundings(finder))
        try:
            for name in came:
                assert await store.repository(name).resolve("1") is not None
        finally:
            await store.close()

    asyncio.run(ask())
    assert witness.came == came


def test_who_wants_to_be_nobody_shows_no_login_that_there_is(desk: Desk) -> None:
    desk.login(".docker/config.json", "somebody")
    finder = CredentialFinder({}, desk.variables, {f"{desk.host}/app": Access(anonymous=True)})
    assert finder(desk.host, "app") is None
    assert finder(desk.host, "other") is not None


def test_an_auth_file_for_one_place_is_the_only_one_there(desk: Desk) -> None:
    desk.login(".docker/config.json", "somebody")
    empty = desk.write("empty.json", {})
    finder = CredentialFinder({}, desk.variables, {desk.host: Access(auth_file=empty)})
    assert finder(desk.host, "app") is None


def test_a_token_for_the_registry_is_sent_as_it_is_and_no_token_service_is_asked(tmp_path: Path) -> None:
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
            store = RegistryStore(server.host, PLAIN, Surroundings(CredentialFinder({}, {}, access)))
            try:
                assert await store.repository("app").resolve("1") is not None
            finally:
                await store.close()

        asyncio.run(ask())
    assert not [path for path, _ in came if path.startswith("/token")]


def test_a_file_that_is_named_is_the_only_one(desk: Desk) -> None:
    desk.login(".docker/config.json", "somebody")
    error = refused(desk, REGISTRY_AUTH_FILE=str(desk.write("my.json", {"auths": {}})))
    assert isinstance(error, Unauthorized)


def test_a_file_without_the_host_gives_way_to_the_next(desk: Desk, witness: Witness) -> None:
    desk.login(".config/containers/auth.json", "stranger", key="another.example")
    desk.login(".docker/config.json", "somebody")
    assert who(desk, witness) == "somebody:pw"


@pytest.mark.parametrize("key", ["{host}", "https://{host}", "https://{host}/v1/", "https://{host}/v2/"])
def test_old_docker_wrote_urls_as_keys(desk: Desk, witness: Witness, key: str) -> None:
    desk.login(".docker/config.json", "somebody", key=key.replace("{host}", desk.host))
    assert who(desk, witness) == "somebody:pw"


def test_a_login_for_another_port_is_for_another_host(desk: Desk) -> None:
    host, _, port = desk.host.partition(":")
    for key in (host, f"{host}:1", f"{host}:{port}0", f"x.{desk.host}"):
        desk.login(".docker/config.json", "somebody", key=key)
        refused(desk)


def test_an_entry_that_is_padded_with_nul_is_read_as_docker_reads_it(desk: Desk, witness: Witness) -> None:
    desk.write(".docker/config.json", {"auths": {desk.host: {"auth": entry("u", "pw\0\0")}}})
    assert who(desk, witness) == "u:pw"


def test_logins_for_parts_of_a_registry_are_told_apart(desk: Desk, witness: Witness) -> None:
    keys = {desk.host: "all", f"{desk.host}/team": "team", f"{desk.host}/team/sub/app": "one"}
    desk.write("auth.json", {"auths": {key: {"auth": entry(user)} for key, user in keys.items()}})
    variables = {**desk.variables, "REGISTRY_AUTH_FILE": str(desk.home / "auth.json")}

    async def everything(store: Store) -> None:
        for name in REPOSITORIES:
            assert await store.repository(name).resolve("1") is not None

    Shop(desk.host, PLAIN, variables).run(everything)
    assert witness.came == {
        "app": "all:pw",
        "team/app": "team:pw",
        "team/sub/app": "one:pw",
        "teamwork/app": "all:pw",
        "other": "all:pw",
    }


def test_a_login_for_one_part_is_not_shown_for_another(desk: Desk, witness: Witness) -> None:
    desk.login(".config/containers/auth.json", "team", key=f"{desk.host}/team")
    shop = Shop(desk.host, PLAIN, desk.variables)
    assert shop.resolve("1", "team/app") is not None
    with pytest.raises(Unauthorized):
        shop.resolve("1", "app")
    assert witness.came == {"team/app": "team:pw"}


def test_a_helper_for_the_host_is_asked_by_dockers_protocol(desk: Desk, witness: Witness) -> None:
    desk.helper("corp", answer("helped"))
    desk.write(".docker/config.json", {"credHelpers": {desk.host: "corp"}})
    assert who(desk, witness) == "helped:pw"
    assert desk.helped == [f"get {desk.host}"]


def test_a_helper_for_the_host_comes_before_what_the_file_holds(desk: Desk, witness: Witness) -> None:
    desk.helper("corp", answer("helped"))
    desk.login(".docker/config.json", "somebody", credHelpers={desk.host: "corp"})
    assert who(desk, witness) == "helped:pw"


def test_a_store_of_credentials_is_asked(desk: Desk, witness: Witness) -> None:
    desk.helper("keychain", answer("kept"))
    desk.write(".docker/config.json", {"auths": {desk.host: {}}, "credsStore": "keychain"})
    assert who(desk, witness) == "kept:pw"


def test_a_helper_is_asked_once_for_many_repositories(desk: Desk) -> None:
    desk.helper("keychain", answer("kept"))
    desk.write(".docker/config.json", {"credsStore": "keychain"})

    async def everything(store: Store) -> None:
        for name in REPOSITORIES:
            assert await store.repository(name).resolve("1") is not None

    Shop(desk.host, PLAIN, desk.variables).run(everything)
    assert len(desk.helped) == 1


def test_a_helper_that_has_nothing_gives_way_to_anonymous(desk: Desk) -> None:
    desk.helper("keychain", "echo 'credentials not found in native keychain'; exit 1")
    desk.write(".docker/config.json", {"credsStore": "keychain"})
    assert isinstance(refused(desk), Unauthorized)


def test_a_helper_that_holds_an_identity_token_has_no_password_to_send(desk: Desk, witness: Witness) -> None:
    desk.helper("keychain", answer("<token>", "canary-identity"))
    desk.write(".docker/config.json", {"credsStore": "keychain"})
    error = refused(desk)
    assert isinstance(error, Unauthorized)
    assert witness.came == {}
    assert "canary" not in f"{error} {error!r} {error.remedy}"


ENDLESS = {
    "on stdout": "while :; do printf '%65536s' canary; done",
    "on stderr": "while :; do printf '%65536s' canary >&2; done",
    "on both": "while :; do printf '%65536s' canary; printf '%65536s' canary >&2; done",
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS)
def test_a_helper_that_does_not_stop_talking_is_ended(desk: Desk, script: str) -> None:
    desk.helper("keychain", f'echo $$ > "{desk.home}/pid"\n{script}')
    desk.write(".docker/config.json", {"credsStore": "keychain"})
    assert "gave an answer without end" in refused(desk).message
    with pytest.raises(ProcessLookupError):
        os.kill(int((desk.home / "pid").read_text()), 0)


def test_what_a_helper_says_besides_is_no_answer(desk: Desk, witness: Witness) -> None:
    """More than a pipe holds: a helper that is not listened to would wait for ever."""
    desk.helper("keychain", f"printf '%200000s' warning >&2\n{answer('helped')}")
    desk.write(".docker/config.json", {"credsStore": "keychain"})
    assert who(desk, witness) == "helped:pw"


def test_a_helper_that_does_not_listen_may_answer(desk: Desk, witness: Witness) -> None:
    path = desk.home / "bin" / "docker-credential-deaf"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nexec 0<&-\n{answer('helped')}\n")
    path.chmod(0o755)
    desk.write(".docker/config.json", {"credsStore": "deaf"})
    assert who(desk, witness) == "helped:pw"


BROKEN_HELPERS: dict[str, tuple[Mapping[str, Any], str]] = {
    "it is not installed": ({"credsStore": "absent"}, "docker-credential-absent is not installed"),
    "it says nonsense": ({"credsStore": "odd"}, "an answer that cannot be read"),
    "its name is a path": ({"credsStore": "../../bin/sh"}, "is no name of a credential helper"),
    "its name is an option": ({"credsStore": "a b"}, "is no name of a credential helper"),
    "it cannot be run": ({"credsStore": "noexec"}, "docker-credential-noexec"),
}


@pytest.mark.parametrize(("document", "said"), BROKEN_HELPERS.values(), ids=BROKEN_HELPERS)
def test_a_helper_that_cannot_be_used_is_named(desk: Desk, document: Mapping[str, Any], said: str) -> None:
    desk.helper("odd", "echo canary-nonsense")
    desk.helper("noexec", "")
    (desk.home / "bin/docker-credential-noexec").write_bytes(b"\x7fELF garbage")
    desk.write(".docker/config.json", document)
    error = refused(desk)
    assert isinstance(error, UsageError)
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
def test_a_damaged_file_is_named_and_not_passed_over(desk: Desk, content: bytes) -> None:
    path = desk.write(".config/containers/auth.json", content)
    desk.login(".docker/config.json", "somebody")
    error = refused(desk)
    assert isinstance(error, UsageError)
    assert str(path) in error.message
    assert "log in again" in error.remedy


@pytest.mark.parametrize("auth", ["%%%", "bm8gY29sb24=", base64.b64encode(b"\xff:\xfe").decode(), "YTp"])
def test_a_damaged_entry_is_named_without_what_it_holds(desk: Desk, auth: str) -> None:
    path = desk.write(".docker/config.json", {"auths": {desk.host: {"auth": auth}}})
    error = refused(desk)
    assert f"{path} has an entry for {desk.host} that cannot be read" in error.message
    assert auth not in str(error)


def test_a_damaged_entry_of_another_host_is_no_matter(desk: Desk, witness: Witness) -> None:
    auths = {"another.example": {"auth": "%%%"}, desk.host: {"auth": entry("somebody")}}
    desk.write(".docker/config.json", {"auths": auths})
    assert who(desk, witness) == "somebody:pw"


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
def test_a_file_that_says_nothing_about_the_host_is_no_error(desk: Desk, document: Mapping[str, Any]) -> None:
    desk.write(".docker/config.json", json.dumps(document).replace("HOST", desk.host).encode())
    assert isinstance(refused(desk), Unauthorized)


def test_an_empty_file_is_an_empty_file(desk: Desk) -> None:
    desk.write(".docker/config.json", b"")
    assert isinstance(refused(desk), Unauthorized)


def test_a_file_that_cannot_be_read_is_named(desk: Desk) -> None:
    (desk.home / ".docker/config.json").mkdir(parents=True)
    error = refused(desk)
    assert isinstance(error, StorageError)
    assert ".docker/config.json cannot be read" in error.message


def test_files_are_not_read_for_a_registry_that_lets_everybody_in(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "")
    desk.write(".docker/config.json", b"damaged")
    open_registry = TinyRegistry()
    open_registry.hold("app", IMAGE, "1")
    with Unruly(open_registry) as server:
        assert Shop(server.host, PLAIN, desk.variables).resolve("1") is not None


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "docker.io/library"])
def test_docker_hub_has_several_names(tmp_path: Path, key: str) -> None:
    from tests.parts.certificates import Authority
    from tests.parts.forward_proxy import ForwardProxy

    witness = Witness()
    registry = TinyRegistry(guard=witness.guard)
    registry.hold("library/app", IMAGE, "1")
    authority = Authority(tmp_path)
    desk = Desk(tmp_path, "docker.io")
    desk.login(".docker/config.json", "hub-user", key=key)
    tls = authority.issue("hub", "DNS:registry-1.docker.io").server()
    with Unruly(registry, tls=tls) as server, ForwardProxy({"registry-1.docker.io:443": server.host}) as proxy:
        settings = HostSettings(ca_file=str(authority.path))
        shop = Shop("docker.io", settings, {**desk.variables, "HTTPS_PROXY": proxy.url})
        assert shop.resolve("1", "library/app") is not None
    assert witness.came["library/app"] == "hub-user:pw"


def test_basic_is_what_the_standard_says() -> None:
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
