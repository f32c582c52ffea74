"""A failure is reported once, at the end and before the totals: with its line of the spec, in red on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from mirrorsync.cli.output.render import failure_lines
from mirrorsync.errors import StorageError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Where
from mirrorsync.plan.model import Failure
from tests.cli.proxy import Proxy, path_has
from tests.cli.test_terminal import Terminal, text
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import digest, image, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


@pytest.fixture
def site(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> Mirrorsync:
    """Return a spec of three images for two destinations: one cannot be read, and one does not exist."""
    for tag in ("good", "bad"):
        Registry(proxy.upstream).push(f"{unique}/app", image([noise(f"{unique} {tag}", 100)]), tag)
    mirrorsync.spec(
        {
            "registries": plain(proxy.host),
            "destinations": {"one": "oci:one", "two": "oci:two"},
            "defaults": {"to": ["two", "one"]},
            "mirrors": [f"{proxy.host}/{unique}/app:{tag}" for tag in ("good", "bad", "gone")],
        }
    )
    proxy.answer(path_has(digest(noise(f"{unique} bad", 100))[7:]), 403, b'{"errors": [{"code": "DENIED"}]}')
    return mirrorsync


def test_a_failure_is_one_message_with_its_line_and_counts_at_each_destination(site: Mirrorsync) -> None:
    lines = (site.directory / "mirror.yaml").read_text().splitlines()
    line = {tag: number for tag in ("bad", "gone") for number, shown in enumerate(lines, 1) if f":{tag}" in shown}
    done = site("apply", code=3)
    failed = [shown for shown in done.err.splitlines() if shown.startswith("failed: ")]
    assert len(failed) == 2
    assert "one/" in failed[0] or "oci:" in failed[0]
    assert failed[0].endswith(f"(2 images; mirror.yaml:{line['bad']})")
    assert failed[1].endswith(f"(mirror.yaml:{line['gone']})")
    assert "step failed" not in done.err
    *each, last = done.out.splitlines()
    assert each == ["one:  1 done, 2 failed", "two:  1 done, 2 failed"]
    assert last.startswith("2 done, 4 failed; read ")
    assert "step failed" in site("apply", "-v", code=3).err


def test_a_file_that_cannot_be_written_is_one_cause_whatever_was_to_go_into_it() -> None:
    def failed(tag: str, doing: str, blob: str) -> Failure:
        error = StorageError(f"writing {doing}: the disk is full", remedy="free some space")
        return Failure(f"oci-archive:x:{tag}", error.at(Where("oci-archive:x", "app", Tag(blob)), side="destination"))

    assert failure_lines([failed("1", "x", "a"), failed("2", "x", "b")]) == [
        "failed: destination oci-archive:x:app: writing x: the disk is full (2 images)", "  free some space",
    ]  # fmt: skip
    assert len(failure_lines([failed("1", "blob a", "a"), failed("2", "blob b", "b")])) == 4
    assert "oci-archive:x:1, oci-archive:x:2: " in failure_lines([failed("1", "x", "a"), failed("2", "x", "a")])[0]


def test_json_log_lines_have_every_failure_once_and_nothing_else_is_on_stderr(site: Mirrorsync) -> None:
    done = site("apply", "--log-format", "json", code=3)
    events = [json.loads(line) for line in done.err.splitlines()]
    told = [event for event in events if event["level"] == "error"]
    steps = [event for event in told if event["event"] == "step failed"]
    others = [event for event in told if event["event"] == "failed"]
    assert len(told) == len(steps) + len(others)
    assert steps, "at the time when it failed"
    (gone,) = others
    assert gone["subject"].endswith("/app:gone")
    assert gone["line"] > 1
    assert "no such tag" in gone["error"]


def test_failures_are_red_on_a_terminal_come_before_the_totals_and_are_reported_once(
    site: Mirrorsync, unique: str
) -> None:
    terminal = Terminal(site, "apply")
    assert terminal.end() == 3
    assert re.search(r"\x1b\[1;31mfailed\x1b\[0m: ", terminal.shown)
    shown = text(terminal.shown)
    assert shown.count("no such tag") == 1
    assert shown.count("failed: ") == 2
    assert shown.rstrip().splitlines()[-1].startswith("2 done, 4 failed; read ")
    plain_terminal = Terminal(site, "apply", env={"NO_COLOR": "1"})
    plain_terminal.end()
    assert "failed: " in text(plain_terminal.shown)
    assert not re.search(r"\x1b\[[0-9;]*31m", plain_terminal.shown)
    piped = site("apply", code=3)
    assert "\x1b" not in piped.err + piped.out


def test_two_mirrors_of_one_source_are_both_reported(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": image([b"1"])})
    typos = [{"from": "oci:source:app", "tags": {"glob": [glob]}, "name": glob[0]} for glob in ("a*", "b*")]
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": typos})
    done = mirrorsync("plan", code=3)
    assert '{"glob": ["a*"]}' in done.err
    assert '{"glob": ["b*"]}' in done.err
    failures = mirrorsync("plan", "--json").json()["failures"]
    assert [one["mirror"] for one in failures] == ["/mirrors/0", "/mirrors/1"]
    assert len({one["line"] for one in failures}) == 2


def test_an_image_that_two_mirrors_want_fails_for_both_and_is_one_message(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": image([b"1"])})
    mirrors = [{"from": "oci:source:app", "tags": ["9"], "to": [name]} for name in ("one", "two")]
    mirrorsync.spec({"destinations": {"one": "oci:one", "two": "oci:two"}, "mirrors": mirrors})
    done = mirrorsync("plan", code=1)
    (line,) = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert re.search(r"\(mirror\.yaml:\d+, \d+\)$", line)
    assert done.out.splitlines() == ["one:  1 failed", "two:  1 failed", "Plan: 2 failed"]
