"""`--deadline`: a run stops in order at its deadline, and reports it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrorsync.app.runs import apply_spec
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.output.reports import report_parts
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.report import report_document
from mirrorsync.environment import Environment
from mirrorsync.errors import ExitCode
from mirrorsync.events import Event, Observer, PhaseAdvanced, Retrying, ignore
from mirrorsync.sync.run.report import Report, lost_images
from tests.parts.documents import valid
from tests.parts.images import digest, image, noise
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly

SMALL = image([noise("small", 1000)])
LARGE = image([noise("large", 3_000_000)])


class Timer:
    """A timer that the test fires; everything around it is as in a real run."""

    def __init__(self) -> None:
        self.seconds = -1.0
        self.cancelled = False
        self._go_off: Callable[[], None] | None = None

    def __call__(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        self.seconds = seconds
        self._go_off = lambda: loop.call_soon_threadsafe(call)  # type: ignore[assignment]

        def cancel() -> None:
            self.cancelled = True

        return cancel

    def fire(self) -> None:
        assert self._go_off is not None
        self._go_off()


class Landed:
    """Notices when all steps are done but those of the large image: two blobs and a tag, and the other one's config."""

    def __init__(self, steps: int) -> None:
        self.done = threading.Event()
        self._left = steps

    def __call__(self, event: Event) -> None:
        self._left -= isinstance(event, PhaseAdvanced) and event.phase == "apply"
        if self._left <= 0:
            self.done.set()


def run(server: Unruly, stop: Stop, directory: Path, *tags: str, observer: Observer = ignore) -> Report:
    document = {
        "version": 1,
        "registries": {server.host: {"plain_http": True}},
        "destinations": {"disk": "oci:disk"},
        "defaults": {"to": ["disk"]},
        "mirrors": [f"{server.host}/app:{tag}" for tag in tags],
    }
    path = directory / "mirror.yaml"
    path.write_text(json.dumps(document))
    environment = Environment(observer=observer)
    return stop.run(lambda: apply_spec(load_spec(path, {}), environment=environment, stop=stop))


def held_at(server: Unruly, path: str, stop: Stop, timer: Timer, landed: threading.Event) -> None:
    """Hold one response back until the other images are copied and the deadline has passed."""

    def arrived() -> None:
        assert landed.wait(30)
        timer.fire()
        assert stop.event.wait(30)

    server.fault("wait", "GET", path, arrived=arrived)


@pytest.mark.parametrize(
    ("tags", "outcomes", "code"),
    [
        (("small", "large"), {"small": "done", "large": "skipped"}, ExitCode.PARTLY),
        (("large",), {"large": "skipped"}, ExitCode.FAILED),
    ],
)
def test_the_deadline_aborts_a_transfer_and_keeps_finished_images(
    tmp_path: Path, tags: tuple[str, ...], outcomes: dict[str, str], code: ExitCode
) -> None:
    tiny = TinyRegistry()
    tiny.hold("app", SMALL, "small")
    tiny.hold("app", LARGE, "large")
    said: list[str] = []
    timer = Timer()
    stop = Stop(said.append, 7200, timer)
    with Unruly(tiny) as server:
        key = digest(next(data for data in LARGE.blobs.values() if len(data) == 3_000_000))
        landed = Landed(4 if "small" in tags else 1)
        held_at(server, f"/blobs/{key}", stop, timer, landed.done)
        report = run(server, stop, tmp_path, *tags, observer=landed)
    ended = stop.code_of(report)
    assert {str(result.change.tag): result.outcome for result in report.results} == outcomes
    assert ended == code
    assert (report.interrupted, report.deadline) == (True, True)
    assert timer.seconds == 7200
    assert timer.cancelled
    assert any("deadline" in line for line in said)
    document = report_document(report, ended)
    valid(document, "report")
    assert document["reason"] == "deadline"
    assert lost_images(report.failures, report.results) == (f"{server.host}/app:large",), "to be run again"
    assert str(list(report_parts(report))[-1]).startswith("stopped at the deadline: ")
    with Unruly(tiny) as server:
        report = run(server, Stop(said.append), tmp_path, *tags)
    assert report.exit_code == ExitCode.DONE


def test_a_deadline_during_the_delay_of_a_retry_skips_the_image(tmp_path: Path) -> None:
    tiny = TinyRegistry()
    tiny.hold("app", LARGE, "large")
    timer = Timer()
    stop = Stop(lambda _: None, 60, timer)
    with Unruly(tiny) as server:
        key = digest(next(data for data in LARGE.blobs.values() if len(data) == 3_000_000))
        server.fault("flip", "GET", f"/blobs/{key}", at=2_999_999)

        def observe(event: Event) -> None:
            if isinstance(event, Retrying):
                timer.fire()

        report = run(server, stop, tmp_path, "large", observer=observe)
    ended = stop.code_of(report)
    assert ended == ExitCode.FAILED
    assert (report.deadline, [result.outcome for result in report.results]) == (True, ["skipped"])


def test_a_run_that_ends_before_its_deadline_is_not_affected(tmp_path: Path) -> None:
    tiny = TinyRegistry()
    tiny.hold("app", SMALL, "small")
    timer = Timer()
    stop = Stop(lambda _: None, 60, timer)
    with Unruly(tiny) as server:
        report = run(server, stop, tmp_path, "small")
    ended = stop.code_of(report)
    assert (ended, report.deadline, report.interrupted) == (ExitCode.DONE, False, False)
    assert report_document(report)["reason"] is None
    assert timer.cancelled


@pytest.mark.parametrize("verb", ["apply", "copy"])
def test_a_deadline_before_the_first_change_fails_and_is_reported(
    mirrorsync: Mirrorsync, verb: str, tmp_path: Path
) -> None:
    tiny = TinyRegistry()
    tiny.hold("app", SMALL, "1")
    with Unruly(tiny) as server:
        mirrorsync.spec(
            {
                "registries": plain(server.host),
                "destinations": {"disk": "oci:disk"},
                "defaults": {"to": ["disk"]},
                "mirrors": [f"{server.host}/app:1"],
            }
        )
        words = {
            "apply": ("apply",),
            "copy": ("copy", "--src-tls-verify=false", f"docker://{server.host}/app:1", "oci:disk:app:1"),
        }[verb]
        done = mirrorsync(*words, "--json", "--deadline", "0s", code=1)
        assert "the deadline of 0 seconds passed" in done.json()["error"]["message"]
        assert done.json()["error"]["exit_code"] == 1
        assert "deadline" in done.err
        assert not (tmp_path / "disk").exists()
        mirrorsync(*words, "--deadline", "1h", code=0)
        assert (tmp_path / "disk/index.json").exists()


@pytest.mark.parametrize("text", ["soon", "90", "-5m"])
def test_an_invalid_deadline_is_a_usage_error(mirrorsync: Mirrorsync, text: str) -> None:
    done = mirrorsync("apply", f"--deadline={text}", code=2)
    assert "not a duration" in done.err
    assert "90s, 30m, 2h" in done.err
