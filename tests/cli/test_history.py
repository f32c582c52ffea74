"""`mirrorsync history`: what runs did, from a memory that is never a reason for a run to fail."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mirrorsync.state import open_memory
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, multi_platform
from tests.parts.mirrorsync import Mirrorsync, Running, plain
from tests.parts.wire import Registry

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d  (\w+) +(.*?)  (\S+ \w+)  \d+ s")


@pytest.fixture
def source(registry: DockerRegistry) -> Registry:
    return Registry(registry.host)


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, source: Registry, unique: str) -> Mirrorsync:
    source.push(f"{unique}/app", multi_platform("one"), "1")
    source.push(f"{unique}/app", multi_platform("two"), "2")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"corp": f"{registry.host}/{unique}/m"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": ["1", "2"], "name": "app"}],
        }
    )
    return mirrorsync


def state_file(site: Mirrorsync) -> Path:
    (found,) = (site.home / ".local/state/mirrorsync").glob("*.sqlite")
    return found


def lines(site: Mirrorsync) -> list[tuple[str, str]]:
    found = [LINE.fullmatch(line) for line in site("history", code=0).out.splitlines()]
    return [(one[1], one[2]) for one in found if one]


def test_a_run_is_one_line_with_what_it_changed(site: Mirrorsync, source: Registry, unique: str) -> None:
    site("apply", code=0)
    site("apply", code=0)
    source.push(f"{unique}/app", multi_platform("three"), "2")
    site("apply", code=0)
    assert lines(site) == [
        ("ok", "2 new (generation 1)"),
        ("ok", "no change"),
        ("ok", "1 moved (generation 2)"),
    ]
    shown = site("history", "-n", "1", "--changes", code=0).out.splitlines()
    assert len(shown) == 2
    assert re.search(rf"moved +\S+/{unique}/m/app:2  \w{{12}} -> \w{{12}}", shown[1])


def test_the_document_has_every_change(site: Mirrorsync) -> None:
    site("apply", code=0)
    (run,) = site("history", "--changes", "--json", code=0).json()["runs"]
    assert run["counts"] == {"new": 2}
    assert [(change["tag"], change["outcome"]) for change in run["changes"]] == [("1", "done"), ("2", "done")]
    assert run["bytes_read"] > 0


def test_a_run_with_failures_is_remembered_as_partly_done(
    site: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    site.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1", f"{registry.host}/{unique}/app:none"],
        }
    )
    site("apply", code=3)
    assert lines(site) == [("partly", "1 new, 1 failed (generation 1)")]


def test_without_a_run_history_says_where_runs_are_remembered(site: Mirrorsync) -> None:
    done = site("history", code=2)
    assert "no run of" in done.err
    assert "STATE_DIRECTORY" in done.err
    site("plan", code=0)
    site("history", code=2)


def test_the_state_directory_of_systemd_is_used_first(site: Mirrorsync) -> None:
    directory = site.directory / "state"
    site("apply", env={"STATE_DIRECTORY": f"{directory}:/elsewhere"}, code=0)
    assert len(list(directory.glob("mirror-*.sqlite"))) == 1
    assert not (site.home / ".local").exists()


def test_a_state_file_that_cannot_be_written_is_a_notice_and_the_run_goes_on(site: Mirrorsync) -> None:
    (site.directory / "file").touch()
    done = site("apply", env={"STATE_DIRECTORY": str(site.directory / "file")}, code=0)
    assert "this run is not remembered" in done.err
    assert done.out.startswith("2 done") or "2 new" in done.out


def test_a_lost_state_file_is_said(site: Mirrorsync) -> None:
    site("apply", code=0)
    shutil.rmtree(site.home / ".local")
    assert "2 images were at the destination before: they are adopted" in site("apply", code=0).err
    assert site("apply", code=0).err == ""


def test_a_damaged_state_file_is_said_and_set_aside(site: Mirrorsync) -> None:
    site("apply", code=0)
    state_file(site).write_bytes(b"no database" * 1000)
    assert "damaged" in site("apply", code=0).err
    assert site("apply", code=0).err == ""


def owned(site: Mirrorsync) -> dict[str, bool]:
    """Return whether the tags that are remembered are adopted."""
    memory = open_memory(state_file(site), print)
    try:
        return {str(tag): owned.adopted for (_, tag), owned in memory.owned().items()}
    finally:
        memory.close()


def test_tags_that_were_there_before_are_adopted_and_those_set_by_a_run_are_owned(
    site: Mirrorsync, source: Registry, unique: str
) -> None:
    source.push(f"{unique}/m/app", multi_platform("one"), "1")
    site("apply", code=0)
    assert owned(site) == {"1": True, "2": False}
    source.push(f"{unique}/app", image([b"newer"]), "1")
    site("apply", code=0)
    assert owned(site) == {"1": False, "2": False}, "this mirror has set it now"


def test_a_tag_that_a_killed_run_has_set_is_owned(site: Mirrorsync) -> None:
    running = Running(site, "apply")
    while 'event="image done"' not in running.stderr.readline():
        pass
    running.kill()
    site("apply", code=0)
    assert owned(site) == {"1": False, "2": False}
