"""`budget:`: whole images within it are mirrored, the others wait for the next run, until all of them are there."""

from __future__ import annotations

import asyncio
import re
from itertools import chain, repeat
from typing import Any

import pytest

from mirrorsync.app.runs import apply_spec
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.output.reports import report_parts
from mirrorsync.environment import Clock, Environment
from tests.parts.images import image, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync

KIB = 1024


class Disks:
    """A layout `src` with images of so many KiB, and a layout as the destination."""

    def __init__(self, run: Mirrorsync, sizes: dict[str, int]) -> None:
        self.run = run
        self.names = list(sizes)
        images = {f"{name}:1": image([noise(name, size * KIB)]) for name, size in sizes.items()}
        write_layout(run.directory / "src", images)

    def spec(self, **keys: Any) -> None:
        mirrors = [f"oci:src:{name}:1" for name in self.names]
        self.run.spec({"destinations": {"disk": "oci:disk"}, "mirrors": mirrors, **keys})

    def apply(self, *words: str) -> dict[str, str]:
        """Run it; return the outcome of each image."""
        report = self.run("apply", "--json", *words, code=0).json()
        return {one["target"]["repository"]: one["outcome"] for one in report["images"]}


@pytest.fixture
def disks(mirrorsync: Mirrorsync) -> Disks:
    return Disks(mirrorsync, {"one": 40, "two": 40, "large": 200, "last": 10})


def test_runs_within_a_budget_of_bytes_mirror_everything_in_the_end(disks: Disks) -> None:
    disks.spec(budget={"bytes": "100KiB"})
    waiting = dict.fromkeys(disks.names, "delayed")
    assert disks.apply() == {**waiting, "one": "done", "two": "done"}
    assert disks.apply() == {**waiting, "one": "unchanged", "two": "unchanged", "large": "done"}
    assert disks.apply()["last"] == "done"
    assert set(disks.apply().values()) == {"unchanged"}


def test_what_waits_is_said_in_the_plan_and_in_the_report(disks: Disks) -> None:
    disks.spec(budget={"bytes": "100KiB"})
    shown = disks.run("plan", code=0).out
    assert "2 images wait for the next run: the budget of 100KiB is used\nPlan: 2 new, 2 delayed; " in shown
    assert " ".join(shown.split()).count("; waits for the next run: the budget of 100KiB is used") == 2
    done = disks.run("apply", code=0).out
    assert "2 images wait for the next run: the budget of 100KiB is used\n2 done, 2 delayed; read 8" in done
    assert "1 image waits for the next run" in disks.run("plan", code=0).out
    assert disks.run("apply", "--quiet", code=0).out == ""


def test_a_saved_plan_does_what_it_says_within_the_budget(disks: Disks) -> None:
    disks.spec(budget={"bytes": "100KiB"})
    disks.run("plan", "--output", "saved.plan", code=0)
    assert "2 images wait for the next run" in disks.run("plan", "saved.plan", code=0).out
    done = disks.run("apply", "saved.plan", code=0).out
    assert "2 done, 2 delayed" in done
    assert disks.apply()["large"] == "done"


def test_an_image_that_waits_is_wanted_and_is_not_pruned(disks: Disks) -> None:
    disks.spec()
    disks.apply()
    images = {f"{name}:1": image([noise(f"new {name}", 40 * KIB)]) for name in disks.names}
    write_layout(disks.run.directory / "moved", images)
    mirrors = [f"oci:moved:{name}:1" for name in disks.names]
    disks.run.spec(
        {"destinations": {"disk": "oci:disk"}, "mirrors": mirrors, "prune": {}, "budget": {"bytes": "50KiB"}}
    )
    assert sorted(disks.apply().values()) == ["delayed", "delayed", "delayed", "done"]
    index = (disks.run.directory / "disk" / "index.json").read_text()
    assert set(re.findall(r'ref\.name":"(\w+):1"', index)) == set(disks.names)


def test_the_time_counts_from_the_start_of_the_run(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    disks.spec(budget={"time": "2h"})
    monkeypatch.chdir(disks.run.directory)

    def applied(seconds: float) -> list[str]:
        """Apply the spec with a plan that takes so many seconds; return the outcomes."""
        times = chain([0.0], repeat(seconds))
        environment = Environment(clock=Clock(monotonic=lambda: next(times)))
        report = asyncio.run(apply_spec(load_spec("mirror.yaml"), environment=environment))
        assert report.exit_code == 0
        lines = [line for line in report_parts(report) if isinstance(line, str)]
        waiting = report.outcomes["delayed"]
        assert f"{waiting} images wait for the next run: the budget of 2h is used" in lines or not waiting
        return [result.outcome for result in report.results]

    assert applied(2 * 3600) == ["done", "delayed", "delayed", "delayed"]
    assert applied(2 * 3600 - 1) == ["unchanged", "done", "done", "done"]


def test_a_rollback_is_not_limited(disks: Disks) -> None:
    disks.spec()
    disks.apply()
    images = {f"{name}:1": image([noise(f"new {name}", 40 * KIB)]) for name in disks.names}
    write_layout(disks.run.directory / "src", images)
    disks.apply()
    disks.spec(budget={"time": "1s", "bytes": "1B", "pulls": 1})
    assert "4 done" in disks.run("rollback", "1", code=0).out


def test_no_backup_is_made_of_a_tag_that_waits(disks: Disks) -> None:
    disks.spec()
    disks.apply()
    images = {f"{name}:1": image([noise(f"new {name}", 40 * KIB)]) for name in disks.names}
    write_layout(disks.run.directory / "src", images)
    disks.spec(budget={"bytes": "50KiB"}, defaults={"to": ["disk"], "backup": "{tag}-old-{date}"})
    assert sorted(disks.apply().values()) == ["delayed", "delayed", "delayed", "done"]
    index = (disks.run.directory / "disk" / "index.json").read_text()
    assert index.count("-old") == 1
