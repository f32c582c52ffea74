"""certs.d: a directory for each host, with authorities and the client certificate, as podman reads it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirrorsync.environment import Environment
from mirrorsync.errors import TlsFailed
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store
from mirrorsync.stores.open import opener
from mirrorsync.stores.registry.http.certificates import certificate_roots, directory_for
from tests.parts.certificates import Authority, Certificate
from tests.parts.images import image, layer
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly

ROOT = ".config/containers/certs.d"


@dataclass(frozen=True)
class Papers:
    authority: Authority
    server: Certificate
    client: Certificate


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    authority = Authority(tmp_path_factory.mktemp("papers"))
    return Papers(authority, authority.issue("server"), authority.issue("client"))


def holding() -> TinyRegistry:
    registry = TinyRegistry()
    registry.hold("app", image([layer({"a": b"1"})]), "1")
    return registry


def ask(host: str, settings: HostSettings, home: Path | None = None) -> None:
    async def run() -> None:
        variables = {"HOME": str(home)} if home else {}
        await _resolve(opener(Environment({host: settings}, variables, retries=0))(host))

    asyncio.run(run())


async def _resolve(store: Store) -> None:
    try:
        assert await store.repository("app").resolve(Tag("1")) is not None
    finally:
        await store.close()


def fill(directory: Path, papers: Papers, *, client: bool = False) -> Path:
    directory.mkdir(parents=True)
    shutil.copy(papers.authority.path, directory / "ca.crt")
    if client:
        shutil.copy(papers.client.path, directory / "client.cert")
        shutil.copy(papers.client.key, directory / "client.key")
    return directory


def test_an_authority_in_the_hosts_directory_is_trusted(tmp_path: Path, papers: Papers) -> None:
    with Unruly(holding(), tls=papers.server.server()) as server:
        with pytest.raises(TlsFailed, match="not trusted"):
            ask(server.host, HostSettings(), tmp_path)
        fill(tmp_path / ROOT / server.host, papers)
        ask(server.host, HostSettings(), tmp_path)


def test_only_the_first_existing_directory_is_used(tmp_path: Path, papers: Papers) -> None:
    """As in containers/image: directories are not merged."""
    (tmp_path / "a" / "h.example").mkdir(parents=True)
    fill(tmp_path / "b" / "h.example", papers)
    roots = (tmp_path / "none", tmp_path / "a", tmp_path / "b")
    assert directory_for("h.example", None, roots) == tmp_path / "a" / "h.example"


def test_the_directory_of_another_port_is_not_used(tmp_path: Path, papers: Papers) -> None:
    with Unruly(holding(), tls=papers.server.server()) as server:
        fill(tmp_path / ROOT / "127.0.0.1", papers)
        fill(tmp_path / ROOT / f"{server.host}0", papers)
        with pytest.raises(TlsFailed, match="not trusted"):
            ask(server.host, HostSettings(), tmp_path)


def test_a_chosen_directory_replaces_the_others(tmp_path: Path, papers: Papers) -> None:
    with Unruly(holding(), tls=papers.server.server()) as server:
        fill(tmp_path / ROOT / server.host, papers)
        (tmp_path / "empty").mkdir()
        with pytest.raises(TlsFailed, match="not trusted"):
            ask(server.host, HostSettings(cert_dir=str(tmp_path / "empty")), tmp_path)
        ask(server.host, HostSettings(cert_dir=str(fill(tmp_path / "mine", papers))))


def test_a_client_certificate_in_the_directory_is_sent(tmp_path: Path, papers: Papers) -> None:
    with Unruly(holding(), tls=papers.server.server(clients_of=papers.authority.path)) as server:
        ask(server.host, HostSettings(cert_dir=str(fill(tmp_path / "both", papers, client=True))))
        with pytest.raises(TlsFailed) as caught:
            ask(server.host, HostSettings(cert_dir=str(fill(tmp_path / "half", papers))))
        assert "--cert-dir" in caught.value.remedy


@pytest.mark.parametrize("missing", ["client.key", "client.cert"])
def test_half_of_a_certificate_and_key_pair_is_reported(tmp_path: Path, papers: Papers, missing: str) -> None:
    directory = fill(tmp_path / "certs", papers, client=True)
    (directory / missing).unlink()
    with pytest.raises(TlsFailed, match=f"has no {missing}"):
        ask("127.0.0.1:1", HostSettings(cert_dir=str(directory)))


@pytest.mark.parametrize("name", ["ca.crt", "client.cert"])
def test_a_file_that_is_not_a_certificate_is_reported(tmp_path: Path, papers: Papers, name: str) -> None:
    directory = fill(tmp_path / "certs", papers, client=True)
    (directory / name).write_text("no certificate")
    with pytest.raises(TlsFailed, match=f"{directory / name} cannot be used"):
        ask("127.0.0.1:1", HostSettings(cert_dir=str(directory)))


def test_a_missing_chosen_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TlsFailed, match="gone: No such file"):
        ask("127.0.0.1:1", HostSettings(cert_dir=str(tmp_path / "gone")))


def test_other_files_in_the_directory_are_ignored(tmp_path: Path, papers: Papers) -> None:
    directory = fill(tmp_path / "certs", papers)
    for name in ("README", "old.crt.bak", "ca.pem", ".cert.swp"):
        (directory / name).write_text("no certificate")
    with Unruly(holding(), tls=papers.server.server()) as server:
        ask(server.host, HostSettings(cert_dir=str(directory)))


def test_directories_below_the_home_are_found(tmp_path: Path, papers: Papers) -> None:
    with Unruly(holding(), tls=papers.server.server()) as server:
        fill(tmp_path / ROOT / server.host, papers)

        async def run() -> None:
            await _resolve(opener(Environment(variables={"HOME": str(tmp_path)}))(server.host))

        asyncio.run(run())


def test_the_system_directories_are_those_of_podman_and_docker() -> None:
    assert certificate_roots({}) == (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
