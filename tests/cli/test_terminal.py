"""On a terminal: bars during the run, a table at its end, the cursor restored, and no escape sequences from servers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, digest, image, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
MEGABYTE = 1024 * 1024
# The escape sequences that we write: colours, cursor movement, erasing a line, hiding the cursor; and no others.
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\d*[ABCDGK]|\x1b\[2K|\x1b\[\?25[lh]|\r")


class Terminal:
    """mirrorsync under a pseudo terminal, which is its stdout and stderr."""

    def __init__(self, mirrorsync: Mirrorsync, *words: str, env: Mapping[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        environment = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", **(env or {})}
        with Path(os.devnull).open() as none:
            self.process = mirrorsync.start(*words, streams=[none.fileno(), slave, slave], env=environment)
        os.close(slave)
        self.shown = ""

    def until(self, word: str) -> None:
        """Read until a word has been shown."""
        while word not in self.shown:
            assert self._read(), f"never showed {word!r}: {self.shown!r}"

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(30)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.shown += data.decode()
        return bool(data)


def text(shown: str) -> str:
    """Return the text without escape sequences."""
    return OURS.sub("", shown)


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


@pytest.fixture
def large(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> Image:
    """Return an image whose layer is held back after 4 of its 20 MiB."""
    made = image([noise(unique, 20 * MEGABYTE)])
    Registry(proxy.upstream).push(f"{unique}/app", made, "1")
    mirrorsync.spec(
        {
            "registries": plain(proxy.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{proxy.host}/{unique}/app:1"],
        }
    )
    proxy.hold(path_has(digest(noise(unique, 20 * MEGABYTE))[7:]), after=4 * MEGABYTE)
    return made


def test_bars_show_the_bytes_and_each_large_blob_and_leave_a_clean_screen(
    mirrorsync: Mirrorsync, proxy: Proxy, large: Image
) -> None:
    terminal = Terminal(mirrorsync, "apply")
    layer = f"app:1 {list(large.blobs)[-1][7:14]}"
    terminal.until(layer)
    terminal.until("4.2/21.0 MB")
    proxy.release()
    assert terminal.end() == 0
    shown = text(terminal.shown)
    assert "images 0/1" in shown
    assert terminal.shown.count(HIDE) == terminal.shown.count(SHOW) > 0
    assert terminal.shown.rindex(SHOW) > terminal.shown.rindex(HIDE)
    assert re.search(r"1 done; read 21\.0 MB, wrote 21\.0 MB in \d+ s$", shown.rstrip())
    assert "event=" not in shown, "log lines are for elsewhere"
    assert "\x1b" not in shown


def test_a_bundle_that_is_written_again_without_lost_images_has_one_bar(mirrorsync: Mirrorsync) -> None:
    made = {f"app:{name}": image([noise(name, 2 * MEGABYTE)]) for name in ("lost", "good")}
    write_layout(mirrorsync.directory / "source", made)
    for lost in made["app:lost"].blobs:
        (mirrorsync.directory / "source/blobs/sha256" / lost.partition(":")[2]).unlink()
    mirrorsync.spec(
        {"destinations": {"corp": "corp.invalid/m"}, "mirrors": ["oci:source:app:lost", "oci:source:app:good"]}
    )
    terminal = Terminal(mirrorsync, "bundle", "create", "--output", "out")
    assert terminal.end() == 3
    shown = text(terminal.shown)
    assert "2 blobs cannot be read: it is written from the start, without the images that need them" in shown
    assert shown.index("images 0/2") < shown.rindex("images 0/2") < shown.index("images 0/1")


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stopped_run_restores_the_cursor(mirrorsync: Mirrorsync, proxy: Proxy, large: Image, signals: int) -> None:
    terminal = Terminal(mirrorsync, "apply")
    terminal.until("4.2/21.0 MB")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("stopping in order; send the signal again")
    if signals == 2:
        terminal.process.send_signal(signal.SIGINT)
    else:
        proxy.release()
    assert terminal.end() == 130
    assert terminal.shown.rindex(SHOW) > terminal.shown.rindex(HIDE)


@pytest.mark.parametrize("words", [("plan",), ("plan", "--json"), ("apply", "--log-format", "text"), ("apply", "-q")])
def test_no_bars_if_quiet_or_logging_and_json_stays_json(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, words: tuple[str, ...]
) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )
    terminal = Terminal(mirrorsync, *words)
    assert terminal.end() == 0
    assert "\x1b" not in text(terminal.shown)
    if words == ("plan",):
        assert re.search(r"\x1b\[32mnew", terminal.shown), "what is new is green"
    if "--log-format" in words or "-q" in words:
        assert HIDE not in terminal.shown
    if "--json" in words:
        shown = text(terminal.shown)
        assert json.loads(shown[shown.index("{") :])["kind"] == "mirrorsync.plan"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_and_dumb_terminals_get_no_colour(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str, env: dict[str, str]
) -> None:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1", f"{registry.host}/{unique}/app:missing"],
        }
    )
    for verb in ("plan", "apply"):
        terminal = Terminal(mirrorsync, verb, env=env)
        assert terminal.end() == 3
        assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", terminal.shown)
        if "TERM" in env:
            assert "\x1b" not in terminal.shown


def test_text_from_a_server_is_escaped_on_the_terminal(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x1b[1;1H\u202e\x9b31m[bold red]markup[/]\r\nfine"
    Registry(proxy.upstream).push(f"{unique}/app", image([b"good"]), "good")
    proxy.answer(
        path_has(f"{unique}/app/tags/list"), 200, json.dumps({"tags": ["good", evil]}).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    refusal = json.dumps({"errors": [{"code": "DENIED", "message": evil}]}).encode()
    proxy.answer(path_has("/blobs/"), 403, refusal, {"Content-Type": "application/json"})
    mirrorsync.spec(
        {
            "registries": plain(proxy.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{proxy.host}/{unique}/app", "tags": {"all": True}}],
        }
    )
    for words in (("plan", "-vv"), ("apply",), ("apply", "-vv"), ("images",), ("verify",)):
        terminal = Terminal(mirrorsync, *words)
        terminal.end()
        shown = text(terminal.shown)
        assert all(char.isprintable() or char == "\n" for char in shown), words
        assert "\x1b[2J" not in terminal.shown
        if words[0] != "verify":
            assert "good" in shown
        if words[0] == "apply":
            assert "[bold red]markup[/]" in "".join(shown.split("\n")), "shown as it is, and not as markup"


def test_tables_do_not_break_long_names(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> None:
    tag = "a-very-long-tag-that-nobody-would-want-to-be-cut-off-in-the-middle-of-what-it-says-" + "x" * 40
    Registry(registry.host).push(f"{unique}/app", image([b"long"]), tag)
    mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:{tag}"],
        }
    )
    terminal = Terminal(mirrorsync, "plan", env={"COLUMNS": "60"})
    terminal.end()
    cells = "".join(line.strip().split("  ")[0] if line.strip() else "" for line in text(terminal.shown).splitlines())
    assert "x" * 20 in cells or "xxxx" in text(terminal.shown)
    assert "…" not in terminal.shown
