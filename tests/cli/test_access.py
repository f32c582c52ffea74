"""The options for credentials and host settings, of every command that has them."""

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


class CommandLine:
    """The options that a command got from its command line, and its stderr."""

    def __init__(
        self, *words: str, locations: tuple[str, str] = ("a.example/app", "b.example/app"), **env: str
    ) -> None:
        self.reached = Environment()

        @click.command()
        @access_options(SOURCE, "source")
        @access_options(DESTINATION, "destination")
        @retry_option
        @verb
        def command(
            console: Console, source: AccessOptions, destination: AccessOptions, retry_times: int | None
        ) -> None:
            sides = [_location(text) for text in locations]
            ends = [(sides[0], source), (sides[1], destination)]
            self.reached = environment_of(console, ends, retry_times, env)

        self.result = CliRunner().invoke(command, words)
        self.output = self.result.output
        self.error = self.result.exception

    def credentials(self, host: str, repository: str = "app") -> str | None:
        """Return the credentials for a location, with the password."""
        found = CredentialFinder(self.reached)(host, repository)
        return f"{found.username}:{found.password.reveal()}" if found else None


def _location(text: str) -> Location:
    store, _, repository = text.rpartition("/") if ":/" not in text else (text, "", "")
    return Location(store, repository)


def parsed(*words: str, **more: Any) -> CommandLine:
    """Return the options of a valid command line."""
    found = CommandLine(*words, **more)
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
def test_source_and_destination_have_their_own_credentials(words: tuple[str, ...], env: dict[str, str]) -> None:
    found = parsed(*words, **env)
    assert (found.credentials("a.example"), found.credentials("b.example")) == ("one:1", "two:2")
    assert "1" not in repr(found.reached.access["a.example/app"].credentials)


def test_source_and_destination_can_be_one_host_with_different_credentials() -> None:
    found = parsed("--screds", "one:1", "--dcreds", "two:2", locations=("a.example/app", "a.example/mirror"))
    assert (found.credentials("a.example"), found.credentials("a.example", "mirror")) == ("one:1", "two:2")


def test_credentials_of_one_end_are_not_used_for_the_other() -> None:
    found = parsed("--screds", "one:1", locations=("a.example/app", "a.example/mirror"))
    assert (found.credentials("a.example"), found.credentials("a.example", "mirror")) == ("one:1", None)


def test_a_password_can_contain_a_colon() -> None:
    assert parsed("--screds", "one:1:2").credentials("a.example") == "one:1:2"


def test_a_password_on_the_command_line_is_used_with_one_warning() -> None:
    found = parsed("--screds", "one:canary")
    assert found.output.count("can be read by every user of this machine") == 1
    assert "MIRRORSYNC_SRC_PASSWORD" in found.output
    assert "canary" not in found.output
    assert "every user" not in parsed("--screds", "one", MIRRORSYNC_SRC_PASSWORD="canary").output


def test_the_password_of_one_end_is_not_used_for_the_other() -> None:
    error = CommandLine("--dcreds", "two", MIRRORSYNC_SRC_PASSWORD="canary", MIRRORSYNC_PASSWORD="canary").error
    assert isinstance(error, UsageError)
    assert "missing password for two at b.example" in error.message
    assert "MIRRORSYNC_DEST_PASSWORD" in error.remedy


def test_each_end_can_have_its_own_auth_file(tmp_path: Path) -> None:
    for name, auth in (("one", "b25lOjE="), ("two", "dHdvOjI=")):
        (tmp_path / name).write_text(json.dumps({"auths": {"a.example": {"auth": auth}}}))
    found = parsed(
        "--src-authfile", str(tmp_path / "one"), "--dest-authfile", str(tmp_path / "two"),
        locations=("a.example/app", "a.example/mirror"),
    )  # fmt: skip
    assert (found.credentials("a.example"), found.credentials("a.example", "mirror")) == ("one:1", "two:2")


def test_no_creds_ignores_a_stored_login(tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    file.write_text('{"auths": {"a.example": {"auth": "b25lOjE="}}}')
    variables = {"REGISTRY_AUTH_FILE": str(file)}
    assert parsed(**variables).credentials("a.example") == "one:1"
    assert parsed("--src-no-creds", **variables).credentials("a.example") is None


@pytest.mark.parametrize("env", [{}, {"MIRRORSYNC_SRC_REGISTRY_TOKEN": "canary-token"}])
def test_a_token_comes_from_the_option_or_the_environment(env: dict[str, str]) -> None:
    words = () if env else ("--src-registry-token", "canary-token")
    found = parsed(*words, **env)
    credentials = found.reached.access["a.example/app"].credentials
    assert credentials is not None
    assert credentials.registry_token.reveal() == "canary-token"
    assert "canary" not in f"{found.reached} {found.output}"
    assert set(found.reached.access) == {"a.example/app"}


def test_credentials_on_the_command_line_override_a_token_in_the_environment() -> None:
    assert parsed("--screds", "one:1", MIRRORSYNC_SRC_REGISTRY_TOKEN="t").credentials("a.example") == "one:1"


WRONG: Mapping[str, tuple[tuple[str, ...], str]] = {
    "credentials and no credentials": (
        ("--screds", "a:canary", "--src-no-creds"),
        "--src-creds and --src-no-creds contradict",
    ),
    "an account twice": (("--screds", "a:canary", "--src-username", "b"), "--src-creds and --src-username contradict"),
    "an account and a token": (("--screds", "a:canary", "--src-registry-token", "canary"), "contradict"),
    "a token with a line break": (
        ("--src-registry-token", "canary\nX: y"),
        "contains characters that a token cannot have",
    ),
    "an empty token": (("--src-registry-token", ""), "--src-registry-token is empty"),
    "a missing file": (("--src-authfile", "none.json"), "auth file none.json does not exist"),
    "missing certificates": (("--dest-cert-dir", "none"), "--dest-cert-dir none is not a directory"),
    "no name": (("--screds", ":canary"), "missing username before"),
    "a name with a line break": (("--screds", "a\nb:canary"), "is not a username"),
    "a password by itself": (("--src-password", "canary"), "--src-password is not supported"),
    "neither true nor false": (("--src-tls-verify", "perhaps"), "--src-tls-verify"),
    "too many times": (("--retry-times", "1000"), "--retry-times"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG)
def test_invalid_credentials_are_rejected_without_repeating_a_secret(words: tuple[str, ...], said: str) -> None:
    found = CommandLine(*words)
    shown = found.error.message if isinstance(found.error, MirrorsyncError) else found.output
    assert found.result.exit_code != 0
    assert said in shown
    assert "canary" not in f"{shown} {found.output}"


def test_contradicting_options_for_one_host_are_rejected() -> None:
    error = CommandLine("--screds", "a:1", "--dcreds", "b:2", locations=("a.example/app", "a.example/app")).error
    assert isinstance(error, UsageError)
    assert "a.example/app" in error.message
    parsed("--screds", "a:1", "--dcreds", "a:1", locations=("a.example/app", "a.example/app"))


def test_registry_options_for_other_stores_are_ignored_with_a_notice() -> None:
    found = parsed("--screds", "a:1", "--src-tls-verify=false", locations=("oci:/srv/app", "b.example/app"))
    assert "--src-creds, --src-tls-verify: ignored, since oci:/srv/app is not a registry" in found.output
    assert (found.reached.hosts, found.reached.access) == ({}, {})


def test_the_daemon_host_of_one_end_is_used() -> None:
    assert parsed("--src-daemon-host", "unix:///x").reached.daemon_host == "unix:///x"
    assert isinstance(
        CommandLine("--src-daemon-host", "unix:///x", "--dest-daemon-host", "unix:///y").error, UsageError
    )


def test_without_options_there_are_no_credentials_and_no_prompt() -> None:
    found = parsed()
    assert (found.reached.hosts, found.reached.access) == ({}, {})
    assert (found.output, found.reached.retries) == ("", None)


def ask(found: CommandLine, host: str, name: str = "app") -> RecordedEvents:
    """Make a request to a registry with the options; return the recorded events."""
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
def test_tls_verify_false_accepts_any_certificate(tls_registry: Locked, word: str) -> None:
    place = f"{tls_registry.host}/app"
    found = parsed(
        f"--src-tls-verify={word}", "--screds", "operator:s3cret-of-operator", locations=(place, "b.example/x")
    )
    assert ask(found, tls_registry.host).notices == []


def test_tls_verify_false_falls_back_to_plain_http(registry: DockerRegistry, unique: str) -> None:
    Registry(registry.host).push(f"{unique}/app", image([b"x"]), "1")
    found = parsed("--src-tls-verify=false", locations=(f"{registry.host}/app", "b.example/x"))
    told = [f"{registry.host}: speaks no TLS: everything, passwords too, can be read on the way"]
    assert ask(found, registry.host, f"{unique}/app").notices == told


@pytest.mark.parametrize("words", [(), ("--src-tls-verify=true",)])
def test_plain_http_is_never_used_while_tls_is_verified(registry: DockerRegistry, words: tuple[str, ...]) -> None:
    found = parsed(*words, locations=(f"{registry.host}/app", "b.example/x"))
    with pytest.raises(MirrorsyncError, match="the host does not speak TLS") as caught:
        ask(found, registry.host)
    assert "--tls-verify=false" in caught.value.remedy


def test_a_directory_of_certificates_is_trusted(tls_registry: Locked, tmp_path: Path) -> None:
    assert tls_registry.ca_file is not None
    (tmp_path / "ca.crt").write_bytes(tls_registry.ca_file.read_bytes())
    words = ("--src-cert-dir", str(tmp_path), "--screds", "operator:s3cret-of-operator")
    ask(parsed(*words, locations=(f"{tls_registry.host}/app", "b.example/x")), tls_registry.host)


@pytest.mark.parametrize("named", ["localhost", "localhost:{port}"])
def test_a_realm_host_gets_the_password(named: str) -> None:
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
        ask(parsed(*words, locations=place), server.host)
        said = [one.authorization for one in service.seen.requests]
    assert said == ["Basic YTox"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_retry_times_limits_the_retries_of_a_request(attempts: int) -> None:
    with Unruly(TinyRegistry(), clock=Time()) as server:
        server.fault("answer", "*", "/v2/app", status=503)
        words = ("--src-tls-verify=no", "--retry-times", str(attempts - 1))
        found = parsed(*words, locations=(f"{server.host}/app", "b.example/x"))
        with pytest.raises(MirrorsyncError):
            ask(found, server.host)
        asked = [one for one in server.seen.requests if "/app" in one.path]
    assert len(asked) == attempts
    assert parsed("--retry-times", "2").reached.retries == 2


def test_a_wrong_password_is_reported(tls_registry: Locked) -> None:
    place = (f"{tls_registry.host}/app", "b.example/x")
    found = parsed("--src-tls-verify=false", "--screds", "operator:canary", locations=place)
    with pytest.raises(Unauthorized) as caught:
        ask(found, tls_registry.host)
    assert "canary" not in f"{caught.value} {caught.value.remedy}"
