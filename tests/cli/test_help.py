"""--help and --version: correct for every verb, and the program can be started in every way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mirrorsync as package
from mirrorsync.cli.synonyms import SYNONYMS
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.wire import ask

VERBS = (
    "init",
    "validate",
    "plan",
    "apply",
    "lock",
    "verify",
    "images",
    "tags",
    "snapshot",
    "diff",
    "history",
    "rollback",
    "impact",
    "acknowledge",
    "state",
    "relocate",
    "compare",
    "inventory",
    "bundle create",
    "bundle sign",
    "bundle verify",
    "bundle repair",
    "bundle inspect",
    "bundle apply",
    "bundle export",
    "bundle answer",
    "copy",
    "inspect",
    "list-tags",
    "delete",
    "login",
    "logout",
    "serve",
    "client-config",
    "demo",
    "completion",
    "help",
    "version",
)
TOP = tuple(dict.fromkeys(verb.partition(" ")[0] for verb in VERBS))
# Those without output that anyone would want to change.
WITHOUT_OUTPUT = ("demo", "completion", "help", "version")
README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_help_lists_every_verb_and_the_exit_codes(mirrorsync: Mirrorsync) -> None:
    done = mirrorsync("--help", code=0)
    assert re.findall(r"^  ([\w-]+)  +\S", done.out.partition("Commands:")[2], re.MULTILINE) == list(TOP)
    text = " ".join(done.out.split())
    for code, meaning in (
        ("3", "partly done"),
        ("5", "stale plan"),
        ("6", "locked"),
        ("10", "changes (--exit-code, lock --check)"),
    ):
        assert f"{code} {meaning}" in text
    assert done.out == mirrorsync("-h", code=0).out


def test_every_command_is_a_verb() -> None:
    folder = Path(package.__file__).parent / "cli/commands"
    files = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__"]
    assert {str(path).replace("_", "-").replace("/", " ") for path in files} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_in_help_and_readme_exists(mirrorsync: Mirrorsync, verb: str) -> None:
    told = mirrorsync(*verb.split(), "--help", code=0).out
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)(?:, --\w+)?( [A-Z\[]\S*)?", told, re.MULTILINE)
    names = {option for option, _ in options}
    assert verb in WITHOUT_OUTPUT or {"--json", "--verbose", "--quiet", "--log-format"} <= names
    # The first unknown option is reported by its name; so all before it exist.
    words = [word for option, value in options for word in (option, *(["x"] if value else []))]
    assert "No such option '--nothing'" in mirrorsync(*verb.split(), *words, "--nothing", "--help", code=2).err
    for line in re.findall(rf"mirrorsync {verb}\b([^`#\n]*)", README):
        assert set(re.findall(r"--[a-z-]+", line)) <= names, line


def test_the_version_is_that_of_the_package(mirrorsync: Mirrorsync) -> None:
    for words in (["--version"], ["-V"], ["version"]):
        assert mirrorsync(*words, code=0).out == f"mirrorsync {package.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_a_help_fits_80_columns_and_is_what_help_prints(mirrorsync: Mirrorsync, verb: str) -> None:
    told = mirrorsync(*verb.split(), "--help", env={"COLUMNS": "200"}, code=0).out
    assert max(map(len, told.splitlines())) <= 80
    assert mirrorsync("help", *verb.split(), env={"COLUMNS": "200"}, code=0).out == told


def test_the_help_of_the_program_fits_80_columns(mirrorsync: Mirrorsync) -> None:
    told = mirrorsync("help", code=0).out
    assert told == mirrorsync("--help", code=0).out
    assert max(map(len, told.splitlines())) <= 80


def test_options_are_in_sections_and_examples_are_at_the_end(mirrorsync: Mirrorsync) -> None:
    told = mirrorsync("copy", "--help", code=0).out
    sections = re.split(r"^([A-Z][a-z ]+):$", told, flags=re.MULTILINE)
    names, bodies = sections[1::2], sections[2::2]
    assert names == [
        "Options", "Access", "Access to the source", "Access to the destination", "Output", "Examples"
    ]  # fmt: skip
    options = {
        name: re.findall(r"^  (?:-\w, )?(--[a-z-]+)", body, re.MULTILINE)
        for name, body in zip(names, bodies, strict=True)
    }
    assert {"--platform", "--dry-run", "--digestfile"} <= set(options["Options"])
    assert all(option.startswith("--src-") for option in options["Access to the source"])
    assert all(option.startswith("--dest-") for option in options["Access to the destination"])
    assert options["Output"] == ["--json", "--verbose", "--quiet", "--log-format", "--help"]
    assert "  mirrorsync copy docker://" in bodies[-1]


@pytest.mark.parametrize(
    ("word", "verbs"),
    [
        ("rewrite", "'relocate'"),
        ("check", "'verify' or 'plan'"),
        ("status", "'plan' or 'verify'"),
        ("ls", "'list-tags' or 'images'"),
        ("rm", "'delete'"),
        ("push", "'copy'"),
        ("lint", "'validate'"),
        ("inspct", "'inspect'"),
        ("list-tag", "'list-tags'"),
    ],
)
def test_a_verb_of_another_tool_or_a_misspelt_one_is_answered_with_ours(
    mirrorsync: Mirrorsync, word: str, verbs: str
) -> None:
    for words in ([word], [word, "--src", "x"], ["help", word]):
        refused = mirrorsync(*words, code=2)
        assert f"Error: No such command '{word}'. Did you mean {verbs}?\n" in refused.err
        assert refused.out == ""


def test_synonyms_lead_to_verbs_and_are_not_verbs() -> None:
    assert {verb for verbs in SYNONYMS.values() for verb in verbs} <= set(TOP)
    assert not set(SYNONYMS) & set(TOP)


def test_a_misspelt_option_is_answered_with_the_right_one(mirrorsync: Mirrorsync) -> None:
    assert "Did you mean '--exit-code'?" in mirrorsync("plan", "--exitcode", code=2).err
    assert "No such command 'creat'. Did you mean 'create'?" in mirrorsync("bundle", "creat", code=2).err
    assert "'--platform'" in mirrorsync("copy", "--platfrm", "x", "oci:a", "oci:b", code=2).err


def test_an_option_before_the_verb_is_answered_with_its_place(mirrorsync: Mirrorsync) -> None:
    refused = mirrorsync("--quiet", "plan", code=2)
    assert "No such option '--quiet'. Options go after the verb: mirrorsync VERB ..." in refused.err


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
    address = {"host": "127.0.0.1", "port": server.port}
    assert document == {"kind": "mirrorsync.serving", "version": 1, **address, "tls": False, "generation": None}


def test_a_port_in_use_is_reported_in_one_line(mirrorsync: Mirrorsync, served: Serve) -> None:
    refused = mirrorsync("serve", "oci:layout", "--writable", "--listen", served.host, code=1)
    assert f"cannot listen on {served.host}" in refused.err
    assert refused.err.count("\n") <= 2
