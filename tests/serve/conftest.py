"""Our server over both kinds of store: with blobs in files, and with blobs that are read in chunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirrorsync.stores.memory import MemoryStore
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry
from tests.serve.harness import InProcessServer
from tests.serve.secured import PASSWORD, USER, Secured, hashed, secured


@pytest.fixture(scope="session")
def memory_server() -> Iterator[InProcessServer]:
    """The server over a memory store, in a thread of this process."""
    with InProcessServer(MemoryStore()) as server:
        yield server


@pytest.fixture(scope="session")
def secured_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """`mirrorsync serve` with TLS and one user, over an initially empty layout."""
    server = secured(tmp_path_factory.mktemp("secured"))
    with server.server:
        yield server


@pytest.fixture(scope="session")
def open_to_readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`mirrorsync serve` with one user, whose login only writing needs."""
    directory = tmp_path_factory.mktemp("anonymous")
    (directory / "users").write_text(hashed(USER, PASSWORD))
    with Serve(directory / "layout", "--htpasswd", str(directory / "users"), "--anonymous-pull") as server:
        yield server


@pytest.fixture(params=("files", "chunks"))
def server(request: pytest.FixtureRequest) -> Registry:
    """The server over each kind of store."""
    name = {"files": "served", "chunks": "memory_server"}[request.param]
    return Registry(request.getfixturevalue(name).host)
