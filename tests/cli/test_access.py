"""The options for who asks and how a host is reached, as every command that has them takes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mirrorsync.cli.options.access import (
    DESTINATION,
    SOURCE,
    AccessOptions,
    access_options,
    environment_of,
    retry_option,
)
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.credentials.finder import CredentialFinder
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, Unauthorized, UsageError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.stores.open import opener
from tests.conftest import Locked
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry
from tests.stores.registry.asking import RecordedEvents, Time


class Came:
    """What a command got of its command line, and what it was told on stderr."""

    def __init__(self, *words: str, places: tuple[str, str] = ("a.example/app", "b.example/app"), **env: str) -> None:
        self.reached = Environment()

        @click.command()
        @access_options(SOURCE, "source")
        @access_options(DESTINATION, "destination")
        @retry_option
        @verb
        def command(
            console: Console, source: AccessOptions, destination: AccessOptions, retry_times: int | None
        ) -> None:
            locations = [_location(place) for place in places]
            ends = [(locations[0], source), (locations[1], destination)]
            self.reached = environment_of(console, ends, retry_times, env)

        self.result = CliRunner().invoke(command, words)
        self.output = self.result.output
        self.error = self.result.exception

    def who(self, host: str, repository: str = "app") -> str | None:
        """Return who would ask there, with the password."""
        found = CredentialFinder(self.reached)(host, repository)
        return f"{found.username}:{found.password.reveal()}" if found else None


def _location(text: str) -> Location:
    store, _, repository = text.rpartition("/") if ":/" not in text else (text, "", "")
    return Location(store, repository)


def came(*words: str, **more: Any) -> Came:
    """Return what came of a command line that is right."""
    found = Came(*words, **more)
    assert found.error is None, found.output
    return found


SIDES: Mapping[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "in the option": (("--src-creds", "one:1", "--dest-creds", "two:2"), {}),
    "by skopeo's short names": (("--screds", "one:1", "--dcreds", "two:2"), {}),
    "from the environment": (
        ("--src-creds", "one", "--dest-creds", "two"),
        {"MIRRORSYNC_SRC_PASSWORD": "1", "MIRRORSYNC_DEST_PASSWORD": "2"},
    ),
    "by username": (
        ("--src-username", "one", "--dest-username", "two"),
        {"MIRRORSYNC_SRC_PASSWORD": "1", "MIRRORSYNC_DEST_PASSWORD": "2"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "env"), SIDES.values(), ids=SIDES)
def test_each_end_has_an_account_of_its_own(words: tuple[str, ...], env: dict[str, str]) -> None:
    found = came(*words, **env)
    assert (found.who("a.example"), found.who("b.example")) == ("one:1", "two:2")
    assert "1" not in repr(found.reached.access["a.example/app"].credentials)


def test_both_ends_may_be_one_host_with_two_accounts() -> None:
    found = came("--screds", "one:1", "--dcreds", "two:2", places=("a.example/app", "a.example/mirror"))
    assert (found.who("a.example"), found.who("a.example", "mirror")) == ("one:1", "two:2")


def test_an_account_of_one_end_is_not_the_other_ends() -> None:
    found = came("--screds", "one:1", places=("a.example/app", "a.example/mirror"))
    assert (found.who("a.example"), found.who("a.example", "mirror")) == ("one:1", None)


def test_a_colon_belongs_to_the_password() -> None:
    assert came("--screds", "one:1:2").who("a.example") == "one:1:2"


def test_a_password_on_the_command_line_is_taken_and_warned_of_once() -> None:
    found = came("--screds", "one:canary")
    assert found.output.count("can be read by every user of this machine") == 1
    assert "MIRRORSYNC_SRC_PASSWORD" in found.output
    assert "canary" not in found.output
    assert "every user" not in came("--screds", "one", MIRRORSYNC_SRC_PASSWORD="canary").output


def test_the_password_of_one_end_is_not_said_at_the_other() -> None:
    error = Came("--dcreds", "two", MIRRORSYNC_SRC_PASSWORD="canary", MIRRORSYNC_PASSWORD="canary").error
    assert isinstance(error, UsageError)
    assert "missing password for two at b.example" in error.message
    assert "MIRRORSYNC_DEST_PASSWORD" in error.remedy


def test_a_login_file_for_each_end(tmp_path: Path) -> None:
    for name, auth in (("one", "b25lOjE="), ("two", "dHdvOjI=")):
        (tmp_path / name).write_text(json.dumps({"auths": {"a.example": {"auth": auth}}}))
    found = came(
        "--src-authfile", str(tmp_path / "one"), "--dest-authfile", str(tmp_path / "two"),
        places=("a.example/app", "a.example/mirror"),
    )  # fmt: skip
    assert (found.who("a.example"), found.who("a.example", "mirror")) == ("one:1", "two:2")


def test_no_creds_hides_the_login_that_there_is(tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    file.write_text('{"auths": {"a.example": {"auth": "b25lOjE="}}}')
    variables = {"REGISTRY_AUTH_FILE": str(file)}
    assert came(**variables).who("a.example") == "one:1"
    assert came("--src-no-creds", **variables).who("a.example") is None


@pytest.mark.parametrize("env", [{}, {"MIRRORSYNC_SRC_REGISTRY_TOKEN": "canary-token"}])
def test_a_token_comes_from_the_option_or_the_environment(env: dict[str, str]) -> None:
    words = () if env else ("--src-registry-token", "canary-token")
    found = came(*words, **env)
    credentials = found.reached.access["a.example/app"].credentials
    assert credentials is not None
    assert credentials.registry_token.reveal() == "canary-token"
    assert "canary" not in f"{found.reached} {found.output}"
    assert set(found.reached.access) == {"a.example/app"}


def test_an_account_that_is_given_comes_before_a_token_of_the_environment() -> None:
    assert came("--screds", "one:1", MIRRORSYNC_SRC_REGISTRY_TOKEN="t").who("a.example") == "one:1"


WRONG: Mapping[str, tuple[tuple[str, ...], str]] = {
    "an account and none": (("--screds", "a:canary", "--src-no-creds"), "--src-creds and --src-no-creds contradict"),
    "an account twice": (("--screds", "a:canary", "--src-username", "b"), "--src-creds and --src-username contradict"),
    "an account and a token": (("--screds", "a:canary", "--src-registry-token", "canary"), "contradict"),
    "a token with a line break": (
        ("--src-registry-token", "canary\nX: y"),
        "contains characters that a token cannot have",
    ),
    "an empty token": (("--src-registry-token", ""), "--src-registry-token is empty"),
    "a file that is not there": (("--src-authfile", "none.json"), "auth file none.json does not exist"),
    "certificates that are not there": (("--dest-cert-dir", "none"), "--dest-cert-dir none is not a directory"),
    "no name": (("--screds", ":canary"), "missing username before"),
    "a name with a line break": (("--screds", "a\nb:canary"), "is not a username"),
    "a password by itself": (("--src-password", "canary"), "--src-password is not supported"),
    "neither true nor false": (("--src-tls-verify", "perhaps"), "--src-tls-verify"),
    "too many times": (("--retry-times", "1000"), "--retry-times"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_refused_and_no_secret_is_repeated(words: tuple[str, ...], said: str) -> None:
    found = Came(*words)
    shown = found.error.message if isinstance(found.error, MirrorsyncError) else found.output
    assert found.result.exit_code != 0
    assert said in shown
    assert "canary" not in f"{shown} {found.output}"


def test_two_ends_at_one_place_must_agree() -> None:
    error = Came("--screds", "a:1", "--dcreds", "b:2", places=("a.example/app", "a.example/app")).error
    assert isinstance(error, UsageError)
    assert "a.example/app" in error.message
    came("--screds", "a:1", "--dcreds", "a:1", places=("a.example/app", "a.example/app"))


def test_options_for_a_registry_say_that_they_do_nothing_elsewhere() -> None:
    found = came("--screds", "a:1", "--src-tls-verify=false", places=("oci:/srv/app", "b.example/app"))
    assert "--src-creds, --src-tls-verify: ignored, since oci:/srv/app is not a registry" in found.output
    assert (found.reached.hosts, found.reached.access) == ({}, {})


def test_the_daemon_of_one_end_is_the_daemon() -> None:
    assert came("--src-daemon-host", "unix:///x").reached.daemon_host == "unix:///x"
    assert isinstance(Came("--src-daemon-host", "unix:///x", "--dest-daemon-host", "unix:///y").error, UsageError)


def test_without_options_nothing_is_said_and_nothing_asked() -> None:
    found = came()
    assert (found.reached.hosts, found.reached.access) == ({}, {})
    assert (found.output, found.reached.retries) == ("", None)


def ask(found: Came, host: str, name: str = "app") -> RecordedEvents:
    """Ask a registry something, reached as the options say; return what was recorded meanwhile."""
    recorded = RecordedEvents()

    async def run() -> None:
        store = opener(replace(found.reached, observer=recorded, clock=Time().clock))(host)
        try:
            await store.repository(name).resolve(Tag("1"))
        finally:
            await store.close()

    asyncio.run(run())
    return recorded


@pytest.mark.parametrize("word", ["false", "0", "no"])
def test_without_verification_any_certificate_will_do(tls_registry: Locked, word: str) -> None:
    place = f"{tls_registry.host}/app"
    found = came(f"--src-tls-verify={word}", "--screds", "operator:s3cret-of-operator", places=(place, "b.example/x"))
    assert ask(found, tls_registry.host).notices == []


def test_without_verification_plain_http_will_do_where_there_is_no_tls(registry: DockerRegistry, unique: str) -> None:
    Registry(registry.host).push(f"{unique}/app", image([b"x"]), "1")
    found = came("--src-tls-verify=false", places=(f"{registry.host}/app", "b.example/x"))
    told = [f"{registry.host}: speaks no TLS: everything, passwords too, can be read on the way"]
    assert ask(found, registry.host, f"{unique}/app").notices == told


@pytest.mark.parametrize("words", [(), ("--src-tls-verify=true",)])
def test_with_verification_plain_http_is_never_spoken(registry: DockerRegistry, words: tuple[str, ...]) -> None:
    found = came(*words, places=(f"{registry.host}/app", "b.example/x"))
    with pytest.raises(MirrorsyncError, match="the host does not speak TLS") as caught:
        ask(found, registry.host)
    assert "--tls-verify=false" in caught.value.remedy


def test_a_directory_of_certificates_is_trusted(tls_registry: Locked, tmp_path: Path) -> None:
    assert tls_registry.ca_file is not None
    (tmp_path / "ca.crt").write_bytes(tls_registry.ca_file.read_bytes())
    words = ("--src-cert-dir", str(tmp_path), "--screds", "operator:s3cret-of-operator")
    ask(came(*words, places=(f"{tls_registry.host}/app", "b.example/x")), tls_registry.host)


@pytest.mark.parametrize("named", ["localhost", "localhost:{port}"])
def test_a_token_service_that_is_named_gets_the_password(named: str) -> None:
    registry = TinyRegistry()
    registry.hold("app", image([b"x"]), "1")
    with Unruly(TinyRegistry(), name="localhost") as service, Unruly(registry) as server:
        service.fault("answer", "GET", "/token", status=200, body=b'{"token": "t"}')
        challenge = {"WWW-Authenticate": f'Bearer realm="{service.url}/token"'}
        server.fault("answer", "*", "/v2/", hits=[1, 2], status=401, headers=challenge)  # of the probe, and then ours
        place = (f"{server.host}/app", "b.example/x")
        words = (
            "--src-realm-host",
            named.replace("{port}", str(service.port)),
            "--src-tls-verify=no",
            "--screds",
            "a:1",
        )
        ask(came(*words, places=place), server.host)
        said = [one.authorization for one in service.seen.requests]
    assert said == ["Basic YTox"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_request_is_tried_as_often_as_is_said(attempts: int) -> None:
    with Unruly(TinyRegistry(), clock=Time()) as server:
        server.fault("answer", "*", "/v2/app", status=503)
        words = ("--src-tls-verify=no", "--retry-times", str(attempts - 1))
        found = came(*words, places=(f"{server.host}/app", "b.example/x"))
        with pytest.raises(MirrorsyncError):
            ask(found, server.host)
        asked = [one for one in server.seen.requests if "/app" in one.path]
    assert len(asked) == attempts
    assert came("--retry-times", "2").reached.retries == 2


def test_a_wrong_password_is_refused_by_the_registry(tls_registry: Locked) -> None:
    place = (f"{tls_registry.host}/app", "b.example/x")
    found = came("--src-tls-verify=false", "--screds", "operator:canary", places=place)
    with pytest.raises(Unauthorized) as caught:
        ask(found, tls_registry.host)
    assert "canary" not in f"{caught.value} {caught.value.remedy}"
