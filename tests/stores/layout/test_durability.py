"""A run that is killed, or a power failure, leaves the old layout or the new one, and no incomplete file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.parts.images import Image, image, index, layer, write_layout
from tests.stores.layout.parts import holds, names_of, wrong_files


def _small(name: str, version: str) -> Image:
    return image([layer({"etc/name": name.encode()}), layer({"etc/version": version.encode()})])


OLD = {"app:1": _small("app", "old"), "other:1": _small("other", "1")}
NEW = {"app:1": index([_small("app", "new")]), "app:2": _small("app", "2"), "other:1": OLD["other:1"]}
SIGKILL = -9


class Runs:
    """`mirrorsync apply` from one layout to another, repeatedly, each time into a directory of its own."""

    def __init__(self, directory: Path, images: dict[str, Image], before: Path | None = None) -> None:
        self.directory = directory
        self.images = images
        self.fresh = before is None
        self._before = before
        write_layout(directory / "source", images)

    def run(self, works: Sequence[dict[str, Any]]) -> list[int]:
        """Run mirrorsync for each of `works`; return the exit codes."""
        for work in works:
            name = work.pop("name")
            work["layout"] = str(self.directory / name)
            work["output"] = str(self.directory / f"{name}.log")
            work["arguments"] = ["apply", "--quiet", str(self._spec(name))]
        done = subprocess.run(
            [sys.executable, "-m", "tests.stores.layout.watched"],
            input=json.dumps(works),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        codes = json.loads(done.stdout)
        assert isinstance(codes, list)
        return codes

    def _spec(self, name: str) -> Path:
        path = self.directory / f"{name}.yaml"
        if not path.exists():
            if self._before is not None:
                shutil.copytree(self._before, self.directory / name)
            mirrors = [f"oci:source:{image}" for image in self.images]
            path.write_text(json.dumps({"version": 1, "destinations": {"disk": f"oci:{name}"}, "mirrors": mirrors}))
        return path

    def trace(self, name: str) -> list[list[str]]:
        """Run once to the end; return the events in order: [event, path, ...]."""
        trace = self.directory / f"{name}.trace"
        assert self.run([{"name": name, "trace": str(trace)}]) == [0], (self.directory / f"{name}.log").read_text()
        return [json.loads(line) for line in trace.read_text().splitlines()]


def files(layout: Path) -> set[str]:
    return {str(path.relative_to(layout)) for path in layout.rglob("*")}


@pytest.fixture(params=("fresh", "update"))
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Runs:
    """Runs that create a layout, and runs that update one."""
    if request.param == "fresh":
        return Runs(tmp_path, NEW)
    (tmp_path / "before").mkdir()
    before = Runs(tmp_path / "before", OLD)
    before.trace("old")
    return Runs(tmp_path, NEW, tmp_path / "before/old")


def test_content_is_synced_before_its_rename_and_renamed_before_the_index_names_it(runs: Runs) -> None:
    trace = runs.trace("layout")
    synced: set[str] = set()
    named = 0
    unsynced: set[str] = set()  # directories with new names in them
    for event, *paths in trace:
        if event == "fsync":
            synced.add(paths[0])
            unsynced.discard(paths[0])
        elif event in ("os.rename", "os.link"):
            source, final = paths
            assert source in synced, f"{final} was not synced before it got its name"
            if final == "index.json":
                # The first one names nothing.
                assert not (named and unsynced & {"blobs/sha256", "blobs"}), "index.json came before what it names"
            else:
                named += final.startswith("blobs/")
            unsynced.add(str(Path(final).parent).replace(".", ""))
        elif event == "os.mkdir" and paths[0]:
            unsynced.add(str(Path(paths[0]).parent).replace(".", ""))
        elif event == "open":
            assert paths[0].startswith(".incoming"), f"{paths[0]} was written under its own name"
            synced.discard(paths[0])
    assert named >= 5
    assert unsynced == set()
    index_writes = [paths for event, *paths in trace if event == "os.rename" and paths[-1] == "index.json"]
    assert len(index_writes) <= 2


def test_a_run_that_is_killed_at_any_point_leaves_a_valid_layout_that_the_next_one_completes(runs: Runs) -> None:
    events = len(runs.trace("whole"))
    assert events > 30
    expected = files(runs.directory / "whole")
    # All events that create the layout and that end the run, and many of those that write the content.
    begin = 13 if runs.fresh else 1
    numbers = [*range(1, begin + 1), *range(begin + 5, events - 6, 10), *range(events - 6, events + 1)]
    names = [f"killed{number}" for number in numbers]
    codes = runs.run([{"name": name, "kill_at": number} for number, name in zip(numbers, names, strict=True)])
    # The order of threads varies, so a run has a few events more or less than another.
    assert codes[:-3] == [SIGKILL] * (len(codes) - 3)
    for name in names:
        layout = runs.directory / name
        assert wrong_files(layout) == [], name
        if (layout / "index.json").exists():
            for image, found in names_of(layout).items():
                choices = [made[image] for made in (OLD, NEW) if image in made]
                choices += [made for made in OLD.values() if image.endswith(made.digest)]
                assert any(made.digest == found and holds(layout, image, made) for made in choices), (name, image)
    again = runs.run([{"name": name, "kill_at": 0} for name in names])
    for name, code in zip(names, again, strict=True):
        assert code == 0, (name, (runs.directory / f"{name}.log").read_text())
        # An empty .incoming stays when a run was killed at its very end and the next one has nothing to write.
        assert files(runs.directory / name) - {".incoming"} == expected, name
        assert names_of(runs.directory / name) == names_of(runs.directory / "whole")
    assert wrong_files(runs.directory / names[-1]) == []


def test_content_of_a_killed_run_is_made_durable_by_the_next_run(tmp_path: Path) -> None:
    """Its blobs exist and are not stored again, but the directory of their names was not synced."""
    runs = Runs(tmp_path, NEW)
    whole = runs.trace("whole")
    last = max(number for number, (event, *paths) in enumerate(whole, 1) if paths[-1].startswith("blobs/sha256/"))
    assert runs.run([{"name": "killed", "kill_at": last + 1}]) == [SIGKILL]
    trace = runs.trace("killed")
    renamed = [number for number, event in enumerate(trace) if event[0] == "os.rename" and event[-1] == "index.json"]
    assert ["fsync", "blobs/sha256"] in trace[: renamed[-1]]
