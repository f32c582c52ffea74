"""Our own server in its two forms: over files, which it sends with sendfile, and over a store that gives chunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirrorsync.stores.memory import MemoryStore
from tests.parts.wire import Registry
from tests.serve.faces import Around


@pytest.fixture(scope="session")
def around_memory() -> Iterator[Around]:
    """The server over a store in memory, in a thread of this process."""
    with Around(MemoryStore()) as server:
        yield server


@pytest.fixture(params=("files", "chunks"))
def server(request: pytest.FixtureRequest) -> Registry:
    """Both forms, one after the other."""
    name = {"files": "served", "chunks": "around_memory"}[request.param]
    return Registry(request.getfixturevalue(name).host)
