"""Wrong usage: one line with what and where, a remedy, the right exit code, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.parts.mirrorsync import COMMAND, Mirrorsync
from tests.parts.processes import free_port

SPEC_VERBS = ("validate", "plan", "apply", "verify", "images")

NOT_A_SPEC: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "the file is empty"),
    "a binary file": (Path(sys.executable).resolve().read_bytes()[:5000], "not UTF-8"),
    "no YAML": (b"version: 1\nmirrors: [\n", "not valid YAML"),
    "a list": (b"- nginx\n", "1"),
    "something else": (b"<html></html>", "1"),
    "JSON of something else": (b'{"kind": "other", "version": 1}', "unknown key 'kind'"),
    "a plan of a later version": (b'{"kind": "mirrorsync.plan", "version": 99}', ""),
}


@pytest.mark.parametrize("verb", ["validate", "apply"])  # apply looks into the file for a plan first
@pytest.mark.parametrize("what", NOT_A_SPEC)
def test_files_that_are_not_specs_are_rejected(mirrorsync: Mirrorsync, verb: str, what: str) -> None:
    text, message = NOT_A_SPEC[what]
    (mirrorsync.directory / "mirror.yaml").write_bytes(text)
    refused = mirrorsync(verb, code=2)
    assert message in refused.err
    assert "mirror.yaml" in refused.err
    assert refused.out == ""


def test_all_problems_of_a_spec_are_reported_before_any_request(
    mirrorsync: Mirrorsync,
) -> None:
    port = free_port()
    (mirrorsync.directory / "mirror.yaml").write_text(
        f"""version: 1
registries: {{"127.0.0.1:{port}": {{plain_http: true, password: "${{NO_SUCH_VARIABLE}}"}}}}
destinations: {{disk: "oci:disk"}}
mirrors:
  - 127.0.0.1:{port}/app
  - {{from: "127.0.0.1:{port}/app", tags: {{regex: "("}}}}
  - {{from: "127.0.0.1:{port}/app", tags: ["1"], to: nowhere, wait: 1}}
"""
    )
    for verb in SPEC_VERBS:
        refused = mirrorsync(verb, code=2)
        lines = refused.err.splitlines()
        assert all(line.startswith((f"{mirrorsync.directory}/mirror.yaml:", "    ")) for line in lines)
        assert "NO_SUCH_VARIABLE" in refused.err
        assert "'wait'" in refused.err
    assert not (mirrorsync.directory / "disk").exists()


def test_a_missing_spec_or_a_directory_is_reported_in_one_line(mirrorsync: Mirrorsync) -> None:
    (mirrorsync.directory / "directory").mkdir()
    for verb in SPEC_VERBS:
        missing = mirrorsync(verb, "other.yaml", code=2).err.splitlines()
        assert missing[0] == f"mirrorsync: spec {mirrorsync.directory}/other.yaml does not exist"
        # verify takes locations, too, and says so.
        remedy = "  give the path of the file, or write one with `mirrorsync init`"
        assert missing[1].partition(";")[0] == remedy
        assert len(missing) == 2
        directory = mirrorsync(verb, "directory", code=2 if verb == "verify" else 1).err
        assert ("is a directory" if verb == "verify" else "Is a directory") in directory


def test_an_unreadable_spec_is_reported_in_one_line(mirrorsync: Mirrorsync) -> None:
    spec = mirrorsync.directory / "mirror.yaml"
    spec.symlink_to("mirror.yaml")  # a loop: unreadable for root too
    for verb in ("validate", "apply"):
        refused = mirrorsync(verb, code=1)
        assert "cannot be read: Too many levels of symbolic links" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mirror"], "No such command 'mirror'"),
        (["plan", "--shallow"], "No such option '--shallow'"),
        (["plan", "one", "two"], "unexpected extra argument"),
        (["plan", "--only"], "requires an argument"),
        (["plan", "--log-format", "xml"], "'xml' is not one of"),
        (["serve"], "Missing argument '[PREFIX=]oci:DIRECTORY...'"),
        (["serve", "oci:layout", "--listen", "5000"], "is not HOST:PORT"),
        (["serve", "oci:layout", "--listen", "127.0.0.1:99999"], "is not HOST:PORT"),
        (["serve", "oci:layout:app"], "names a repository"),
        (["serve", "layout"], "write host/prefix"),
        (["demo", "--json"], "--json"),
    ],
)
def test_a_wrong_command_line_exits_with_2(mirrorsync: Mirrorsync, words: list[str], message: str) -> None:
    refused = mirrorsync(*words, code=2)
    assert message in refused.err


def test_no_arguments_show_the_help(mirrorsync: Mirrorsync) -> None:
    assert mirrorsync(code=0).out == mirrorsync("--help", code=0).out


def test_only_without_a_match_is_rejected_with_a_remedy(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["nginx:1"]})
    for verb in ("apply", "images"):
        refused = mirrorsync(verb, "--only", "apache", code=2)
        assert "no mirror of mirror.yaml has a source that matches apache" in refused.err
        assert "library/nginx" in refused.err


def shell(
    mirrorsync: Mirrorsync, script: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a shell script in which $M is mirrorsync."""
    environment = {**mirrorsync.environment(env), "M": " ".join(COMMAND), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        capture_output=True, text=True, cwd=mirrorsync.directory, env=environment, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    return done


@pytest.fixture
def valid(mirrorsync: Mirrorsync) -> Mirrorsync:
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["oci:nowhere:app:1"]})
    return mirrorsync


STREAMS: dict[str, tuple[str, int, str]] = {
    "stdout is full": ("$M validate >/dev/full", 1, "No space left on device"),
    "stdout is full, for JSON": ("$M validate --json >/dev/full", 1, "No space left on device"),
    "stdout is full, for the help": ("$M --help >/dev/full", 1, "No space left on device"),
    "stdout is closed": ("$M validate >&-", 0, ""),
    "stderr is closed": ("$M plan missing.yaml 2>&-", 2, ""),
    "stderr is full": ("$M plan missing.yaml 2>/dev/full", 2, ""),
    "everything is closed": ("$M plan missing.yaml <&- >&- 2>&-", 2, ""),
    "the reader of stdout left": ("$M images missing.yaml | true", 2, "missing.yaml does not exist"),
}


@pytest.mark.parametrize("what", STREAMS)
def test_closed_and_full_streams_do_not_change_the_exit_code(valid: Mirrorsync, what: str) -> None:
    script, code, message = STREAMS[what]
    done = shell(valid, script)
    assert (done.returncode, message in done.stderr) == (code, True), done


def test_the_exit_code_is_the_same_if_stdout_is_closed(valid: Mirrorsync) -> None:
    assert shell(valid, "$M plan --json | true").returncode == 1
    assert shell(valid, "$M verify -vv 2>&1 | true").returncode == 3


def test_a_name_that_the_terminal_cannot_show_is_shown_with_escapes(valid: Mirrorsync) -> None:
    spec = valid.directory / "mirror.yaml"
    strange = os.fsdecode("größe-".encode() + b"\xff.yaml")
    spec.rename(valid.directory / strange)
    for encoding in ("ascii:strict", "utf-8:strict"):
        done = valid("validate", strange, env={"PYTHONIOENCODING": encoding}, code=0)
        assert "is valid" in done.out
        valid("validate", strange, "--json", env={"PYTHONIOENCODING": encoding}, code=0).json()


def test_a_file_name_cannot_repaint_the_terminal(mirrorsync: Mirrorsync) -> None:
    refused = mirrorsync("plan", "\x1b[2Jmirror\nsafe.yaml", code=2)
    assert "\x1b" not in refused.err
    assert refused.err.count("\n") == 2


@pytest.mark.parametrize("words", ["apply", "demo", "serve oci:x"])
def test_a_removed_current_directory_is_reported_in_one_line(mirrorsync: Mirrorsync, words: str) -> None:
    done = shell(mirrorsync, f"mkdir gone && cd gone && rmdir ../gone && $M {words}")
    assert done.returncode == 2
    assert "the current directory was removed" in done.stderr


def test_it_runs_with_no_environment_at_all(valid: Mirrorsync) -> None:
    for words, code in ((("validate",), 0), (("plan",), 1), (("--version",), 0)):
        done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, cwd=valid.directory, env={})
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


@pytest.mark.parametrize("verb", ["plan", "apply", "verify"])
def test_a_directory_with_other_files_is_not_made_a_layout(mirrorsync: Mirrorsync, verb: str) -> None:
    (mirrorsync.directory / "photos").mkdir()
    (mirrorsync.directory / "photos/cat.jpg").write_bytes(b"meow")
    for document in (
        {"destinations": {"disk": "oci:photos"}, "mirrors": ["oci:source:app:1"]},
        {"destinations": {"disk": "oci:disk"}, "mirrors": ["oci:photos:app:1"]},
    ):
        spec: dict[str, Any] = document
        mirrorsync.spec(spec)
        refused = mirrorsync(verb, code=3 if verb == "verify" else 1)
        if "oci:photos:app:1" in spec["mirrors"]:
            assert "not an OCI layout" in refused.err
    assert [entry.name for entry in (mirrorsync.directory / "photos").iterdir()] == ["cat.jpg"]
    assert "not an OCI layout" in mirrorsync("serve", "oci:photos", "--listen", "127.0.0.1:0", code=1).err
