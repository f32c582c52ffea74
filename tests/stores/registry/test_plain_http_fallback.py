"""`--tls-verify=false`: TLS with any certificate, and plain HTTP only if the host does not speak TLS at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mirrorsync.errors import TlsFailed, Unreachable
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import OpensDestinations, WritableRepository
from tests.parts.certificates import Authority, Certificate
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, noise
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import free_port
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import PLAIN, ClientHarness, described

ANY = HostSettings(username="robot", password=Secret("canary"), insecure_skip_verify=True, plain_http_fallback=True)
TOLD = "speaks no TLS: everything, passwords too, can be read on the way"
DATA = noise("fallback", 300_000)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("server")


def holding() -> TinyRegistry:
    registry = TinyRegistry()
    registry.hold("app", image([b"x"]), "1")
    registry.hold_blob("app", DATA)
    return registry


def test_a_host_with_tls_is_asked_over_tls_without_a_notice(certificate: Certificate) -> None:
    with Unruly(holding(), tls=certificate.server()) as server:
        harness = ClientHarness(server.host, ANY)
        assert harness.resolve("1") is not None
        assert harness.large(described(DATA)) == DATA
    assert harness.recorded.events == []


def test_a_host_without_tls_is_probed_and_reported_once() -> None:
    """Even if many requests are sent first at the same time."""
    with Unruly(holding()) as server:
        harness = ClientHarness(server.host, ANY)

        async def many(repository: WritableRepository) -> None:
            found = await asyncio.gather(*(repository.resolve(Tag("1")) for _ in range(20)))
            assert None not in found
            assert await repository.resolve(Tag("absent")) is None

        harness.within(many)
        greetings = [asked for asked in server.seen.requests if asked.path == "/v2/"]
    assert harness.recorded.notices == [f"{server.host}: {TOLD}"]
    assert len(greetings) == 2, "one to find out, and one for how it wants to be spoken to"


def test_the_first_request_may_be_a_stream(registry: DockerRegistry, unique: str) -> None:
    harness = ClientHarness(registry.host, ANY)
    harness.put(described(DATA), [DATA], f"{unique}/app")
    assert harness.large(described(DATA), name=f"{unique}/app") == DATA
    assert set(harness.recorded.notices) == {f"{registry.host}: {TOLD}"}


def test_a_destination_is_asked_and_written_without_tls(registry: DockerRegistry, unique: str) -> None:
    harness = ClientHarness(registry.host, ANY)

    async def write() -> None:
        store = harness.store()
        assert isinstance(store, OpensDestinations)
        try:
            repository = store.destination(f"{unique}/app")
            assert await repository.resolve(Tag("1")) is None
            await repository.write(described(b"small"), b"small")
            assert await repository.has(described(b"small"))
        finally:
            await store.close()

    asyncio.run(write())
    assert harness.recorded.notices == [f"{registry.host}: {TOLD}"]


def test_a_host_that_answers_neither_way_is_unreachable() -> None:
    harness = ClientHarness(f"127.0.0.1:{free_port()}", ANY, attempts=1)
    with pytest.raises(Unreachable):
        harness.resolve("1")
    assert harness.recorded.notices == []


def test_no_password_is_sent_over_plain_http_if_tls_rejects_the_client(
    authority: Authority, certificate: Certificate
) -> None:
    with Unruly(holding(), tls=certificate.server(clients_of=authority.path)) as server:
        harness = ClientHarness(server.host, ANY, attempts=1)
        with pytest.raises(TlsFailed):
            harness.resolve("1")
        assert server.seen.requests == []
    assert harness.recorded.notices == []


def test_unusable_client_certificates_do_not_fall_back_to_plain_http(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    settings = HostSettings(insecure_skip_verify=True, plain_http_fallback=True, cert_dir=str(tmp_path))
    with Unruly(holding()) as server:
        with pytest.raises(TlsFailed, match=r"ca\.crt cannot be used"):
            ClientHarness(server.host, settings).resolve("1")
        assert server.seen.requests == []


@pytest.mark.parametrize("verified", [True, False])
def test_plain_http_fallback_requires_both_settings(verified: bool) -> None:
    settings = HostSettings(
        username="robot", password=Secret("canary"), insecure_skip_verify=not verified, plain_http_fallback=verified
    )
    with Unruly(holding()) as server:
        with pytest.raises(TlsFailed, match="does not speak TLS"):
            ClientHarness(server.host, settings).resolve("1")
        assert server.seen.requests == []


def test_a_host_with_plain_http_set_is_not_probed() -> None:
    with Unruly(holding()) as server:
        harness = ClientHarness(server.host, PLAIN)
        assert harness.resolve("1") is not None
        assert len([asked for asked in server.seen.requests if asked.path == "/v2/"]) == 1
    assert harness.recorded.notices == []


@pytest.mark.parametrize("verb", ["plan", "apply", "verify"])
def test_insecure_skip_verify_in_a_spec_still_requires_tls(mirrorsync: Mirrorsync, verb: str) -> None:
    with Unruly(holding()) as server:
        settings = {"insecure_skip_verify": True, "username": "robot", "password_file": "secret"}
        mirrorsync.spec(
            {
                "registries": {server.host: settings},
                "destinations": {"disk": "oci:layout"},
                "mirrors": [f"{server.host}/app:1"],
            }
        )
        (mirrorsync.directory / "secret").write_text("canary")
        done = mirrorsync(verb, code=3 if verb == "verify" else 1)
        assert server.seen.requests == []
    assert "does not speak TLS" in done.err
    assert "plain_http: true" in done.err
