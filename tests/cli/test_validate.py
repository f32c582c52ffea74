"""`mirrorsync validate`: files that the spec names, specs of other tools, and `--online`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Locked
from tests.foreign.samples import PASSWORD, SAMPLES
from tests.parts.docker_registry import DockerRegistry
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.processes import free_port

PEM = "-----BEGIN CERTIFICATE-----\n"


def spec(settings: str) -> str:
    return (
        "version: 1\ndestinations: {disk: oci:disk}\nregistries:\n  h.example:\n"
        + "".join(f"    {line}\n" for line in settings.splitlines())
        + "mirrors: [h.example/x:1]\n"
    )


WRONG = {
    "a missing ca_file": ("ca_file: none.pem", "5:14: /registries/h.example/ca_file: {}/none.pem does not exist"),
    "a ca_file that is a directory": ("ca_file: .", "ca_file: {} cannot be read: it is not a file"),
    "a ca_file without certificates": ("ca_file: empty", "ca_file: {}/empty is not a PEM file"),
    "a missing cert_dir": ("cert_dir: none", "cert_dir: {}/none does not exist"),
    "a cert_dir that is a file": ("cert_dir: empty", "cert_dir: {}/empty cannot be read: Not a directory"),
    "a missing password_file": (
        "username: x\npassword_file: none",
        "6:20: /registries/h.example/password_file: ",
    ),
    "an empty password_file": ("username: x\npassword_file: empty", "password_file: {}/empty is empty"),
    "a missing client_key": ("client_cert: a.pem\nclient_key: none", "client_key: {}/none does not exist"),
    "a pipe": ("ca_file: pipe", "ca_file: {}/pipe cannot be read: it is not a file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_the_spec_names_and_that_is_of_no_use_is_an_error_with_its_line(
    mirrorsync: Mirrorsync, case: str, tmp_path: Path
) -> None:
    settings, message = WRONG[case]
    (tmp_path / "empty").write_text("")
    (tmp_path / "a.pem").write_text(PEM)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "mirror.yaml").write_text(spec(settings))
    refused = mirrorsync("validate", code=2)
    assert message.format(tmp_path) in refused.err
    assert "; check the path" in refused.err
    (problem,) = mirrorsync("validate", "--json", code=2).json()["problems"]
    assert problem["line"] >= 5


def test_files_that_are_there_are_fine(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text(PEM)
    (tmp_path / "password").write_text("x\n")
    (tmp_path / "certs").mkdir()
    text = spec("username: x\npassword_file: password\nca_file: ${CA}\nclient_cert: a.pem\ncert_dir: certs")
    (tmp_path / "mirror.yaml").write_text(text)
    mirrorsync("validate", env={"CA": "a.pem"}, code=0)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "values"])
def test_a_spec_of_another_tool_is_named_and_how_to_take_it_over(mirrorsync: Mirrorsync, name: str) -> None:
    (mirrorsync.directory / "theirs.yml").write_text("nginx:1.27\nquay.io/x/y:1\n" if name == "list" else SAMPLES[name])
    for verb in ("validate", "apply"):
        refused = mirrorsync(verb, "theirs.yml", code=2)
        assert "this is not a spec of mirrorsync" in refused.err
        assert "mirrorsync init --from theirs.yml" in refused.err
        assert refused.err.count("\n") == 1
        assert PASSWORD not in refused.err


def test_online_logs_in_and_asks_one_question_per_host(
    mirrorsync: Mirrorsync, tls_registry: Locked, token_registry: Locked, registry: DockerRegistry
) -> None:
    login = {"username": tls_registry.username, "password": tls_registry.password, "ca_file": str(tls_registry.ca_file)}
    mirrorsync.spec(
        {
            "registries": {tls_registry.host: login, **plain(registry.host, token_registry.host)},
            "destinations": {"locked": f"{tls_registry.host}/x", "disk": "oci:disk"},
            "defaults": {"to": ["locked", "disk"]},
            "mirrors": [f"{registry.host}/a:1", f"{registry.host}/b:1", f"{token_registry.host}/c:1", "oci:here:d:1"],
        }
    )
    done = mirrorsync("validate", "--online", code=0)
    assert done.out.splitlines()[1:] == [
        f"{registry.host} (source): it answers; it requires no login",
        f"{token_registry.host} (source): it answers; no login is stored",
        f"{tls_registry.host} (destination): the login is accepted",
    ]
    found = mirrorsync("validate", "--online", "--json", code=0).json()
    assert [(host["sides"], host["answer"]) for host in found["hosts"]][2] == (
        ["destination"],
        "the login is accepted",
    )
    assert "hosts" not in mirrorsync("validate", "--json", code=0).json()


def test_online_reports_each_host_that_fails_with_a_remedy(
    mirrorsync: Mirrorsync, tls_registry: Locked, token_registry: Locked, registry: DockerRegistry
) -> None:
    refused = f"127.0.0.1:{free_port()}"
    wrong = {"username": tls_registry.username, "password": "wrong", "ca_file": str(tls_registry.ca_file)}
    mirrorsync.spec(
        {
            "registries": {tls_registry.host: wrong, **plain(registry.host, refused, token_registry.host)},
            "destinations": {"there": f"{refused}/x", "tokens": f"{token_registry.host}/x"},
            "defaults": {"to": ["there", "tokens"]},
            "mirrors": [f"{registry.host}/a:1", f"{tls_registry.host}/b:1"],
        }
    )
    done = mirrorsync("validate", "--online", code=3)
    assert f"{registry.host} (source): it answers" in done.out
    lines = done.err.splitlines()
    failed = [line for line in lines if line.startswith("failed: ")]
    assert [line.split()[1] for line in failed] == [tls_registry.host, refused, token_registry.host]
    assert len(lines) == 6
    assert "check username and password" in done.err
    assert "it requires a login to write, and no login was found" in done.err
    hosts = mirrorsync("validate", "--online", "--json", code=3).json()["hosts"]
    assert [host["error"]["exit_code"] for host in hosts if "error" in host] == [1, 1, 1]
    assert "wrong" not in done.err


def test_online_asks_once_for_each_login_of_a_host(
    mirrorsync: Mirrorsync, tls_registry: Locked, registry: DockerRegistry
) -> None:
    host, trust = tls_registry.host, {"ca_file": str(tls_registry.ca_file)}
    login = {"username": tls_registry.username, "password": tls_registry.password}
    mirrorsync.spec(
        {
            "registries": {
                host: trust,
                f"{host}/team": login,
                f"{host}/team/b": {**login, "password": "wrong"},
                registry.host: {"plain_http": True, "endpoints": [f"{host}/team/hub"]},
            },
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{host}/team/b:1", f"{host}/d:1", f"{registry.host}/e:1"],
        }
    )
    done = mirrorsync("validate", "--online", code=3)
    assert done.out.splitlines()[1:] == [
        f"{host} (source): it answers; no login is stored",
        f"{registry.host} (source): it answers; it requires no login",
        f"{host}/team (source): the login is accepted",
    ]
    assert f"failed: {host}/team/b (source): " in done.err


def test_online_exits_with_1_if_no_host_answers(mirrorsync: Mirrorsync) -> None:
    host = f"127.0.0.1:{free_port()}"
    mirrorsync.spec({"registries": plain(host), "destinations": {"d": "oci:d"}, "mirrors": [f"{host}/a:1"]})
    done = mirrorsync("validate", "--online", "--quiet", code=1)
    assert done.out == ""
    assert done.err.startswith(f"failed: {host} (source): ")
    assert mirrorsync("validate", code=0).out.startswith("mirror.yaml is valid")
