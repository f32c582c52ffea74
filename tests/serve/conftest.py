"""Our server over both kinds of store: with blobs in files, and with blobs that are read in chunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirrorsync.stores.memory import MemoryStore
from tests.parts.wire import Registry
from tests.serve.harness import InProcessServer


@pytest.fixture(scope="session")
def memory_server() -> Iterator[InProcessServer]:
    """The server over a memory store, in a thread of this process."""
    with InProcessServer(MemoryStore()) as server:
        yield server


@pytest.fixture(params=("files", "chunks"))
def server(request: pytest.FixtureRequest) -> Registry:
    """The server over each kind of store."""
    name = {"files": "served", "chunks": "memory_server"}[request.param]
    return Registry(request.getfixturevalue(name).host)
