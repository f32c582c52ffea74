"""Harbor's projects: errors about a missing or full one, and how one is created."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.harbor import MISSING, Harbor
from tests.parts.images import image, layer, noise
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking_destinations import copied, holds, spec

# Small blobs are written by one engine and large ones by the other.
SMALL = image([layer({"a": b"1"})])
LARGE = image([noise("a layer", 1_200_000)])


@pytest.fixture
def tiny() -> TinyRegistry:
    registry = TinyRegistry()
    registry.hold("app", SMALL, "1")
    return registry


@pytest.fixture
def source(tiny: TinyRegistry) -> Iterator[Unruly]:
    with Unruly(tiny) as running:
        yield running


@pytest.fixture
def harbor() -> Harbor:
    return Harbor()


@pytest.fixture
def server(harbor: Harbor) -> Iterator[Unruly]:
    with Unruly(harbor.app) as running:
        harbor.at(running.url)
        yield running


@pytest.mark.parametrize("status", MISSING)
def test_a_missing_project_is_reported_with_a_remedy(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, harbor: Harbor, status: int
) -> None:
    harbor.missing = status
    output = copied(mirrorsync, source, f"{server.host}/team/app:1", code=1)
    assert "project team not found" in output
    assert "create the project at the registry first, or set create_repository: true" in output
    assert "check username and password" not in output
    assert harbor.posts == []


@pytest.mark.parametrize("status", MISSING)
@pytest.mark.parametrize("made", [SMALL, LARGE], ids=["small", "large"])
def test_a_project_is_created_if_create_repository_is_set(
    mirrorsync: Mirrorsync,
    source: Unruly,
    server: Unruly,
    harbor: Harbor,
    tiny: TinyRegistry,
    status: int,
    made: object,
) -> None:
    harbor.missing = status
    image_ = SMALL if made is SMALL else LARGE
    tiny.hold("app", image_, "1")
    file = spec(mirrorsync, source, server, create_repository=True)
    mirrorsync("plan", file, code=0)
    assert harbor.posts == [], "a plan creates nothing"
    done = mirrorsync("apply", file, code=0)
    assert holds(harbor.registry, "team/app", image_)
    assert harbor.posts == [{"project_name": "team", "metadata": {"public": "false"}}]
    assert "created the missing project team" in done.err


@pytest.mark.parametrize("status", [401, 403])
def test_no_token_of_before_is_sent_to_a_project_that_was_created(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, harbor: Harbor, tiny: TinyRegistry, status: int
) -> None:
    """It has no rights there: a write that begins after the project was created would fail with it."""
    harbor.missing = status
    tiny.hold("app", image([]), "1")
    mirrorsync("apply", spec(mirrorsync, source, server, create_repository=True), code=0)
    assert len(harbor.posts) == 1
    assert harbor.outdated == 0


def test_an_existing_project_is_not_created(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, harbor: Harbor
) -> None:
    harbor.projects.add("team")
    mirrorsync("apply", spec(mirrorsync, source, server, create_repository=True), code=0)
    assert harbor.posts == []


def test_a_denied_push_does_not_create_the_project_twice(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, harbor: Harbor
) -> None:
    """The project exists: the account has no rights."""
    harbor.projects.add("team")
    server.fault("answer", "POST", "/uploads/", status=403, body=b'{"errors": [{"code": "DENIED"}]}')
    done = mirrorsync("apply", spec(mirrorsync, source, server, create_repository=True), code=1)
    assert "give this account the right to push to this repository" in done.err
    assert len(harbor.posts) == 1


def test_missing_rights_to_create_a_project_are_reported(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, harbor: Harbor
) -> None:
    harbor.may_create = False
    done = mirrorsync("apply", spec(mirrorsync, source, server, create_repository=True), code=1)
    assert "creating project team" in done.err
    assert "use an account that may create projects" in done.err
    assert len(server.seen.of("POST", "/api/")) == 1


def test_the_password_is_sent_only_to_the_api_of_the_registry(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly
) -> None:
    with Unruly(TinyRegistry()) as other:
        headers = {"Location": f"{other.url}/api/v2.0/projects"}
        server.fault("answer", "POST", "/api/", status=307, headers=headers)
        done = mirrorsync("apply", spec(mirrorsync, source, server, create_repository=True), code=1)
        assert "create_repository uses the API of Harbor" in done.err
        assert other.seen.requests == []


@pytest.mark.parametrize("made", [SMALL, LARGE], ids=["small", "large"])
def test_an_exceeded_quota_is_reported(
    mirrorsync: Mirrorsync, source: Unruly, server: Unruly, harbor: Harbor, tiny: TinyRegistry, made: object
) -> None:
    tiny.hold("app", SMALL if made is SMALL else LARGE, "1")
    harbor.projects.add("team")
    harbor.quota = 10
    output = copied(mirrorsync, source, f"{server.host}/team/app:1", code=1)
    assert "exceed the configured upper limit" in output
    assert "no space left at the registry: raise the quota" in output
    assert "give this account the right" not in output
