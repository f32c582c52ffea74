"""One run at a time in one directory: the second exits with 6 at once, and a lock ends with its process."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.seeds import mirror_all
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.wire import Registry


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Mirrorsync:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirror_all(mirrorsync, registry.host, unique, "1")
    return mirrorsync


@pytest.fixture
def held(site: Mirrorsync, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Lock a file as another process would: flock, on another open file."""
    site("apply", code=0)
    path = site.directory / request.param
    (site.directory / "disk/index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path


@pytest.mark.parametrize(
    ("held", "named"), [("mirror.yaml", "mirror.yaml"), ("disk/oci-layout", "disk")], indirect=["held"]
)
def test_a_second_run_with_the_same_spec_or_directory_exits_at_once(site: Mirrorsync, held: Path, named: str) -> None:
    refused = site("apply", code=6)
    assert f"another run is working on {site.directory}/{named}" in refused.err
    assert "the lock is released with its process" in refused.err
    assert site("apply", "--json", code=6).json()["error"]["exit_code"] == 6
    site("plan", code=0)  # reading needs no lock


@pytest.mark.parametrize("held", ["mirror.yaml"], indirect=True)
def test_a_saved_plan_uses_the_lock_of_its_spec(site: Mirrorsync, held: Path) -> None:
    site("plan", "--output", "plan.json", code=0)
    site("apply", "plan.json", code=6)


@pytest.mark.parametrize("held", ["disk/oci-layout"], indirect=True)
def test_another_spec_with_the_same_directory_is_locked_out(site: Mirrorsync, held: Path) -> None:
    (site.directory / "other.yaml").write_text((site.directory / "mirror.yaml").read_text())
    site("apply", "other.yaml", code=6)


@pytest.mark.parametrize("held", ["disk/oci-layout"], indirect=True)
def test_the_lock_of_another_directory_is_not_needed(site: Mirrorsync, held: Path) -> None:
    (site.directory / "mirror.yaml").write_text(
        (site.directory / "mirror.yaml").read_text().replace("disk", "elsewhere")
    )
    site("apply", code=0)
    assert "nothing to do" in site("apply", code=0).out
