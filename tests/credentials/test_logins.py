"""Store logins: in files that stay valid, private and readable for the other tools, and in credential helpers."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.logins import find_login
from mirrorsync.credentials.files import files_written
from mirrorsync.credentials.finder import CredentialFinder
from mirrorsync.credentials.logins import AuthFile, first_writable, is_lost_at_reboot
from mirrorsync.environment import Environment
from mirrorsync.errors import StorageError, UsageError
from mirrorsync.hosts import Credentials
from mirrorsync.secret import Secret
from tests.parts.credential_helper import CredentialHelper

HUB = "https://index.docker.io/v1/"
ME = Credentials("me", Secret("canary-pass:w\u00f6rd"))


def entry(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def found(
    path: Path, host: str, repository: str = "", environment: Mapping[str, str] | None = None
) -> Credentials | None:
    """Return the credentials that are found in a file."""
    variables = {"REGISTRY_AUTH_FILE": str(path), **(environment or {})}
    return CredentialFinder(Environment(variables=variables))(host, repository)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "where" / "auth.json"


@pytest.fixture
def file(path: Path) -> AuthFile:
    return AuthFile(path, {})


@pytest.fixture
def box(tmp_path: Path) -> CredentialHelper:
    return CredentialHelper(tmp_path / "box")


def test_a_new_file_and_its_directories_are_private(path: Path, file: AuthFile) -> None:
    before = os.umask(0)
    try:
        kept = file.keep("quay.io", "", ME)
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent), mode(path.parent.parent)) == (0o600, 0o700, 0o700)
    assert (kept.path, kept.helper, kept.tightened) == (path, "", False)
    assert found(path, "quay.io") == ME
    assert [one.name for one in path.parent.iterdir()] == ["auth.json"], "nothing else is left"


def test_all_other_content_of_the_file_is_kept(path: Path, file: AuthFile) -> None:
    path.parent.mkdir(parents=True)
    other = {"auths": {"a.example": {**entry("a"), "odd": [1]}, "b.example/team": entry("b")}, "detachKeys": "ctrl-e"}
    path.write_text(json.dumps(other))
    file.keep("quay.io", "", ME)
    document = content(path)
    del document["auths"]["quay.io"]
    assert document == other


def test_a_new_login_replaces_the_old_secrets_and_keeps_unknown_members(path: Path, file: AuthFile) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"auths": {"quay.io": {**entry("old"), "identitytoken": "old", "email": "x@y"}}}))
    file.keep("quay.io", "", ME)
    assert found(path, "quay.io") == ME
    assert set(content(path)["auths"]["quay.io"]) == {"auth", "email"}


@pytest.mark.parametrize("before", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_could_read_is_made_private_and_that_is_reported(
    path: Path, file: AuthFile, before: int
) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    path.chmod(before)
    assert file.keep("quay.io", "", ME).tightened
    assert mode(path) == 0o600
    assert not file.keep("quay.io", "", ME).tightened


def test_the_mode_of_an_existing_directory_is_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    AuthFile(tmp_path / "site.json", {}).keep("quay.io", "", ME)
    assert mode(tmp_path) == 0o755


def test_a_symbolic_link_is_kept_and_its_target_written(tmp_path: Path, path: Path, file: AuthFile) -> None:
    path.parent.mkdir(parents=True)
    target = tmp_path / "real.json"
    target.write_text("{}")
    path.symlink_to(target)
    file.keep("quay.io", "", ME)
    assert path.is_symlink()
    assert found(target, "quay.io") == ME


def test_the_owner_of_the_file_is_kept(path: Path, file: AuthFile) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    owner = 4711 if os.getuid() == 0 else os.getuid()
    os.chown(path, owner, -1)
    file.keep("quay.io", "", ME)
    assert path.stat().st_uid == owner


@pytest.mark.parametrize("damage", [b"{auths", b"[]", b"\xff"])
def test_a_damaged_file_is_not_overwritten(path: Path, file: AuthFile, damage: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    for change in (lambda: file.keep("quay.io", "", ME), lambda: file.remove("quay.io", ""), file.remove_all):
        with pytest.raises(UsageError, match=r"auth\.json is not"):
            change()
    assert path.read_bytes() == damage


@pytest.mark.parametrize("document", [{}, {"auths": None}, {"auths": []}, {"auths": {"quay.io": "x"}}])
def test_a_login_is_stored_in_a_file_without_entries(path: Path, file: AuthFile, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    file.keep("quay.io", "", ME)
    assert found(path, "quay.io") == ME


def test_concurrent_logins_are_all_stored(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from mirrorsync.secret import Secret\n"
        "from mirrorsync.hosts import Credentials\n"
        "from mirrorsync.credentials.logins import AuthFile\n"
        "me = Credentials('u', Secret('p'))\n"
        "for n in range(15): AuthFile(Path(sys.argv[1]), {}).keep(f'h{n}.example', sys.argv[2], me)"
    )
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(subprocess.run, [sys.executable, "-c", program, str(path), f"team{one}"], check=True)
            for one in range(4)
        ]
        for run in runs:
            run.result()
    assert len(content(path)["auths"]) == 60


def test_a_login_waits_for_the_lock(path: Path, file: AuthFile) -> None:
    file.keep("a.example", "", ME)
    descriptor = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    ended = threading.Event()

    def login() -> None:
        file.keep("b.example", "", ME)
        ended.set()

    thread = threading.Thread(target=login)
    thread.start()
    # The holder of the lock writes: that must not be lost.
    path.write_text(json.dumps({"auths": {"late.example": entry("late")}}))
    assert not ended.is_set()
    os.close(descriptor)
    thread.join(30)
    assert set(content(path)["auths"]) == {"late.example", "b.example"}


def test_a_namespace_has_a_login_of_its_own(path: Path, file: AuthFile) -> None:
    team = Credentials("team", Secret("t"))
    file.keep("quay.io", "", ME)
    file.keep("quay.io", "team/sub", team)
    assert found(path, "quay.io", "team/sub/app") == team
    assert found(path, "quay.io", "team/app") == ME
    assert file.remove("quay.io", "team/sub")
    assert found(path, "quay.io", "team/sub/app") == ME


@pytest.mark.parametrize(
    "former",
    ["https://quay.io", "https://quay.io/v1/", "https://quay.io/v2/", "http://quay.io/", "quay.io/", "QUAY.io"],
)
def test_login_and_logout_remove_older_spellings_of_the_host(path: Path, file: AuthFile, former: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"auths": {former: entry("old")}}))
    file.keep("quay.io", "", ME)
    assert set(content(path)["auths"]) == {"quay.io"}
    path.write_text(json.dumps({"auths": {former: entry("old"), "x.example": {}}}))
    assert file.remove("quay.io", "")
    assert content(path) == {"auths": {"x.example": {}}}


@pytest.mark.parametrize(("name", "key"), [("auth.json", "docker.io"), ("config.json", HUB)])
def test_the_key_of_docker_hub_is_the_one_that_the_files_tool_reads(tmp_path: Path, name: str, key: str) -> None:
    file = AuthFile(tmp_path / name, {})
    former = {"docker.io": entry("old"), HUB: entry("old"), "index.docker.io": entry("old")}
    file.path.write_text(json.dumps({"auths": former}))
    file.keep("docker.io", "", ME)
    assert set(content(file.path)["auths"]) == {key}
    assert found(file.path, "docker.io") == ME


def test_removing_a_missing_login_changes_nothing(path: Path, file: AuthFile) -> None:
    assert not file.remove("quay.io", "")
    assert file.remove_all() == ()
    assert not path.parent.exists()
    file.keep("quay.io", "", ME)
    before = path.stat()
    assert not file.remove("quay.io", "team")
    assert not file.remove("other.example", "")
    after = path.stat()  # it was read, which its st_atime shows
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_removing_all_logins_keeps_the_other_settings(path: Path, file: AuthFile) -> None:
    file.keep("quay.io", "", ME)
    file.keep("quay.io", "team", ME)
    path.write_text(json.dumps({**content(path), "detachKeys": "x"}))
    assert set(file.remove_all()) == {"quay.io", "quay.io/team"}
    assert content(path) == {"auths": {}, "detachKeys": "x"}


HELPERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "one for the host": ({"credHelpers": {"quay.io": "box"}}, "quay.io", "quay.io"),
    "one for all": ({"credsStore": "box"}, "quay.io", "quay.io"),
    "one for all, docker hub": ({"credsStore": "box"}, "docker.io", HUB),
    "docker hub's": ({"credHelpers": {HUB: "box"}}, "docker.io", HUB),
}


@pytest.mark.parametrize(("document", "host", "key"), HELPERS.values(), ids=HELPERS)
def test_a_login_is_stored_in_and_removed_from_the_helper_that_the_file_names(
    path: Path, box: CredentialHelper, document: dict[str, Any], host: str, key: str
) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    file = AuthFile(path, box.environment)
    assert file.keep(host, "", ME).helper == "docker-credential-box"
    assert box.stored() == {key: (ME.username, ME.password.reveal())}
    assert "auth" not in str(content(path).get("auths", {}).get(key, {})), "no password in the file"
    assert found(path, host, environment=box.environment) == ME
    assert file.remove(host, "")
    assert box.stored() == {}
    assert found(path, host, environment=box.environment) is None
    assert not file.remove(host, "")
    assert box.arguments() == {"store", "get", "erase"}, "nothing secret is among them"
    assert {name: value for name, value in content(path).items() if name != "auths"} == document


def test_removing_all_logins_removes_those_in_helpers(path: Path, box: CredentialHelper) -> None:
    path.parent.mkdir(parents=True)
    document = {"credHelpers": {"a.example": "box", "never.example": "box"}}
    path.write_text(json.dumps(document))
    file = AuthFile(path, box.environment)
    file.keep("a.example", "", ME)
    file.keep("b.example", "", ME)
    assert set(file.remove_all()) == {"a.example", "b.example"}
    assert content(path) == {**document, "auths": {}}
    assert found(path, "a.example", environment=box.environment) is None


def test_a_namespace_login_is_rejected_if_a_helper_would_shadow_it(path: Path, box: CredentialHelper) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"credHelpers": {"quay.io": "box"}}))
    with pytest.raises(UsageError, match="docker-credential-box, which stores no logins for parts of a registry"):
        AuthFile(path, box.environment).keep("quay.io", "team", ME)


REFUSING = {
    "with a reason": ("echo 'the keychain is locked'; exit 1", "the keychain is locked"),
    "repeating the secret": ("cat; exit 1", "did not store the login"),
    "repeating it on stderr": ("cat >&2; exit 1", "did not store the login"),
}


@pytest.mark.parametrize(("script", "said"), REFUSING.values(), ids=REFUSING)
def test_a_failing_helper_leaves_no_password_in_file_or_message(
    path: Path, box: CredentialHelper, script: str, said: str
) -> None:
    box.become(f"#!/bin/sh\n{script}\n")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"credsStore": "box"}))
    with pytest.raises(StorageError) as caught:
        AuthFile(path, box.environment).keep("quay.io", "", Credentials("me", Secret("canary")))
    assert said in caught.value.message
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.remedy}"
    assert content(path) == {"credsStore": "box"}


def test_the_words_of_a_failing_helper_are_reported_by_logout_and_by_the_look_for_a_login(
    path: Path, box: CredentialHelper
) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"credsStore": box.name}))
    box.become("#!/bin/sh\necho 'gpg: decryption failed: No secret key'; exit 1\n")
    with pytest.raises(UsageError, match="docker-credential-box failed: gpg: decryption failed: No secret key"):
        AuthFile(path, box.environment).remove("quay.io", "")
    with pytest.raises(UsageError, match="docker-credential-box failed: gpg: decryption failed: No secret key"):
        find_login("quay.io", authfile=path, environment=Environment(variables=box.environment))


def test_an_unwritable_file_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written: Not a directory") as caught:
        AuthFile(tmp_path / "file" / "auth.json", {}).keep("quay.io", "", ME)
    assert "--authfile" in caught.value.remedy


def test_a_login_is_stored_in_the_first_writable_file(tmp_path: Path) -> None:
    home, run, blocked = tmp_path / "home", tmp_path / "run", tmp_path / "blocked"
    blocked.write_text("")
    config, number = home / ".config/containers/auth.json", f"{os.getuid()}/auth.json"
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    there = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
    absent = {"HOME": str(home), "XDG_RUNTIME_DIR": str(tmp_path / "absent")}
    assert first_writable(files_written(there, run)) == runtime / "containers/auth.json"
    assert first_writable(files_written({"HOME": str(home)}, run)) == run / number
    assert first_writable(files_written({"HOME": str(home)}, blocked)) == config
    assert first_writable(files_written(absent, run)) == config
    assert not (tmp_path / "absent").exists()
    named = {**there, "REGISTRY_AUTH_FILE": str(tmp_path / "my.json")}
    assert first_writable(files_written(named, run)) == tmp_path / "my.json"
    with pytest.raises(StorageError, match="no file to store the login in"):
        first_writable(files_written({"XDG_RUNTIME_DIR": str(tmp_path / "absent")}, run))


@pytest.mark.parametrize(
    ("path", "lost"),
    [("/run/containers/0/auth.json", True), ("/my/run/containers/auth.json", True), ("/etc/mirrorsync/a.json", False)],
)
def test_a_file_in_memory_is_lost_at_reboot(path: str, lost: bool) -> None:
    assert is_lost_at_reboot(Path(path), {"XDG_RUNTIME_DIR": "/my/run"}) is lost
