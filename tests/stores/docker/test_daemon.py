"""A docker daemon as source and destination: podman's service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    RepositoryNotFound,
)
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Pick, Tag
from mirrorsync.stores.base import Store
from tests.parts.daemon import Daemon
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.stores.docker.parts import (
    BASE,
    ONE,
    TWO,
    Plain,
    by_nix,
    packed,
    pulled,
    pushed,
    tarball,
    using,
    within,
)
from tests.stores.docker.test_cache import DAEMON, Runs


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as service:
        yield service


@pytest.fixture
def ask(daemon: Daemon, tmp_path: Path) -> Callable[[Callable[[Store], Awaitable[Any]]], Any]:
    """Return the function that runs a scenario with a store of the daemon."""
    return lambda work: using(daemon.host, tmp_path, work)


Asking = Callable[[Callable[[Store], Awaitable[Any]]], Any]


async def pull(repository: str, reference: str, store: Store) -> tuple[Manifest, dict[str, bytes]]:
    return await pulled(store.repository(repository), reference)


def load(daemon: Daemon, directory: Path, made: Plain, name: str) -> None:
    daemon("load", "-q", "-i", tarball(directory / "load.tar", by_nix(made, [name])))


def test_an_image_of_the_daemon_is_read_by_name_and_by_id(
    daemon: Daemon, ask: Asking, tmp_path: Path, unique: str
) -> None:
    made = Plain(label=unique)
    load(daemon, tmp_path, made, f"docker.io/library/{unique}:1")
    archive = tmp_path / "load.tar"
    expected = within(archive, lambda store: pulled(store.repository(unique), "1"))
    for repository, reference in ((unique, "1"), ("", f"@{made.id}"), ("", f"@{made.id[:19]}")):
        found = ask(partial(pull, repository, reference))
        assert found == expected
        assert found[1][made.id] == made.config


@pytest.mark.parametrize("name", ["quay.io/corp/{}:1", "localhost/{}:1", "docker.io/user/{}:1", "localhost:5000/{}:1"])
def test_repositories_have_dockers_familiar_names(
    daemon: Daemon, ask: Asking, tmp_path: Path, unique: str, name: str
) -> None:
    load(daemon, tmp_path, Plain(label=unique), name.format(unique))
    repository = name.format(unique).removeprefix("docker.io/").removesuffix(":1")

    async def look(store: Store) -> tuple[list[Tag], bool]:
        assert repository in [each async for each in store.repositories()]
        tags = [tag async for tag in store.repository(repository).tags()]
        return tags, await store.repository(repository).resolve(Tag("1")) is not None

    assert ask(look) == (["1"], True)


def test_a_missing_image_is_absent(ask: Asking, unique: str) -> None:
    async def look(store: Store) -> list[object]:
        named, by_id = store.repository(unique), store.repository("")
        return [await named.resolve(Tag("1")), await by_id.resolve(Pick.by_id("a" * 64))]

    assert ask(look) == [None, None]


def test_an_unknown_name_is_reported_with_similar_names(
    daemon: Daemon, ask: Asking, tmp_path: Path, unique: str
) -> None:
    load(daemon, tmp_path, Plain(label=unique), f"docker.io/library/{unique}-webserver:1")

    async def tags(store: Store) -> None:
        _ = [tag async for tag in store.repository(f"{unique}-webservr").tags()]

    with pytest.raises(RepositoryNotFound) as caught:
        ask(tags)
    assert f"{unique}-webserver:1" in caught.value.remedy


def test_images_are_written_with_their_ids(daemon: Daemon, ask: Asking, unique: str) -> None:
    async def write(store: Store) -> None:
        store.lock()
        for repository, tag, made in ((unique, "1", ONE), (f"quay.io/{unique}", "2", TWO), (unique, "3", ONE)):
            await pushed(store.repository(repository), packed(made), tag)

    ask(write)
    for name, made in ((f"docker.io/library/{unique}:1", ONE), (f"quay.io/{unique}:2", TWO), (f"{unique}:3", ONE)):
        assert daemon("inspect", "--format", "{{.Id}}", name) == made.id.removeprefix("sha256:")


def test_an_image_is_recognised_by_its_config_and_a_tag_is_deleted_alone(ask: Asking, unique: str) -> None:
    image = packed(ONE)

    async def write(store: Store) -> None:
        for tag in ("1", "2"):
            await pushed(store.repository(unique), image, tag)

    async def holds(store: Store) -> list[bool]:
        repository: Any = store.repository(unique)
        return [
            await repository.holds_image(Tag(tag), Manifest.parse(image.raw, image.media_type)) for tag in ("1", "2")
        ]

    ask(write)
    assert ask(holds) == [True, True]
    ask(lambda store: store.repository(unique).delete(Tag("1")))
    assert ask(holds) == [False, True]
    with pytest.raises(ContentNotFound):
        ask(lambda store: store.repository(unique).delete(Tag("1")))


def test_an_index_is_rejected_with_a_remedy(ask: Asking, unique: str) -> None:
    made = multi_platform(unique)
    with pytest.raises(Denied) as caught:
        ask(lambda store: store.repository(unique).tag(Manifest.parse(made.raw, made.media_type), Tag("1")))
    assert "--platform" in caught.value.remedy


def test_an_image_of_the_daemon_gets_another_name_without_a_load(daemon: Daemon, tmp_path: Path, unique: str) -> None:
    load(daemon, tmp_path, Plain(label=unique), f"docker.io/library/{unique}:1")
    runs = Runs(tmp_path, daemon.host)
    for _ in range(2):
        report = runs(f"{DAEMON}{unique}:1", f"{DAEMON}other", "x.example")[1]
        assert not report.failures
    assert daemon("inspect", "--format", "{{.Id}}", f"docker.io/other/{unique}:1") == Plain(label=unique).id[7:]


def test_a_second_push_exports_and_copies_nothing(
    daemon: Daemon, registry: DockerRegistry, tmp_path: Path, unique: str
) -> None:
    load(daemon, tmp_path, Plain((BASE,), unique), f"docker.io/library/{unique}:1")
    runs = Runs(tmp_path, daemon.host)
    source, to = f"{DAEMON}{unique}:1", f"{registry.host}/mirror"
    assert runs(source, to, registry.host)[1].counts.blobs_written == 2
    exports = daemon.log.count("Copying config")
    plan, report = runs(source, to, registry.host)
    assert not report.failures
    assert not plan.steps
    assert daemon.log.count("Copying config") == exports
    runs.cache = None  # an image that is not cached is exported again, with the same result
    assert not runs(source, to, registry.host)[0].steps
    assert daemon.log.count("Copying config") == exports + 1


def test_an_image_of_the_daemon_gets_another_tag_without_a_copy(
    daemon: Daemon, ask: Asking, tmp_path: Path, unique: str
) -> None:
    made = Plain((BASE,), unique)
    load(daemon, tmp_path, made, f"docker.io/library/{unique}:1")
    loads = daemon.log.count("Getting image source")

    async def tag(store: Store) -> None:
        image = packed(made)
        await store.repository(f"quay.io/{unique}").tag(Manifest.parse(image.raw, image.media_type), Tag("2"))

    ask(tag)
    assert daemon.log.count("Getting image source") == loads
    assert daemon("inspect", "--format", "{{.Id}}", f"quay.io/{unique}:2") == made.id.removeprefix("sha256:")


def test_the_daemon_is_found_by_host_docker_host_or_podmans_socket(daemon: Daemon, tmp_path: Path) -> None:
    async def ping(store: Store) -> None:
        await asyncio.to_thread(store.lock)

    wrong = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    using(daemon.host, tmp_path, ping, wrong)
    using(str(daemon.socket), tmp_path, ping, wrong)
    using(None, tmp_path, ping, {"DOCKER_HOST": daemon.host})
    runtime = daemon.socket.parent / "runtime"
    (runtime / "podman").mkdir(parents=True)
    (runtime / "podman/podman.sock").symlink_to(daemon.socket)
    using(None, tmp_path, ping, {"XDG_RUNTIME_DIR": str(runtime)})
