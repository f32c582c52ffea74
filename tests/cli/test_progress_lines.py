"""Progress without a terminal: a line when copying starts, one at intervals, one at its end; all JSON if asked for."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from mirrorsync.cli.output.progress_lines import Lines
from mirrorsync.events import BytesMoved, PhaseAdvanced, PhaseStarted, ReadPlanned, TagSet, TransferPlanned, ignore
from tests.cli.test_quiet_and_verbose import events
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

GIB = 1 << 30


@pytest.fixture
def many(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Mirrorsync:
    """Return a spec of 101 tags."""
    made = image([b"many"])
    for number in range(101):
        Registry(registry.host).push(f"{unique}/app", made, f"1.{number}")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{registry.host}/{unique}/app", "tags": {"all": True}}],
        }
    )
    return mirrorsync


def test_copying_starts_and_ends_with_a_line(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    lines = mirrorsync("apply", code=0).err.splitlines()
    assert "event=copying images=1 bytes=" in lines[0]
    assert "event=finished images=1/1 bytes=" in lines[-1]
    assert events("\n".join(lines)) == {"copying", "image done", "finished"}


def test_more_than_100_images_are_logged_one_by_one_only_with_v(many: Mirrorsync) -> None:
    assert events(many("apply", code=0).err) == {"copying", "finished"}
    shutil.rmtree(many.directory / "disk")
    shown = many("apply", "-v", code=0).err
    assert shown.count('event="image done"') == 101
    assert "phase=list" in shown
    assert "phase=manifests items=101" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("apply", "-v"), 0),
        (("plan", "--output", "plan.json"), 0),
        (("plan", "absent.yaml"), 2),
        (("plan", "--no-such-option"), 2),
        (("inspect", "no/tag/here:1:2"), 2),
        (("delete", "localhost:1/app:1", "--yes"), 1),
    ],
)
def test_every_line_of_stderr_is_json_if_asked_for(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, words: tuple[str, ...], code: int
) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    done = mirrorsync(*words, "--log-format", "json", code=code)
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert lines
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    assert any(line["level"] == "error" for line in lines) == (code > 0), "the failure is among them"


class Written:
    """Collects log lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Mapping[str, Any]]] = []
        self.progress = threading.Event()

    def __call__(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        self.lines.append((text, fields))
        if text == "progress":
            self.progress.set()


def test_a_phase_before_copying_says_how_far_it_is() -> None:
    log = Written()
    with Lines(log, ignore, "text", each=False, first=0.001, every=600) as lines:
        lines(PhaseStarted("list", 20))
        assert log.progress.wait(30)
    assert log.lines == [("progress", {"phase": "listing tags", "done": "0/20"})]


@pytest.mark.parametrize(
    ("log_format", "expected"),
    [
        (
            "text",
            {"phase": "copying", "images": "1/4", "bytes": "1.1 GB/4.3 GB", "rate": "107.4 MB/s", "left": "0:30"},
        ),
        (
            "json",
            {
                "phase": "copying",
                "images_done": 1,
                "images": 4,
                "bytes_done": GIB,
                "bytes": 4 * GIB,
                "bytes_per_second": round(GIB / 10),
                "seconds_left": 30,
            },
        ),
    ],
)
def test_a_line_at_intervals_has_images_bytes_rate_and_the_time_left(log_format: Any, expected: dict[str, Any]) -> None:
    log, now = Written(), [100.0]
    with Lines(log, ignore, log_format, each=False, first=600, every=600, clock=lambda: now[0]) as lines:
        lines(TransferPlanned(4 * GIB, 4))
        now[0] = 110.0
        lines(BytesMoved("sha256:1", GIB))
        lines(TagSet("app:1", "sha256:2"))
        lines.report()
    assert log.lines[1] == ("progress", expected)
    assert [text for text, _ in log.lines] == ["copying", "progress", "finished"]


def test_a_run_without_anything_to_copy_logs_nothing() -> None:
    log = Written()
    with Lines(log, ignore, "text", each=False) as lines:
        lines(PhaseStarted("resolve", 1))
        lines(PhaseAdvanced("resolve"))
        lines(PhaseStarted("apply", 0))
        lines(TransferPlanned(0, 0))
    assert log.lines == []


def test_a_verification_logs_how_far_it_is_and_no_start_and_end() -> None:
    log, now = Written(), [100.0]
    with Lines(log, ignore, "json", each=False, first=600, every=600, clock=lambda: now[0]) as lines:
        lines(BytesMoved("sha256:0", 7))  # of an earlier phase
        lines(ReadPlanned(4, 4 * GIB))
        now[0] = 110.0
        lines(BytesMoved("sha256:1", GIB))
        lines.report()
    rate = {"bytes_per_second": round(GIB / 10), "seconds_left": 30}
    fields = {"phase": "reading content", "bytes_done": GIB, "bytes": 4 * GIB, **rate}
    assert log.lines == [("progress", fields)]
