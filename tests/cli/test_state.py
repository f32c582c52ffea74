"""`mirrorsync state`: what a mirror remembers goes to another machine, and comes back after it was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.test_history import owned, state_file
from tests.cli.test_min_age import Site
from tests.parts.docker_registry import DockerRegistry
from tests.parts.mirrorsync import Mirrorsync


@pytest.fixture
def site(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Site:
    made = Site(mirrorsync, registry.host, unique)
    made.push("1", "one")
    made.spec(["1"])
    mirrorsync("apply", code=0)
    return made


def lose(site: Site) -> None:
    for path in state_file(site.run).parent.iterdir():
        path.unlink()


def test_a_lost_memory_is_restored_from_an_export(site: Site) -> None:
    site.run("state", "export", "state.json", code=0)
    lose(site)
    site.run("apply", code=0)
    assert owned(site.run) == {"1": True}, "adopted, since nothing is known of it"
    lose(site)
    assert "imported: 1 tag, and when 1 image were" in site.run("state", "import", "state.json", code=0).out
    site.run("apply", code=0)
    assert owned(site.run) == {"1": False}


def test_an_image_that_waits_goes_on_waiting_after_an_import(site: Site) -> None:
    site.push("1", "newer")
    site.spec(["1"], min_age="3d")
    site.run("apply", code=0)
    site.days_pass(2)
    site.run("state", "export", "state.json", code=0)
    lose(site)
    site.run("apply", code=0)
    site.run("state", "import", "state.json", code=0)
    site.days_pass(1)
    before = site.digest("1")
    site.run("apply", code=0)
    assert site.digest("1") != before, "three days after it was first seen"


def test_an_import_does_not_change_what_is_owned_now(site: Site) -> None:
    site.run("state", "export", "old.json", code=0)
    site.push("1", "newer")
    site.run("apply", code=0)
    site.run("state", "import", "old.json", code=0)
    (tag,) = json.loads(site.run("state", "export", code=0).out)["owned"]
    assert tag["digest"] == site.digest("1")


def test_export_and_import_work_as_a_pipe(site: Site) -> None:
    exported = site.run("state", "export", code=0).out
    lose(site)
    site.run("state", "import", "-", code=0, stdin=exported)
    assert json.loads(site.run("state", "export", code=0).out) == json.loads(exported)


def test_the_document_is_as_its_schema_says(site: Site) -> None:
    assert site.run("state", "export", code=0).json()["owned"]


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "no object": lambda value: [value],
    "another kind": lambda value: value | {"kind": "mirrorsync.plan"},
    "another version": lambda value: value | {"version": 2},
    "no member": lambda value: {name: one for name, one in value.items() if name != "owned"},
    "a member too many": lambda value: value | {"more": 1},
    "a digest that is none": lambda value: value | {"seen": [{"digest": "sha256:1", "first": "2026-01-01T00:00:00Z"}]},
    "a time that is none": lambda value: value | {"seen": [value["seen"][0] | {"first": "yesterday"}]},
    "a tag that is none": lambda value: value | {"owned": [value["owned"][0] | {"tag": "../x"}]},
    "a word for a truth": lambda value: value | {"owned": [value["owned"][0] | {"adopted": "no"}]},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_export_is_refused_as_a_whole(site: Site, damage: Callable[[Any], Any]) -> None:
    exported = json.loads(site.run("state", "export", code=0).out)
    done = site.run("state", "import", "-", code=2, stdin=json.dumps(damage(exported)))
    assert "state export" in done.err
    assert json.loads(site.run("state", "export", code=0).out) == exported


def test_what_is_not_json_is_refused(site: Site) -> None:
    assert "is not an exported state" in site.run("state", "import", "-", code=2, stdin="{nonsense").err
