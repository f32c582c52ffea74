"""A program stops a run: from another thread, from an observer, or by a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import mirrorsync
from mirrorsync.events import Event, PhaseAdvanced
from tests.parts.images import digest, image, noise
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly

SMALL = image([noise("small", 1000)])
LARGE = image([noise("large", 3_000_000)])
# Two blobs and the tag of the small image, and the config of the large one.
STEPS_BUT_THE_LARGE_ONES = 4


def spec_of(server: Unruly, directory: Path, *tags: str) -> mirrorsync.Spec:
    path = directory / "mirror.yaml"
    mirrors = ", ".join(f"'{server.host}/app:{tag}'" for tag in tags)
    path.write_text(
        f"version: 1\nregistries: {{'{server.host}': {{plain_http: true}}}}\n"
        f"destinations: {{disk: 'oci:disk'}}\nmirrors: [{mirrors}]\n"
    )
    return mirrorsync.load_spec(path)


def holding() -> TinyRegistry:
    tiny = TinyRegistry()
    tiny.hold("app", SMALL, "small")
    tiny.hold("app", LARGE, "large")
    return tiny


@pytest.mark.parametrize("awaited", [True, False])
def test_a_stopped_apply_returns_its_report(tmp_path: Path, awaited: bool) -> None:
    stop = mirrorsync.Stop()
    with Unruly(holding()) as server:
        key = digest(next(data for data in LARGE.blobs.values() if len(data) == 3_000_000))
        server.fault("wait", "GET", f"/blobs/{key}", arrived=stop.stop)
        spec = spec_of(server, tmp_path, "large")
        environment = mirrorsync.process_environment({})
        if awaited:
            report = asyncio.run(mirrorsync.app.apply_spec(spec, environment=environment, stop=stop))
        else:
            report = mirrorsync.apply_spec(spec, environment=environment, stop=stop)
    assert report.interrupted
    assert not report.deadline
    assert [result.outcome for result in report.results] == ["skipped"]


def test_a_stopped_run_keeps_finished_images_and_the_next_one_continues(tmp_path: Path) -> None:
    stop = mirrorsync.Stop()

    left = [STEPS_BUT_THE_LARGE_ONES]

    def observe(event: Event) -> None:
        left[0] -= isinstance(event, PhaseAdvanced) and event.phase == "apply"
        if not left[0]:
            stop.stop()
            stop.stop()  # a second time changes nothing

    with Unruly(holding()) as server:
        key = digest(next(data for data in LARGE.blobs.values() if len(data) == 3_000_000))
        server.fault("wait", "GET", f"/blobs/{key}", hits=[1], arrived=lambda: stop.event.wait(30))
        spec = spec_of(server, tmp_path, "small", "large")
        environment = mirrorsync.process_environment({}, observer=observe)
        report = mirrorsync.apply_spec(spec, environment=environment, stop=stop)
        outcomes = {str(result.change.tag): result.outcome for result in report.results}
        assert outcomes == {"small": "done", "large": "skipped"}
        report = mirrorsync.apply_spec(spec, environment=environment)
        assert report.outcomes == {"done": 1, "unchanged": 1}


def test_a_stop_cancels_requests(tmp_path: Path) -> None:
    stop = mirrorsync.Stop()
    with Unruly(holding()) as server:
        server.fault("wait", "*", "/v2/", arrived=stop.stop)
        with pytest.raises(mirrorsync.Interrupted):
            mirrorsync.make_plan(spec_of(server, tmp_path, "small"), stop=stop)


def test_a_run_stopped_before_its_start_does_nothing(tmp_path: Path) -> None:
    stop = mirrorsync.Stop()
    stop.stop()
    with Unruly(holding()) as server, pytest.raises(mirrorsync.Interrupted):
        mirrorsync.apply_spec(spec_of(server, tmp_path, "small"), stop=stop)
    assert not (tmp_path / "disk").exists()


def test_a_program_can_set_a_deadline(tmp_path: Path) -> None:
    with Unruly(holding()) as server:
        spec = spec_of(server, tmp_path, "small")
        server.fault("wait", "*", "/v2/")
        with pytest.raises(mirrorsync.Interrupted, match="the deadline of 0 seconds passed"):
            mirrorsync.apply_spec(spec, stop=mirrorsync.Stop(deadline=0))


def test_a_deadline_is_in_the_report(tmp_path: Path) -> None:
    passed = []

    def later(seconds: float, call: Callable[[], None]) -> Callable[[], object]:
        loop = asyncio.get_running_loop()
        passed.append((seconds, lambda: loop.call_soon_threadsafe(call)))
        return lambda: None

    stop = mirrorsync.Stop(7200, later)
    with Unruly(holding()) as server:
        key = digest(next(data for data in LARGE.blobs.values() if len(data) == 3_000_000))
        server.fault("wait", "GET", f"/blobs/{key}", arrived=lambda: passed[0][1]() or None)
        report = mirrorsync.apply_spec(spec_of(server, tmp_path, "large"), stop=stop)
    assert passed[0][0] == 7200
    assert (report.interrupted, report.deadline) == (True, True)


def test_the_deadline_of_a_finished_run_does_not_stop_a_later_one(tmp_path: Path) -> None:
    """A run that ends before its deadline leaves no timer behind."""
    stop = mirrorsync.Stop(deadline=3600)
    with Unruly(holding()) as server:
        spec = spec_of(server, tmp_path, "small")
        first = mirrorsync.apply_spec(spec, stop=stop)
        second = mirrorsync.apply_spec(spec, stop=stop)
    assert (first.outcomes, second.outcomes) == ({"done": 1}, {"unchanged": 1})
