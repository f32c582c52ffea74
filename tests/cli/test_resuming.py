"""A saved plan goes on where a run of it ended, however it ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.parts.docker_registry import DockerRegistry
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer, noise
from tests.parts.mirrorsync import Mirrorsync, Running, plain
from tests.parts.wire import Registry

TAGS = [f"v{number}" for number in range(20)]
BASE = layer({"base": noise("base", 300_000)})


def made(tag: str) -> Image:
    return image([BASE, layer({"what": noise(tag, 40_000)})])


@pytest.fixture
def site(
    mirrorsync: Mirrorsync, registry: DockerRegistry, second_registry: DockerRegistry, unique: str
) -> tuple[Mirrorsync, str]:
    """Return mirrorsync with a saved plan that copies 20 images to a registry, and the name of their repository."""
    source = Registry(registry.host)
    for tag in TAGS:
        source.push(f"{unique}/app", made(tag), tag)
    mirrorsync.spec(
        {
            "registries": plain(registry.host, second_registry.host),
            "destinations": {"there": second_registry.host},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": TAGS}],
        }
    )
    mirrorsync("plan", "--output", "plan.json", code=0)
    return mirrorsync, f"{unique}/app"


def kill_after(mirrorsync: Mirrorsync, images: int) -> None:
    """Apply the plan, and kill the process as soon as it has said that so many images are done."""
    running = Running(mirrorsync, "apply", "plan.json")
    seen = 0
    while seen < images:
        line = running.stderr.readline()
        assert line, "it ended before"
        seen += 'event="image done"' in line
    running.kill()


@pytest.mark.parametrize("images", [1, 2, 3, 5, 7, 9, 11, 13, 15, 17])
def test_a_plan_whose_run_was_killed_goes_on_and_does_only_the_rest(
    site: tuple[Mirrorsync, str], second_registry: DockerRegistry, images: int
) -> None:
    mirrorsync, repository = site
    kill_after(mirrorsync, images)
    done = mirrorsync("apply", "plan.json", "--json", code=0)
    outcomes = [one["outcome"] for one in valid(done.json(), "report")["images"]]
    already = outcomes.count("unchanged")  # what was under way when the process was killed may have arrived or not
    assert images <= already
    assert outcomes.count("done") == len(TAGS) - already
    assert f"{already} of {len(TAGS)} changes are already done; {len(TAGS) - already} to do" in done.err
    target = Registry(second_registry.host)
    for tag in TAGS:
        assert target.holds(repository, made(tag), tag)


def test_a_plan_that_was_carried_out_is_applied_again_without_a_write(
    site: tuple[Mirrorsync, str], second_registry: DockerRegistry
) -> None:
    mirrorsync, repository = site
    mirrorsync("apply", "plan.json", code=0)
    second_registry.new_requests()
    done = mirrorsync("apply", "plan.json", code=0)
    assert f"nothing to do: {len(TAGS)} images" in done.out
    assert {one.method for one in second_registry.new_requests() if repository in one.path} <= {"GET", "HEAD"}


def test_a_tag_that_is_neither_what_it_was_nor_what_the_plan_wants_is_stale(
    site: tuple[Mirrorsync, str], second_registry: DockerRegistry
) -> None:
    mirrorsync, repository = site
    kill_after(mirrorsync, 3)
    target = Registry(second_registry.host)
    other = image([layer({"other": os.urandom(8)})])
    target.push(repository, other, target.tags(repository)[0])
    done = mirrorsync("apply", "plan.json", code=5)
    assert "changed after the plan was made; nothing was done" in done.err


def test_a_plan_with_failures_says_so_when_it_is_applied(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    Registry(registry.host).push(f"{unique}/app", made("v1"), "v1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": ["v1", "absent"]}],
        }
    )
    mirrorsync("plan", "--output", "plan.json", code=3)
    done = mirrorsync("apply", "plan.json", code=3)
    assert f"failed: source {registry.host}/{unique}/app:absent: " in done.err
    assert (mirrorsync.directory / "disk" / "index.json").is_file()
