"""--help and --version: correct for every verb, and the program can be started in every way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mirrorsync as package
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.wire import ask

VERBS = (
    "init", "validate", "plan", "apply", "verify", "images", "history",
    "copy", "inspect", "list-tags", "delete", "login", "logout",
    "serve", "demo",
)  # fmt: skip
README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_help_lists_every_verb_and_the_exit_codes(mirrorsync: Mirrorsync) -> None:
    done = mirrorsync("--help", code=0)
    assert re.findall(r"^  ([\w-]+)  +\S", done.out.partition("Commands:")[2], re.MULTILINE) == list(VERBS)
    text = " ".join(done.out.split())
    for code, meaning in (
        ("3", "partly done"),
        ("5", "stale plan"),
        ("6", "locked"),
        ("10", "changes (plan --exit-code)"),
    ):
        assert f"{code} {meaning}" in text
    assert done.out == mirrorsync("-h", code=0).out


def test_every_command_is_a_verb() -> None:
    files = (Path(package.__file__).parent / "cli/commands").glob("*.py")
    assert {path.stem.replace("_", "-") for path in files} - {"--init--"} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_in_help_and_readme_exists(mirrorsync: Mirrorsync, verb: str) -> None:
    told = mirrorsync(verb, "--help", code=0).out
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)( [A-Z\[]\S*)?", told.partition("Options:")[2], re.MULTILINE)
    names = {option for option, _ in options}
    assert verb == "demo" or {"--json", "--verbose", "--quiet", "--log-format"} <= names
    # The first unknown option is reported by its name; so all before it exist.
    words = [word for option, value in options for word in (option, *(["x"] if value else []))]
    assert "No such option '--nothing'" in mirrorsync(verb, *words, "--nothing", "--help", code=2).err
    for line in re.findall(rf"mirrorsync {verb}\b([^`#\n]*)", README):
        assert set(re.findall(r"--[a-z-]+", line)) <= names, line


def test_the_version_is_that_of_the_package(mirrorsync: Mirrorsync) -> None:
    assert mirrorsync("--version", code=0).out == f"mirrorsync {package.__version__}\n"


def test_the_installed_command_is_the_module(mirrorsync: Mirrorsync) -> None:
    command = Path(sys.executable).with_name("mirrorsync")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, env=mirrorsync.environment())
    assert (done.returncode, done.stdout) == (0, f"mirrorsync {package.__version__}\n")


def test_a_start_loads_no_more_than_it_needs() -> None:
    script = (
        "import sys, mirrorsync.cli.main as m\ntry: m.main(['--version'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"aiohttp", "pycurl", "httpx", "jsonschema", "rich", "structlog", "asyncio", "yaml", "tenacity", "sqlite3"}
    assert heavy & set(loaded) == set()


def test_serve_prints_its_address_as_json(mirrorsync: Mirrorsync) -> None:
    with Serve(mirrorsync.directory / "layout", "--json") as server:
        assert ask("GET", f"http://{server.host}/v2/").status == 200
        document = json.loads(server.log.read_text())
    assert document == {"kind": "mirrorsync.serving", "version": 1, "host": "127.0.0.1", "port": server.port}


def test_a_port_in_use_is_reported_in_one_line(mirrorsync: Mirrorsync, served: Serve) -> None:
    refused = mirrorsync("serve", "oci:layout", "--writable", "--listen", served.host, code=1)
    assert f"cannot listen on {served.host}" in refused.err
    assert refused.err.count("\n") <= 2
