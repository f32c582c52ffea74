"""TLS: trusted authorities, client certificates, and errors."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirrorsync.errors import MirrorsyncError, RegistryFailure, TlsFailed, Unreachable
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.secret import Secret
from mirrorsync.stores.base import WritableRepository
from tests.conftest import Locked
from tests.parts.certificates import Authority, Certificate
from tests.parts.images import image, layer, noise
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.slow_line import SlowLine
from tests.parts.tiny_registry import Asked, Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import ClientHarness, RecordedEvents, Time, described

DATA = noise("over tls", 1_200_000)
BLOB = described(DATA)
Read = Callable[[ClientHarness], bytes]
READERS: Mapping[str, Read] = {
    "requests": lambda harness: harness.small(BLOB),
    "streams": lambda harness: harness.large(BLOB),
}
read_both = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@dataclass(frozen=True)
class Papers:
    """The certificates of these tests."""

    authority: Authority
    good: Certificate
    expired: Certificate
    elsewhere: Certificate
    client: Certificate


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    authority = Authority(tmp_path_factory.mktemp("papers"))
    return Papers(
        authority,
        authority.issue("good"),
        authority.issue("expired", days=-1),
        authority.issue("elsewhere", "DNS:another.example,IP:127.0.0.9"),
        authority.issue("client"),
    )


@contextmanager
def serving(tls: ssl.SSLContext | None) -> Iterator[Unruly]:
    registry = TinyRegistry()
    registry.hold_blob("app", DATA)
    with Unruly(registry, tls=tls) as server:
        yield server


def trusting(papers: Papers) -> HostSettings:
    return HostSettings(ca_file=str(papers.authority.path))


@read_both
def test_a_certificate_of_an_authority_in_the_spec_is_trusted(papers: Papers, read: Read) -> None:
    with serving(papers.good.server()) as server:
        assert read(ClientHarness(server.host, trusting(papers))) == DATA


@dataclass(frozen=True)
class Distrust:
    certificate: Callable[[Papers], Certificate]
    settings: Callable[[Papers], HostSettings]
    message: str


DISTRUSTED = {
    "an unknown authority": Distrust(lambda papers: papers.good, lambda papers: HostSettings(), "certificate"),
    "an expired certificate": Distrust(lambda papers: papers.expired, trusting, "certificate has expired"),
    "a certificate of another host": Distrust(lambda papers: papers.elsewhere, trusting, "127.0.0.1"),
}


@read_both
@pytest.mark.parametrize("case", DISTRUSTED.values(), ids=DISTRUSTED)
def test_an_untrusted_certificate_is_not_retried(papers: Papers, read: Read, case: Distrust) -> None:
    with serving(case.certificate(papers).server()) as server:
        harness = ClientHarness(server.host, case.settings(papers))
        with pytest.raises(TlsFailed) as caught:
            read(harness)
        error = caught.value
        assert "its certificate is not trusted" in error.message
        assert case.message in error.message
        assert "ca_file" in error.remedy
        assert error.where == f"{server.host}/app@{BLOB.digest}"
        assert harness.recorded.retries == []
        assert server.seen.requests == []


@read_both
@pytest.mark.parametrize("kind", ["expired", "elsewhere", "good"])
def test_insecure_skip_verify_accepts_any_certificate(papers: Papers, read: Read, kind: str) -> None:
    certificate: Certificate = getattr(papers, kind)
    with serving(certificate.server()) as server:
        assert read(ClientHarness(server.host, HostSettings(insecure_skip_verify=True))) == DATA


@read_both
def test_a_server_that_requests_a_client_certificate_gets_it(papers: Papers, read: Read) -> None:
    settings = HostSettings(
        ca_file=str(papers.authority.path),
        client_cert=str(papers.client.path),
        client_key=str(papers.client.key),
    )
    with serving(papers.good.server(clients_of=papers.authority.path)) as server:
        assert read(ClientHarness(server.host, settings)) == DATA
        with pytest.raises(MirrorsyncError) as caught:
            read(ClientHarness(server.host, trusting(papers)))
        assert "certificate" in caught.value.message + caught.value.remedy
        assert "client_cert" in caught.value.remedy


@read_both
def test_a_client_certificate_is_not_sent_to_other_hosts(papers: Papers, read: Read) -> None:
    """A storage that requests one must not learn our identity at the registry."""
    shown: list[object] = []
    settings = HostSettings(
        ca_file=str(papers.authority.path),
        client_cert=str(papers.client.path),
        client_key=str(papers.client.key),
    )
    curious = papers.good.server()
    curious.verify_mode = ssl.CERT_OPTIONAL
    curious.load_verify_locations(papers.authority.path)

    def storage(asked: Asked) -> Reply:
        return Reply(200, {}, DATA)

    with (
        serving(papers.good.server(clients_of=papers.authority.path)) as server,
        Unruly(storage, tls=curious, name="localhost", peers=shown) as other,
    ):
        server.fault("answer", "GET", "/blobs/", status=307, headers={"Location": f"{other.url}/blob"})
        assert read(ClientHarness(server.host, settings)) == DATA
    assert shown
    assert not any(shown)


@read_both
@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\x00\xff", "a directory"])
def test_an_unusable_certificate_file_of_the_spec_is_reported(
    tmp_path: Path, read: Read, key: str, content: bytes | str | None
) -> None:
    path = tmp_path / "file.pem"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    values = {key: str(path)}
    if key == "client_cert":
        values["client_key"] = str(path)
    with pytest.raises(MirrorsyncError) as caught:
        read(ClientHarness("127.0.0.1:1", HostSettings(**values)))  # type: ignore[arg-type]  # tables of values of several types
    assert f"{key} {path} cannot be used" in caught.value.message
    assert key in caught.value.remedy


@read_both
def test_a_server_without_tls_is_distinguished_from_an_unreachable_one(read: Read) -> None:
    with serving(None) as server:
        harness = ClientHarness(server.host, HostSettings())
        with pytest.raises(TlsFailed, match="the host does not speak TLS") as caught:
            read(harness)
        assert "plain_http: true" in caught.value.remedy
        assert harness.recorded.retries == []


def test_a_host_without_a_trusted_certificate_is_not_asked_again_in_the_run(papers: Papers) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(papers.expired.server()))

        async def several(repository: WritableRepository) -> None:
            for number in range(5):
                with pytest.raises(TlsFailed, match="not trusted"):
                    await repository.resolve(Tag(str(number)))
                stack.close()  # a later connection would be refused

        ClientHarness(server.host, trusting(papers), time=Time()).within(several)


def test_a_storage_without_a_trusted_certificate_does_not_end_the_requests_to_its_registry(papers: Papers) -> None:
    with serving(papers.good.server()) as server, serving(papers.expired.server()) as storage:
        server.fault("answer", "GET", "/blobs/", hits=[1], status=307, headers={"Location": f"{storage.url}/blob"})

        async def several(repository: WritableRepository) -> None:
            with pytest.raises(TlsFailed):
                await repository.read(BLOB)
            assert await repository.read(BLOB) == DATA

        ClientHarness(server.host, trusting(papers), time=Time()).within(several)


@read_both
def test_no_plain_http_request_is_sent_to_a_host_that_should_have_tls(read: Read) -> None:
    with serving(None) as server:
        settings = HostSettings(username="robot", password=Secret("canary"), insecure_skip_verify=True)
        with pytest.raises(TlsFailed):
            read(ClientHarness(server.host, settings))
        assert server.seen.requests == []


def test_docker_registry_with_tls_that_is_asked_over_plain_http_is_reported_with_a_remedy(tls_registry: Locked) -> None:
    with pytest.raises(RegistryFailure) as caught:
        ClientHarness(tls_registry.host).resolve("1")
    assert "plain_http" in caught.value.remedy


@read_both
def test_another_server_with_tls_that_is_asked_over_plain_http_is_unreachable(papers: Papers, read: Read) -> None:
    with serving(papers.good.server()) as server:
        with pytest.raises(Unreachable) as caught:
            read(ClientHarness(server.host))
        assert caught.value.where.startswith(server.host)


@read_both
def test_a_redirect_from_tls_to_plain_http_is_not_followed(papers: Papers, read: Read) -> None:
    with serving(papers.good.server()) as server, serving(None) as other:
        server.fault("answer", "GET", "/blobs/", status=307, headers={"Location": f"{other.url}/v2/app/blobs/x"})
        with pytest.raises(RegistryFailure, match="from https to http"):
            read(ClientHarness(server.host, trusting(papers)))
        assert other.seen.requests == []


def test_a_token_service_without_tls_is_not_asked(papers: Papers) -> None:
    with serving(papers.good.server()) as server, serving(None) as other:
        challenge = {"WWW-Authenticate": f'Bearer realm="{other.url}/token"'}
        server.fault("answer", "*", "/v2/", status=401, headers=challenge)
        settings = HostSettings("robot", Secret("canary"), ca_file=str(papers.authority.path))
        with pytest.raises(RegistryFailure, match="from https to http"):
            ClientHarness(server.host, settings).resolve("1")
        assert other.seen.requests == []


def test_tls_1_1_is_not_used(papers: Papers) -> None:
    old = papers.good.server()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(old) as server, pytest.raises(TlsFailed) as caught:
        ClientHarness(server.host, trusting(papers)).resolve("1")
    assert "TLS" in caught.value.message


@read_both
def test_a_connection_closed_in_the_handshake_is_retried(papers: Papers, read: Read) -> None:
    registry = TinyRegistry()
    registry.hold_blob("app", DATA)
    with Unruly(registry, tls=papers.good.server(), no_handshakes=3) as server:
        assert read(ClientHarness(server.host, trusting(papers), time=Time())) == DATA


def test_an_interrupted_body_over_tls_is_resumed(papers: Papers) -> None:
    with serving(papers.good.server()) as server:
        server.fault("cut", "GET", "/blobs/", hits=[1], at=1_100_000)
        assert ClientHarness(server.host, trusting(papers), time=Time()).large(BLOB) == DATA
        assert server.seen.served == len(DATA)


@read_both
def test_docker_registry_with_tls_and_a_password_is_read(tls_registry: Locked, read: Read) -> None:
    settings = HostSettings(tls_registry.username, Secret(tls_registry.password), ca_file=str(tls_registry.ca_file))
    harness = ClientHarness(tls_registry.host, settings)
    harness.put(BLOB, [DATA])
    assert read(harness) == DATA


def test_without_verification_only_results_are_printed(papers: Papers, mirrorsync: Mirrorsync) -> None:
    registry = TinyRegistry()
    registry.hold("app", image([layer({"a": noise("large layer", 1_500_000)})]), "1")
    with Unruly(registry, tls=papers.expired.server()) as server:
        mirrorsync.spec(
            {
                "registries": {server.host: {"insecure_skip_verify": True}},
                "destinations": {"disk": "oci:layout"},
                "defaults": {"to": ["disk"]},
                "mirrors": [f"{server.host}/app:1"],
            }
        )
        done = mirrorsync("apply", code=0)
    assert "Warning" not in done.err
    assert "urllib3" not in done.err


def test_a_working_host_causes_no_notices(papers: Papers) -> None:
    recorded = RecordedEvents()
    with serving(papers.good.server()) as server:
        ClientHarness(server.host, trusting(papers), recorded=recorded).small(BLOB)
    assert recorded.events == []


def test_requests_share_one_connection_over_http_2(tls_registry: Locked) -> None:
    settings = HostSettings(tls_registry.username, Secret(tls_registry.password), ca_file=str(tls_registry.ca_file))
    with SlowLine(tls_registry.host) as line:
        harness = ClientHarness(line.host, settings)

        async def many(repository: WritableRepository) -> None:
            absent = await asyncio.gather(*(repository.resolve(Tag(f"no-{number}")) for number in range(100)))
            assert set(absent) == {None}

        harness.within(many)
        assert line.connections == 1
