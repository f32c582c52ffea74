"""Hosts that refuse connections, certificates or credentials: each is reported with a remedy of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.seeds import mirror_all
from tests.conftest import Locked
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, noise
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.processes import free_port


def test_a_refused_connection_is_reported(mirrorsync: Mirrorsync, registry: DockerRegistry) -> None:
    port = free_port()
    mirror_all(mirrorsync, f"127.0.0.1:{port}", "some", "1", "2")
    done = mirrorsync("plan", code=1)
    assert f"failed: source 127.0.0.1:{port}/some/app: Connection refused (2 images; mirror.yaml:12, 13)\n" in done.err
    assert done.err.count("check the host name") == 1
    mirror_all(mirrorsync, f"127.0.0.1:{port}", "some", "1")
    one = mirrorsync("plan", code=1)
    assert f"failed: source 127.0.0.1:{port}/some/app:1: Connection refused (mirror.yaml:12)\n" in one.err


@pytest.mark.parametrize("verb", ["plan", "apply", "verify", "images"])
def test_a_wrong_password_costs_one_login_and_one_message_for_22_images(
    mirrorsync: Mirrorsync, token_registry: Locked, verb: str
) -> None:
    host, tokens = token_registry.host, token_registry.tokens
    assert tokens is not None
    tokens.asked.clear()
    mirrorsync.spec(
        {
            "registries": plain(host, username=token_registry.username, password="wrong"),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{host}/team{number % 11}/app:{number}" for number in range(22)],
        }
    )
    code = 3 if verb == "verify" else 1  # what the destination lacks is reported too
    done = mirrorsync(verb, code=code)
    assert len(tokens.asked) == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    said = "getting a token: the registry answered 401: incorrect username or password"
    assert line == f"failed: source {host}: {said} (22 images; mirror.yaml:14 and 21 more)"
    assert done.err.count("check username and password") == 1
    document = mirrorsync(verb, "--json", code=code).json()
    assert len(document["failures"]) == 22


def test_blobs_for_two_hosts_with_few_connections_do_not_wait_for_each_other(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    """Each stream needs a connection to both: with one of each they waited for ever, more often than not."""
    for number in range(9):
        registry.put(f"{unique}/{number}", image([noise(f"{unique}{number}", 12_000_000)]), "1")
    with DockerRegistry(tmp_path / "third") as third:
        mirrorsync.spec(
            {
                "registries": plain(registry.host) | plain(second_registry.host, third.host, max_connections=4),
                "destinations": {"one": second_registry.host, "other": third.host},
                "defaults": {"to": ["one", "other"]},
                "mirrors": [f"{registry.host}/{unique}/{number}:1" for number in range(9)],
            }
        )
        assert mirrorsync("apply", code=0).out.startswith("18 done")


def test_two_hosts_that_are_down_are_two_messages(mirrorsync: Mirrorsync) -> None:
    hosts = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    mirrorsync.spec(
        {
            "registries": plain(*hosts),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [
                *(f"{hosts[number % 2]}/app{number % 2}:{number}" for number in range(6)),
                {"from": f"{hosts[0]}/other", "tags": {"all": True}},
            ],
        }
    )
    done = mirrorsync("plan", code=1)
    assert [line for line in done.err.splitlines() if line.startswith("failed: ")] == [
        f"failed: source {hosts[0]}: Connection refused (3 images, 1 tag list; mirror.yaml:15, 17, 19, 21)",
        f"failed: source {hosts[1]}/app1: Connection refused (3 images; mirror.yaml:16, 18, 20)",
    ]
    mirrorsync("plan", "-o", "plan.json", code=1)
    assert mirrorsync("plan", "plan.json", code=1).err in done.err, "a saved plan tells them as shortly"


def test_a_wrong_or_missing_password_is_reported_with_where_to_set_it(
    mirrorsync: Mirrorsync, tls_registry: Locked, token_registry: Locked
) -> None:
    for locked in (tls_registry, token_registry):
        settings: dict[str, object] = (
            {"ca_file": str(locked.ca_file)} if locked.ca_file is not None else {"plain_http": True}
        )
        for more in ({}, {"username": locked.username, "password": "wrong-and-secret"}):
            mirrorsync.spec(
                {
                    "registries": {locked.host: {**settings, **more}},
                    "destinations": {"disk": "oci:disk"},
                    "mirrors": [f"{locked.host}/private/app:1"],
                }
            )
            done = mirrorsync("apply", "-vv", code=1)
            assert "wrong-and-secret" not in done.err + done.out
            assert f"failed: source {locked.host}/private/app:1: " in done.err


@pytest.mark.parametrize("settings", [{}, {"plain_http": True}])
def test_an_untrusted_certificate_and_plain_http_to_a_tls_host_are_distinguished(
    mirrorsync: Mirrorsync, tls_registry: Locked, settings: dict[str, bool]
) -> None:
    mirrorsync.spec(
        {
            "registries": {tls_registry.host: settings},
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{tls_registry.host}/app:1"],
        }
    )
    done = mirrorsync("apply", code=1)
    expected = "remove plain_http" if settings else "ca_file for this host"
    assert expected in done.err


def test_a_host_without_tls_is_reported_with_how_to_allow_plain_http(
    mirrorsync: Mirrorsync, registry: DockerRegistry
) -> None:
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": [f"{registry.host}/app:1"]})
    done = mirrorsync("apply", code=1)
    assert "plain_http" in done.err


def test_a_missing_repository_is_not_reported_as_a_missing_tag(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    mirror_all(mirrorsync, registry.host, unique, "1")
    done = mirrorsync("plan", code=1)
    assert "repository" in done.err
    assert "no such tag" not in done.err
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": {"all": True}}],
        }
    )
    filtered = mirrorsync("plan", code=1)
    assert f"failed: source {registry.host}/{unique}/app: " in filtered.err
