"""Plans for people: sorted, short, 80 columns wide, with one line at the end; saved ones are shown again."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.test_terminal import text
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain, program
from tests.parts.wire import Registry

WIDTH = 80
SAME = image([layer({"a": b"the same content"})])


def spec(mirrorsync: Mirrorsync, *mirrors: object, **destinations: str) -> None:
    """Write a spec whose mirrors go to all destinations."""
    places = destinations or {"disk": "oci:mirror"}
    mirrorsync.spec({"destinations": places, "defaults": {"to": list(places)}, "mirrors": list(mirrors)})


def seed(directory: Path, **repositories: list[str]) -> None:
    """Write a layout with these tags, each an image of its own."""
    images = {
        f"{name}:{tag}": image([layer({name: tag.encode()})]) for name, tags in repositories.items() for tag in tags
    }
    write_layout(directory, images)


def on_terminal(mirrorsync: Mirrorsync, *words: str) -> tuple[int, str]:
    """Run it on a pseudo terminal of 80 columns; return the exit code, and what it showed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    process = subprocess.Popen(
        [program(), *words], stdin=slave, stdout=slave, stderr=slave, cwd=mirrorsync.directory,
        env=mirrorsync.environment({"TERM": "xterm-256color"}),
    )  # fmt: skip
    os.close(slave)
    shown = b""
    with suppress(OSError):  # the other side is closed
        while data := os.read(master, 65536):
            shown += data
    os.close(master)
    return process.wait(30), shown.decode()


def lines(out: str) -> list[str]:
    return out.splitlines()


def test_changes_are_sorted_by_destination_repository_and_version(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    seed(tmp_path / "source", web=["1.10", "1.9", "edge", "1.9-alpine"], app=["2.0", "10.0"])
    spec(mirrorsync, {"from": "oci:source", "tags": {"all": True}}, second="oci:b/there", first="oci:a")
    done = mirrorsync("plan", code=0)
    names = ["app:2.0", "app:10.0", "web:1.9", "web:1.9-alpine", "web:1.10", "web:edge"]
    rows = [line.split() for line in lines(done.out) if line.startswith("new ")]
    assert [(row[1], row[2]) for row in rows] == [(name, one) for name in ("first", "second") for one in names]
    assert re.search(r"^first:   6 new; copy 12 blobs \([\d.]+ \w+\)$", done.out, re.MULTILINE)
    assert re.fullmatch(r"Plan: 12 new; [\d.]+ \w+ to read\. Run: mirrorsync apply", lines(done.out)[-1])


def test_a_plan_of_3000_tags_in_20_repositories_has_at_most_30_lines(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    names = {f"team{number % 4}/app{number}:{tag}.0": SAME for number in range(20) for tag in range(150)}
    write_layout(tmp_path / "source", names)
    with Serve(tmp_path / "source", writable=False) as source:
        mirrors = [
            {"from": f"{source.host}/team{number % 4}/app{number}", "tags": {"all": True}} for number in range(20)
        ]
        mirrorsync.spec({"registries": plain(source.host), "destinations": {"disk": "oci:mirror"}, "mirrors": mirrors})
        done = mirrorsync("plan", "-o", "plan.json", code=0)
    shown = lines(done.out + done.err)
    assert len(shown) <= 30
    assert all(len(line) <= WIDTH for line in shown)
    rows = [line for line in lines(done.out) if line.startswith("disk  ")]
    assert [row.split()[1] for row in rows] == sorted(f"team{number % 4}/app{number}" for number in range(20))
    assert all("  150 new" in row for row in rows)
    assert re.fullmatch(r"Plan: 3000 new; [\d.]+ \w+ to read\. Run: mirrorsync apply plan\.json", lines(done.out)[-1])
    everything = lines(mirrorsync("plan", "plan.json", "--all", code=0).out)
    assert sum(line.startswith("new  disk  ") for line in everything) == 3000
    summary = lines(mirrorsync("plan", "plan.json", "--summary", code=0).out)
    assert len(summary) == 3  # of which plan, the bytes of the destination, the totals
    assert summary[-1] == everything[-1] == lines(done.out)[-1]


def test_a_repository_has_its_counts_by_state_and_its_bytes(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    seed(tmp_path / "source", app=[f"1.{number}" for number in range(60)], small=["1"])
    spec(mirrorsync, {"from": "oci:source", "tags": {"all": True}})
    mirrorsync("apply", code=0)
    changed = {f"app:1.{number}": image([layer({"new": str(number).encode() * 100})]) for number in range(2)}
    kept = {f"app:1.{number}": image([layer({"app": f"1.{number}".encode()})]) for number in range(2, 60)}
    new = {f"app:2.{number}": image([layer({"app": f"2.{number}".encode()})]) for number in range(55)}
    write_layout(tmp_path / "source", {**changed, **kept, **new, "small:1": image([layer({"small": b"1"})])})
    done = mirrorsync("plan", code=0)
    (row,) = [line for line in lines(done.out) if line.startswith("disk  ")]
    assert re.fullmatch(r"disk  app  55 new, 2 moved +[\d.]+ kB", row), "the repository without changes has no line"
    assert lines(done.out)[-1].startswith("Plan: 55 new, 2 moved, 59 unchanged; ")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_plan_fits_80_columns_and_names_are_whole(mirrorsync: Mirrorsync, tmp_path: Path, terminal: bool) -> None:
    long = "a-tag-that-is-long-1.27.3-debian-12-r10-amd64"
    old = {f"team/application:{tag}": image([layer({"a": f"old {tag}".encode()})]) for tag in ("1", long)}
    new = {f"team/application:{tag}": image([layer({"a": f"new {tag}".encode()})]) for tag in ("1", long)}
    write_layout(tmp_path / "source", old)
    spec(
        mirrorsync,
        {"from": "oci:source:team/application", "tags": {"all": True}, "name": "application"},
        production="oci:mirror:team",
    )
    mirrorsync("apply", code=0)
    write_layout(tmp_path / "source", new)
    if terminal:
        code, shown = on_terminal(mirrorsync, "plan", "--quiet")  # no bars
        assert code == 0
        out = text(shown)
    else:
        out = mirrorsync("plan", code=0).out
    found = [line.rstrip() for line in lines(out) if line.strip()]
    assert all(len(line) <= WIDTH for line in found), found
    assert f"moved  production  application:{long}" in found
    for tag in ("1", long):
        before, after = (images[f"team/application:{tag}"].digest[7:19] for images in (old, new))
        assert f"{before} -> {after}" in out
    assert found[-1].startswith("Plan: 2 moved; ")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ((), "mirrorsync apply"),
        (("--deep",), "mirrorsync apply --deep"),
        (("--only", "*a*"), "mirrorsync apply --only '*a*'"),
        (("mirror.yaml",), "mirrorsync apply"),
        (("./mirror.yaml",), "mirrorsync apply ./mirror.yaml"),
        (("-o", "my plan.json"), "mirrorsync apply 'my plan.json'"),
    ],
)
def test_the_last_line_has_the_command_that_applies_the_plan(
    mirrorsync: Mirrorsync, tmp_path: Path, words: tuple[str, ...], command: str
) -> None:
    seed(tmp_path / "source", app=["1"])
    spec(mirrorsync, {"from": "oci:source:app", "tags": {"all": True}})
    assert lines(mirrorsync("plan", *words, code=0).out)[-1].endswith(f". Run: {command}")


def test_a_plan_without_changes_is_one_line_without_a_command(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    seed(tmp_path / "source", app=["1", "2"])
    spec(mirrorsync, {"from": "oci:source", "tags": {"all": True}})
    mirrorsync("apply", code=0)
    for words in ((), ("--all",), ("--summary",)):
        assert mirrorsync("plan", *words, code=0).out == "nothing to do: 2 images up to date at 1 destination\n"


def test_a_plan_with_failures_counts_them_and_has_no_command_if_nothing_would_change(
    mirrorsync: Mirrorsync, tmp_path: Path
) -> None:
    seed(tmp_path / "source", app=["1"])
    spec(mirrorsync, {"from": "oci:source:app", "tags": ["1", "gone"]}, one="oci:one", two="oci:two")
    assert lines(mirrorsync("plan", code=3).out)[-1].startswith("Plan: 2 new, 2 failed; ")
    mirrorsync("apply", code=3)
    done = mirrorsync("plan", code=3)
    assert lines(done.out) == [
        "one:  1 failed, 1 unchanged",
        "two:  1 failed, 1 unchanged",
        "Plan: 2 failed, 2 unchanged",
    ]


def test_a_saved_plan_is_shown_as_it_was_made_and_nothing_is_contacted(
    mirrorsync: Mirrorsync, fresh_registry: DockerRegistry
) -> None:
    Registry(fresh_registry.host).push("app", SAME, "1")
    mirrorsync.spec(
        {
            "registries": plain(fresh_registry.host),
            "destinations": {"disk": "oci:mirror"},
            "mirrors": [{"from": f"{fresh_registry.host}/app", "tags": ["1", "gone"]}],
        }
    )
    made = mirrorsync("plan", "-o", "plan.json", code=3)
    fresh_registry.new_requests()
    (mirrorsync.directory / "mirror.yaml").unlink()
    shown = mirrorsync("plan", "plan.json", code=3)
    first, *rest = lines(shown.out)
    assert re.fullmatch(
        rf"plan of {mirrorsync.directory}/mirror\.yaml, made \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC", first
    )
    assert rest == lines(made.out)
    assert shown.err == made.err.partition("saved to plan.json\n")[2], "the failures"
    assert "mirror.yaml:12)" in shown.err
    assert mirrorsync("plan", "plan.json", "--json", code=3).json() == json.loads(
        (mirrorsync.directory / "plan.json").read_text()
    )
    assert fresh_registry.new_requests() == []
    document = json.loads((mirrorsync.directory / "plan.json").read_text())
    (mirrorsync.directory / "plan.json").write_text(json.dumps(document | {"failures": []}))
    mirrorsync("plan", "plan.json", "--exit-code", code=10)
    mirrorsync("plan", "plan.json", "--exit-code", "--quiet", code=10)


@pytest.mark.parametrize("words", [("--deep",), ("--only", "*"), ("-o", "other.json"), ("--only-from", "mirror.yaml")])
def test_a_saved_plan_cannot_be_made_another_one(
    mirrorsync: Mirrorsync, tmp_path: Path, words: tuple[str, ...]
) -> None:
    seed(tmp_path / "source", app=["1"])
    spec(mirrorsync, "oci:source:app:1")
    mirrorsync("plan", "-o", "plan.json", code=0)
    assert "plan.json is a saved plan, which is shown as it is" in mirrorsync("plan", "plan.json", *words, code=2).err
    assert not (tmp_path / "other.json").exists()
