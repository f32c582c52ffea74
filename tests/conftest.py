"""Real servers, started once for all tests, and a directory and a unique name for each test."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.parts.daemon import Daemon
from tests.parts.docker_registry import DockerRegistry
from tests.parts.front import front
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.processes import run
from tests.parts.token_server import ISSUER, PASSWORD, SERVICE, USER, TokenServer, make_certificate
from tests.parts.unruly import Unruly

NEEDED = (
    "docker-registry", "skopeo", "podman", "containerd", "ctr", "openssl", "htpasswd", "systemd-analyze", "ssh-keygen",
)  # fmt: skip
_NUMBERS = itertools.count()


def pytest_sessionstart() -> None:
    """Fail at once if a tool is missing: no test is skipped for it."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing or not Path("/bin/busybox").exists():
        pytest.exit(f"these are missing: {', '.join(missing) or 'busybox-static'}; run tests/run", 2)


@pytest.fixture
def unique() -> str:
    """Return a name that no other test uses: a repository's first component."""
    return f"t{next(_NUMBERS)}"


@pytest.fixture
def mirrorsync(tmp_path: Path) -> Mirrorsync:
    """Return mirrorsync as a program, in a fresh directory."""
    return Mirrorsync(tmp_path)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """An open docker-registry."""
    with DockerRegistry(tmp_path_factory.mktemp("registry") / "storage") as server:
        yield server


@pytest.fixture(scope="session")
def second_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Another open docker-registry."""
    with DockerRegistry(tmp_path_factory.mktemp("second") / "storage") as server:
        yield server


@pytest.fixture
def fresh_registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    """A docker-registry for a single test, which may damage it or count its requests."""
    with DockerRegistry(tmp_path / "registry") as server:
        yield server


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`mirrorsync serve` over an initially empty layout."""
    with Serve(tmp_path_factory.mktemp("serve") / "layout", "-v") as server:
        yield server


@dataclass(frozen=True)
class Locked:
    """A registry that requires credentials."""

    host: str
    username: str
    password: str
    ca_file: Path | None = None
    tokens: TokenServer | None = None
    server: DockerRegistry | None = None


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """A docker-registry with TLS, a self-signed certificate, and htpasswd."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(directory, "registry")
    htpasswd = directory / "htpasswd"
    htpasswd.write_text(run("htpasswd", "-nbB", "-C", "4", "operator", "s3cret-of-operator"))
    auth = {"htpasswd": {"realm": "tests", "path": str(htpasswd)}}
    with DockerRegistry(directory / "storage", auth=auth, certificate=certificate, key=key) as server:
        yield Locked(server.host, "operator", "s3cret-of-operator", certificate, server=server)


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """A docker-registry whose tokens come from a token service of the tests, both behind one address."""
    directory = tmp_path_factory.mktemp("tokens")
    certificate, key = make_certificate(directory, "issuer")
    with ExitStack() as stack:
        tokens = TokenServer(certificate, key)
        stack.callback(tokens.stop)
        backends: dict[str, str] = {"/token": urlsplit(tokens.url).netloc}
        entrance = stack.enter_context(Unruly(front(backends)))
        realm = f"{entrance.url}/token"
        auth = {"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(certificate)}}
        server = stack.enter_context(DockerRegistry(directory / "storage", auth=auth))
        backends["/"] = server.host
        yield Locked(entrance.host, USER, PASSWORD, tokens=tokens, server=server)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A daemon that speaks Docker's API."""
    with Daemon() as service:
        yield service
