"""login and logout: checked with the host, stored where podman and skopeo read it, and the password nowhere else."""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import stat
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Locked
from tests.parts.credential_helper import CredentialHelper
from tests.parts.docker_registry import DockerRegistry
from tests.parts.mirrorsync import COMMAND, Done, Mirrorsync, program
from tests.parts.processes import free_port, run


class UserSession:
    """A user's session: a home, a runtime directory, and the tools that log in."""

    def __init__(self, mirrorsync: Mirrorsync) -> None:
        self._mirrorsync = mirrorsync
        self.home = mirrorsync.home
        self.runtime = mirrorsync.home / "runtime"
        self.runtime.mkdir()
        self.file = self.runtime / "containers" / "auth.json"
        self.variables = {"XDG_RUNTIME_DIR": str(self.runtime), "HOME": str(self.home)}

    def __call__(
        self,
        *words: str | Path,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        code: int | None = 0,
    ) -> Done:
        """Run mirrorsync with something on stdin."""
        done = subprocess.run(
            [program(), *map(str, words)], input=stdin, capture_output=True, text=True, timeout=120,
            cwd=self._mirrorsync.directory, env=self._mirrorsync.environment({**self.variables, **(env or {})}),
        )  # fmt: skip
        result = Done(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in result.err, result.err
        assert code is None or result.code == code, f"exit code {result.code}\n{result.out}\n{result.err}"
        return result

    def login(self, locked: Locked, *words: str | Path, password: str | None = None, code: int = 0) -> Done:
        """Log in with the password on stdin."""
        trust = ("--cert-dir", self.trust(locked)) if locked.ca_file else ("--tls-verify=false",)
        words = ("login", locked.host, "-u", locked.username, "--password-stdin", *trust, *words)
        done = self(*words, stdin=locked.password if password is None else password, code=code)
        assert locked.password not in done.out + done.err
        return done

    def trust(self, locked: Locked) -> Path:
        """Return a directory with the registry's CA certificate."""
        assert locked.ca_file is not None
        directory = self._mirrorsync.directory / "certs"
        directory.mkdir(exist_ok=True)
        (directory / "ca.crt").write_bytes(locked.ca_file.read_bytes())
        return directory

    def tool(self, *command: str | Path, stdin: str = "", check: bool = True) -> str:
        """Run podman or skopeo as this user."""
        done = subprocess.run(
            [str(word) for word in command], input=stdin, capture_output=True, text=True, timeout=120,
            env={"PATH": os.environ["PATH"], **self.variables},
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()


@pytest.fixture
def user(mirrorsync: Mirrorsync) -> UserSession:
    return UserSession(mirrorsync)


def test_a_login_is_checked_stored_and_used_by_podman_and_skopeo(user: UserSession, tls_registry: Locked) -> None:
    host = tls_registry.host
    done = user.login(tls_registry)
    assert done.out == f"logged in to {host} as operator; stored in {user.file}\n"
    assert "deleted at reboot" in done.err
    assert stat.S_IMODE(user.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(user.file.parent.stat().st_mode) == 0o700
    assert user.tool("podman", "login", "--get-login", host) == "operator"
    assert user.tool("skopeo", "login", "--get-login", host) == "operator"
    assert "Existing credentials are valid" in user.tool("podman", "login", "--tls-verify=false", host)
    assert user("login", "--get", host).out == "operator\n"


@pytest.mark.parametrize("tool", ["podman", "skopeo"])
def test_a_login_of_one_tool_is_read_and_removed_by_the_other(
    user: UserSession, tls_registry: Locked, tool: str
) -> None:
    host = tls_registry.host
    user.tool(
        tool, "login", "-u", "operator", "--password-stdin", "--tls-verify=false", host, stdin=tls_registry.password
    )
    assert user("login", "--get", host).out == "operator\n"
    assert user("logout", host).out == f"logged out of {host}\n"
    assert "operator" not in user.tool(tool, "login", "--get-login", host, check=False)
    user.login(tls_registry)
    user.tool(tool, "logout", host)
    user("login", "--get", host, code=1)


def test_a_login_with_a_token_service_is_checked(user: UserSession, token_registry: Locked) -> None:
    user.login(token_registry)
    assert user("login", "--get", token_registry.host).out == f"{token_registry.username}\n"


@pytest.mark.parametrize("kind", ["tls_registry", "token_registry"])
def test_a_wrong_password_exits_with_1_and_keeps_the_stored_login(
    user: UserSession, kind: str, request: pytest.FixtureRequest
) -> None:
    locked: Locked = request.getfixturevalue(kind)
    refused = user.login(locked, password="canary-wrong", code=1)
    assert locked.host in refused.err
    assert "check username and password" in refused.err
    assert not user.file.exists()
    user.login(locked)
    before = user.file.read_bytes()
    refused = user.login(locked, "--json", password="canary-wrong", code=1)
    assert refused.json()["kind"] == "mirrorsync.error"
    assert "canary" not in refused.out + refused.err
    assert user.file.read_bytes() == before


def test_a_login_that_the_registry_does_not_check_is_stored_with_a_notice(
    user: UserSession, registry: DockerRegistry
) -> None:
    words = ("login", registry.host, "-u", "me", "--password-stdin", "--tls-verify=false")
    done = user(*words, stdin="pw")
    assert "does not ask for a login, so this one was not checked" in done.err
    assert "speaks no TLS" in done.err
    document = user(*words, "--json", stdin="pw").json()
    assert document == {
        "kind": "mirrorsync.login", "version": 1, "host": registry.host, "namespace": "", "username": "me",
        "checked": False, "file": str(user.file), "helper": None,
    }  # fmt: skip


def test_a_quiet_login_prints_nothing(user: UserSession, token_registry: Locked) -> None:
    done = user.login(token_registry, "--quiet")
    assert (done.out, done.err) == ("", "")
    assert user("logout", token_registry.host, "-q").out == ""


def test_login_to_a_host_with_an_untrusted_certificate_stores_nothing(user: UserSession, tls_registry: Locked) -> None:
    refused = user("login", tls_registry.host, "-u", "me", "--password-stdin", stdin="canary", code=1)
    assert "its certificate is not trusted" in refused.err
    assert "--cert-dir" in refused.err
    assert not user.file.exists()


def test_login_accepts_any_certificate_with_tls_verify_false(user: UserSession, tls_registry: Locked) -> None:
    words = ("login", tls_registry.host, "-u", tls_registry.username, "--password-stdin", "--tls-verify=false")
    done = user(*words, stdin=tls_registry.password)
    assert "speaks no TLS" not in done.err


def test_the_directories_of_certificates_of_podman_are_read(user: UserSession, tls_registry: Locked) -> None:
    directory = user.home / ".config/containers/certs.d" / tls_registry.host
    directory.mkdir(parents=True)
    assert tls_registry.ca_file is not None
    (directory / "any.crt").write_bytes(tls_registry.ca_file.read_bytes())
    user("login", tls_registry.host, "-u", tls_registry.username, "--password-stdin", stdin=tls_registry.password)


@pytest.mark.parametrize("how", ["--authfile", "REGISTRY_AUTH_FILE"])
def test_a_login_is_stored_in_the_chosen_file(
    user: UserSession, token_registry: Locked, mirrorsync: Mirrorsync, how: str
) -> None:
    file = mirrorsync.directory / "etc" / "site.auth.json"
    words = ("login", token_registry.host, "-u", token_registry.username, "--password-stdin", "--tls-verify=false")
    named = ("--authfile", "etc/site.auth.json") if how == "--authfile" else ()
    env = {} if named else {how: str(file)}
    done = user(*words, *named, stdin=token_registry.password, env=env)
    assert str(file) in done.out
    assert "reboot" not in done.err
    assert not user.file.exists()
    assert run("podman", "login", "--get-login", "--authfile", file, token_registry.host).strip() == "robot"
    assert user("login", "--get", token_registry.host, *named, env=env).out == "robot\n"
    user("login", "--get", token_registry.host, code=1)
    user("logout", token_registry.host, *named, env=env)
    assert json.loads(file.read_text())["auths"] == {}


def test_an_auth_file_readable_by_others_is_made_private_with_a_notice(
    user: UserSession, token_registry: Locked, mirrorsync: Mirrorsync
) -> None:
    file = mirrorsync.directory / "open.json"
    file.write_text("{}")
    file.chmod(0o644)
    assert f"{file} was readable by other users" in user.login(token_registry, "--authfile", file).err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_namespace_has_its_own_login(user: UserSession, token_registry: Locked) -> None:
    host = token_registry.host
    words = ("-u", token_registry.username, "--password-stdin", "--tls-verify=false")
    user("login", f"{host}/team", *words, stdin=token_registry.password)
    assert user.tool("podman", "login", "--get-login", f"{host}/team") == "robot"
    assert user("login", "--get", f"{host}/team/app").out == "robot\n"
    assert f"not logged in to {host}" in user("login", "--get", host, code=1).err
    user("logout", host, code=1)
    user("logout", f"{host}/team")


def test_a_credential_helper_stores_the_login_and_gets_no_password_in_arguments(
    user: UserSession, token_registry: Locked, tmp_path: Path
) -> None:
    box = CredentialHelper(tmp_path / "box")
    user.variables.update(box.environment)
    user.file.parent.mkdir()
    user.file.write_text(json.dumps({"credHelpers": {token_registry.host: "box"}}))
    done = user.login(token_registry)
    assert "stored in docker-credential-box" in done.out
    assert box.stored() == {token_registry.host: (token_registry.username, token_registry.password)}
    assert user.tool("podman", "login", "--get-login", token_registry.host) == "robot"
    user("logout", token_registry.host)
    assert box.stored() == {}
    assert box.arguments() <= {"store", "get", "erase"}


@pytest.mark.parametrize(
    "words", [("-p", "canary"), ("-pcanary",), ("--password", "canary"), ("--password=canary",), ("-p",)]
)
def test_login_rejects_a_password_on_the_command_line_with_a_remedy(user: UserSession, words: tuple[str, ...]) -> None:
    refused = user("login", "127.0.0.1:1", "-u", "me", *words, code=2)
    assert "--password is not supported" in refused.err
    assert "--password-stdin" in refused.err
    assert "canary" not in refused.out + refused.err
    assert "canary" not in user("login", "127.0.0.1:1", "-u", "me", *words, "--json", code=2).out


WRONG: dict[str, tuple[tuple[str, ...], str, str]] = {
    "no username": (("quay.io", "--password-stdin"), "pw", "missing username"),
    "no password": (("quay.io", "-u", "me"), "", "missing password for me at quay.io"),
    "an empty one": (("quay.io", "-u", "me", "--password-stdin"), "", "no password on stdin"),
    "a line break alone": (("quay.io", "-u", "me", "--password-stdin"), "\n", "no password on stdin"),
    "a colon in the name": (("quay.io", "-u", "me:you", "--password-stdin"), "pw", "is not a username"),
    "an empty name": (("quay.io", "-u", "", "--password-stdin"), "pw", "is not a username"),
    "a URL": (("https://quay.io", "-u", "me", "--password-stdin"), "pw", "this is a URL"),
    "no host": (("quay io", "-u", "me", "--password-stdin"), "pw", "is not a host name"),
    "an image": (("quay.io/app:1", "-u", "me", "--password-stdin"), "pw", "is not a repository name"),
    "a missing certificate directory": (
        ("quay.io", "-u", "me", "--password-stdin", "--cert-dir", "none"), "pw", "--cert-dir none is not a directory",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "stdin", "said"), WRONG.values(), ids=WRONG)
def test_an_invalid_login_is_rejected_before_any_request(
    user: UserSession, words: tuple[str, ...], stdin: str, said: str
) -> None:
    refused = user("login", *words, stdin=stdin, code=2)
    assert said in refused.err
    assert not user.file.exists()


def test_an_unreachable_host_is_reported_and_nothing_is_stored(user: UserSession) -> None:
    host = f"127.0.0.1:{free_port()}"
    words = ("login", host, "-u", "me", "--password-stdin", "--tls-verify=false", "--retry-times", "0", "--json")
    assert host in user(*words, stdin="canary", code=1).json()["error"]["store"]
    assert not user.file.exists()


def test_the_password_may_come_from_the_environment(user: UserSession, token_registry: Locked) -> None:
    words = ("login", token_registry.host, "-u", token_registry.username, "--tls-verify=false")
    user(*words, env={"MIRRORSYNC_PASSWORD": token_registry.password})
    refused = user(*words, env={"MIRRORSYNC_PASSWORD": "canary"}, code=1)
    assert "canary" not in refused.out + refused.err


def test_a_password_can_have_several_lines(user: UserSession, registry: DockerRegistry) -> None:
    """A key in JSON is what Google's registry takes for a password."""
    words = ("login", registry.host, "-u", "_json_key", "--password-stdin", "--tls-verify=false")
    user(*words, stdin='{\n "a": "\u00e4"\n}\n')
    auth = json.loads(user.file.read_text())["auths"][registry.host]["auth"]
    assert base64.b64decode(auth).decode() == '_json_key:{\n "a": "\u00e4"\n}'


class LoginTerminal:
    """mirrorsync on a pseudo terminal, on which the test types."""

    def __init__(self, user: UserSession, mirrorsync: Mirrorsync, *words: str) -> None:
        pid, self._master = pty.fork()
        if pid == 0:  # pragma: no cover - another process
            # A shell that starts the tests in the background has them ignore it, and a terminal's program does not.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(mirrorsync.directory)
            os.execve(COMMAND[0], [*COMMAND, *words], mirrorsync.environment({"TERM": "dumb", **user.variables}))
        self._pid = pid
        self.shown = ""
        # A prompt that never ends fails its test, and not the whole suite.
        self._watchdog = threading.Timer(60, os.kill, (pid, signal.SIGKILL))
        self._watchdog.start()

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt, and type."""
        while prompt not in self.shown:
            assert self._read(), f"never showed {prompt!r}: {self.shown!r}"
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        self._watchdog.cancel()
        os.close(self._master)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.shown += data.decode()
        return bool(data)


def test_username_and_password_are_prompted_for_without_echo_of_the_password(
    user: UserSession, mirrorsync: Mirrorsync, token_registry: Locked
) -> None:
    terminal = LoginTerminal(user, mirrorsync, "login", token_registry.host, "--tls-verify=false")
    terminal.answer(f"Username at {token_registry.host}: ", f"{token_registry.username}\n")
    terminal.answer(f"Password of robot at {token_registry.host}: ", f"{token_registry.password}\n")
    assert terminal.end() == 0
    assert "logged in to" in terminal.shown
    assert token_registry.password not in terminal.shown
    again = LoginTerminal(user, mirrorsync, "login", token_registry.host, "--tls-verify=false")
    again.answer("[robot]: ", "\n")
    again.answer("Password of robot", "canary-wrong\n")
    assert again.end() == 1
    assert "canary" not in again.shown


def test_an_interrupt_at_the_prompt_prints_no_traceback(
    user: UserSession, mirrorsync: Mirrorsync, token_registry: Locked
) -> None:
    terminal = LoginTerminal(user, mirrorsync, "login", token_registry.host, "-u", "me")
    terminal.answer("Password of me", "half\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert not user.file.exists()
    for nothing in ("\n", "\x04"):
        terminal = LoginTerminal(user, mirrorsync, "login", token_registry.host, "-u", "me")
        terminal.answer("Password of me", nothing)
        assert terminal.end() == 2
        assert "no password was entered" in terminal.shown


def test_a_failing_helper_does_not_reveal_the_password(
    user: UserSession, token_registry: Locked, tmp_path: Path
) -> None:
    box = CredentialHelper(tmp_path / "box")
    box.become("#!/bin/sh\ncat\nexit 1\n")
    user.variables.update(box.environment)
    user.file.parent.mkdir()
    user.file.write_text(json.dumps({"credsStore": "box"}))
    assert "docker-credential-box did not store the login" in user.login(token_registry, "-vv", code=1).err
    assert json.loads(user.file.read_text()) == {"credsStore": "box"}


def test_logout_without_a_login_exits_with_1(user: UserSession) -> None:
    assert "not logged in to quay.io" in user("logout", "quay.io", code=1).err
    assert user("logout", "quay.io", "--json", code=1).json()["kind"] == "mirrorsync.error"


def test_logout_keeps_a_login_of_docker_and_reports_its_file(user: UserSession) -> None:
    file = user.home / ".docker" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"auths": {"quay.io": {"auth": "bWU6cHc="}}}))
    refused = user("logout", "quay.io", code=1)
    assert f"--authfile {file}" in refused.err
    user.file.parent.mkdir()
    user.file.write_text(json.dumps({"auths": {"quay.io": {"auth": "bWU6cHc="}}}))
    assert f"{file} still has a login" in user("logout", "quay.io").err
    user("logout", "quay.io", "--authfile", file)
    user("login", "--get", "quay.io", code=1)


def test_logging_out_of_everything(user: UserSession) -> None:
    entry = {"auth": "bWU6cHc="}
    user.file.parent.mkdir()
    user.file.write_text(json.dumps({"auths": {"quay.io": entry, "docker.io/me": entry}}))
    fallback = user.home / ".config/containers/auth.json"
    fallback.parent.mkdir(parents=True)
    fallback.write_text(json.dumps({"auths": {"a.example": entry}}))
    done = user("logout", "--all", "--json")
    assert sorted(done.json()["removed"]) == ["a.example", "docker.io/me", "quay.io"]
    assert json.loads(user.file.read_text()) == {"auths": {}}
    assert user("logout", "--all").out == "no logins to remove\n"


@pytest.mark.parametrize("words", [(), ("quay.io", "--all")])
def test_logging_out_needs_one_host_or_all(user: UserSession, words: tuple[str, ...]) -> None:
    assert "pass a host, or --all" in user("logout", *words, code=2).err


@pytest.mark.parametrize(
    ("key", "name"), [("docker.io", "registry-1.docker.io"), ("https://index.docker.io/v1/", "docker.io")]
)
def test_docker_hub_is_found_by_all_of_its_names(user: UserSession, key: str, name: str) -> None:
    user.file.parent.mkdir()
    user.file.write_text(json.dumps({"auths": {key: {"auth": "bWU6cHc="}}}))
    assert user("login", "--get", name).out == "me\n"
    user("logout", name)
    assert json.loads(user.file.read_text()) == {"auths": {}}
