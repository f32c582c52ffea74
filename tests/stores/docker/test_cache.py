"""The cache that a run leaves for the next one, and what happens if it is damaged; with the whole engine."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrorsync.environment import Environment
from mirrorsync.errors import IntegrityError, Mismatch
from mirrorsync.events import Event, Noticed
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.plan.model import Plan
from mirrorsync.spec.load import load
from mirrorsync.stores.base import Store
from mirrorsync.stores.docker.archive_store import DockerArchiveStore
from mirrorsync.stores.docker.daemon_store import DockerDaemonStore
from mirrorsync.stores.open import opener
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import noise
from tests.stores.docker.parts import ONE, Plain, by_nix, opened, pulled, tarball, within
from tests.sync.in_memory import no_wait

ARCHIVE, DAEMON = "docker-archive:", "docker-daemon:"
LARGE = Plain((noise("large", 2_000_000) + bytes(1_000_000), *ONE.layers))


class Runs:
    """Runs of the engine with all of docker's stores, on one cache."""

    def __init__(self, directory: Path, daemon: str | None = None) -> None:
        self.directory = directory
        self.cache: Path | None = directory / "cache"
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        self._daemon = daemon
        self.events: list[Event] = []

    def _opener(self, host: str) -> Callable[[str], Store]:
        registries = opener(Environment({host: HostSettings(plain_http=True)}))

        def open_store(address: str) -> Store:
            around = {"temporary": self.temporary, "cache_directory": self.cache, "observer": self.events.append}
            if address.startswith(ARCHIVE):
                return DockerArchiveStore(Path(address.removeprefix(ARCHIVE)), **around)  # type: ignore[arg-type]
            if address.startswith(DAEMON):
                return DockerDaemonStore(self._daemon, {}, **around)  # type: ignore[arg-type]
            return registries(address)

        return open_store

    def __call__(self, source: str, destination: str, host: str) -> tuple[Plan, Report]:
        """Mirror one image."""
        document = {
            "version": 1,
            "registries": {host: {"plain_http": True}},
            "destinations": {"there": destination},
            "defaults": {"to": ["there"]},
            "mirrors": [source],
        }
        spec = load(json.dumps(document).encode(), source="/mirror.yaml", environment={}, base="/")

        async def run() -> tuple[Plan, Report]:
            async with Session(self._opener(host)) as session:
                plan = await make_plan(spec, session)
                return plan, await apply(plan, session, sleep=no_wait)

        plan, report = asyncio.run(run())
        assert not list(self.temporary.iterdir()), "temporary files are left"
        return plan, report


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.mark.parametrize("memory", ["remembered", "forgotten"])
def test_a_second_push_of_an_archive_copies_nothing(
    runs: Runs, registry: DockerRegistry, unique: str, memory: str
) -> None:
    path = tarball(runs.directory / "a.tar", by_nix(LARGE, ["app:1"]))
    first = runs(f"{ARCHIVE}{path}:app:1", f"{registry.host}/{unique}", registry.host)[1]
    assert first.counts.blobs_written == 4
    if memory == "forgotten":
        shutil.rmtree(runs.cache or "")
    registry.new_requests()
    plan, second = runs(f"{ARCHIVE}{path}:app:1", f"{registry.host}/{unique}", registry.host)
    assert not second.failures
    assert not plan.steps
    assert second.counts.bytes_read == 0
    assert {access.method for access in registry.new_requests()} <= {"GET", "HEAD"}


@pytest.mark.parametrize("memory", ["remembered", "forgotten"])
def test_an_image_returns_unchanged_from_a_registry_to_its_archive(
    runs: Runs, registry: DockerRegistry, unique: str, memory: str
) -> None:
    path = tarball(runs.directory / "a.tar", by_nix(LARGE, [f"{unique}:1"]))
    runs(f"{ARCHIVE}{path}:{unique}:1", f"{registry.host}/mirror", registry.host)
    if memory == "forgotten":
        shutil.rmtree(runs.cache or "")
    for _ in range(2):
        plan, report = runs(f"{registry.host}/mirror/{unique}:1", f"{ARCHIVE}{path}:other", registry.host)
        assert not report.failures
    assert not plan.steps
    found = within(path, lambda store: pulled(store.repository(f"other/mirror/{unique}"), "1"))[0]
    assert found.blobs[0].digest == LARGE.id


def test_a_cached_layer_is_compressed_only_when_it_is_copied(
    runs: Runs, fresh_registry: DockerRegistry, registry: DockerRegistry, unique: str
) -> None:
    path = tarball(runs.directory / "a.tar", by_nix(LARGE, ["app:1"]))
    source, host = f"{ARCHIVE}{path}:app:1", registry.host
    runs(source, f"{host}/{unique}", host)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1  # the layer of an image that the destination has is not read
    path.write_bytes(data)
    assert not runs(source, f"{host}/{unique}", host)[1].failures
    failed = runs(source, f"{fresh_registry.host}/{unique}", fresh_registry.host)[1]
    assert [type(failure.error) for failure in failed.failures] == [Mismatch]
    assert "diff_id" in str(failed.failures[0].error)


def test_compressing_a_large_archive_is_announced(tmp_path: Path) -> None:
    path = tarball(tmp_path / "a.tar", by_nix(Plain((bytes(300 << 20),)), ["app:1"]))
    recorded: list[Event] = []

    async def look() -> None:
        async with opened(path, tmp_path / "cache", observer=recorded.append) as store:
            await store.repository("app").resolve(Tag("1"))

    for _ in range(2):
        asyncio.run(look())
    assert len(recorded) == 1  # the second time it is known
    assert isinstance(recorded[0], Noticed)
    assert "300 MiB" in recorded[0].message


def _emptied(file: Path) -> None:
    file.write_bytes(b"")


def _other(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"size": ', b'"size": 1'))


def _garbage(file: Path) -> None:
    file.write_bytes(b"\x00\xff" * 1000)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [_emptied, _other, _garbage, _cut, _directory])
def test_a_damaged_cache_changes_nothing(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path, cache = tarball(tmp_path / "a.tar", by_nix(ONE, ["app:1"])), tmp_path / "cache"

    def read() -> bytes:
        return within(path, lambda store: pulled(store.repository("app"), "1"), cache)[0].raw

    first = read()
    entries = [entry for entry in cache.rglob("*") if entry.is_file()]
    assert entries
    for entry in entries:
        damage(entry)
    assert read() == first
    assert read() == first


def test_cache_entries_under_another_name_are_ignored(tmp_path: Path) -> None:
    path, cache = tarball(tmp_path / "a.tar", by_nix(ONE, ["app:1"])), tmp_path / "cache"

    def read() -> bytes:
        return within(path, lambda store: pulled(store.repository("app"), "1"), cache)[0].raw

    first = read()
    one, other = sorted(entry for entry in cache.rglob("*") if entry.is_file() and "isal" in str(entry))
    swapped = one.read_bytes(), other.read_bytes()
    other.write_bytes(swapped[0])
    one.write_bytes(swapped[1])
    assert read() == first


def test_an_unwritable_cache_is_reported_once_and_fails_nothing(tmp_path: Path) -> None:
    path = tarball(tmp_path / "a.tar", by_nix(ONE, ["app:1"]))
    (tmp_path / "cache").write_bytes(b"a file")
    recorded: list[Event] = []

    async def look() -> None:
        async with opened(path, tmp_path / "cache", observer=recorded.append) as store:
            assert await store.repository("app").resolve(Tag("1"))

    asyncio.run(look())
    assert [type(event) for event in recorded] == [Noticed]


def test_a_wrong_cache_entry_is_an_error_once_and_then_removed(
    runs: Runs, registry: DockerRegistry, unique: str
) -> None:
    """Another compressor under the same name: impossible, but if it happens, no wrong content may be published."""
    path = tarball(runs.directory / "a.tar", by_nix(LARGE, ["app:1"]))
    source, to, host = f"{ARCHIVE}{path}:app:1", f"{registry.host}/{unique}", registry.host

    async def lie() -> None:
        from mirrorsync.files.gzip import COMPRESSOR
        from mirrorsync.oci.descriptor import Descriptor
        from mirrorsync.stores.docker.cache import LayerCache

        for data in LARGE.layers:
            wrong = Descriptor("", Digest.of(data + b"!"), 1_500_000)
            LayerCache(runs.cache, lambda _: None).add_layer(Digest.of(data), COMPRESSOR, wrong)

    asyncio.run(lie())
    registry.new_requests()
    failed = runs(source, to, host)[1]
    assert [type(failure.error) for failure in failed.failures] == [IntegrityError]
    assert "run again" in failed.failures[0].error.remedy
    assert not [access for access in registry.new_requests() if access.method == "PUT" and "manifests" in access.path]
    for _ in range(3):  # each run finds at least one wrong entry
        report = runs(source, to, host)[1]
    assert not report.failures
