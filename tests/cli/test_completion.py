"""`mirrorsync completion`: the script in a real bash, which asks the real program, and never a registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, program
from tests.parts.processes import free_port

# What bash does at TAB: it sets COMP_*, calls the function of `complete -p`, and reads COMPREPLY. The words are split
# at COMP_WORDBREAKS, which has the colon, as readline splits them.
HARNESS = r"""
eval "$(mirrorsync completion bash)"
[[ $(complete -p mirrorsync) == *"-F _mirrorsync mirrorsync" ]] || exit 9
compopt() { echo "option ${*: -1}"; }
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
_mirrorsync mirrorsync
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def home(mirrorsync: Mirrorsync) -> Mirrorsync:
    """Return a directory with a spec, a layout, and files; its registries do not answer."""
    port = free_port()
    mirrorsync.spec(
        {
            "destinations": {"corp": f"127.0.0.1:{port}/mirror", "disk": "oci:disk"},
            "defaults": {"to": ["corp"]},
            "mirrors": ["quay.io/team/app:1", f"127.0.0.1:{port}/app:1"],
        }
    )
    made = image([layer({"a": b"1"})])
    write_layout(mirrorsync.directory / "disk", {"team/app:1": made, "team/app:2": made, "other:3": made})
    (mirrorsync.directory / "dist").mkdir()
    (mirrorsync.directory / "di sk.tar").touch()
    return mirrorsync


def complete(home: Mirrorsync, line: str) -> list[str]:
    """Return what bash offers at the end of a line; `option nospace` and `option default` are orders to readline."""
    environment = home.environment({"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    done = subprocess.run(
        ["bash", "--norc", "-c", HARNESS, "bash", line],
        cwd=home.directory, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [each for each in done.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mirrorsync li", ["list-tags"]),
        ("mirrorsync help pl", ["plan"]),
        ("mirrorsync plan --ou", ["--output"]),
        ("mirrorsync plan ", ["option default"]),
        ("mirrorsync apply --deadline 1h mir", ["option default"]),
        ("mirrorsync plan --output ", ["option default"]),
        ("mirrorsync copy --src-authfile ", ["option default"]),
        ("mirrorsync copy --src-cert-dir ", ["option dirnames"]),
        ("mirrorsync plan --only qu", ["quay.io/team/app"]),
        ("mirrorsync plan --only=qu", ["quay.io/team/app"]),
        ("mirrorsync copy oci", ["oci:", "oci-archive:", "option nospace"]),
        # bash replaces only what is behind the last colon.
        ("mirrorsync inspect oci:di", [r"di\ sk.tar", "disk/", "dist/", "option nospace"]),
        ("mirrorsync inspect oci:disk:team/", ["team/app:1", "team/app:2"]),
        ("mirrorsync inspect oci:disk:team/app:", ["1", "2"]),
        ("mirrorsync inspect docker://qu", ["//quay.io/team/app"]),
        ("mirrorsync serve oci:dis", ["disk/", "dist/", "option nospace"]),
        ("mirrorsync login qu", ["quay.io"]),
        ("mirrorsync copy --platform linux/arm6", ["linux/arm64"]),
        ("mirrorsync list-tags --filter sem", ["semver=", "option nospace"]),
        ("mirrorsync plan --log-format ", ["text", "json"]),
        ("mirrorsync completion f", ["fish"]),
        ("mirrorsync nothing --on", []),
        ("mirrorsync plan 'unclosed --only ", []),
        ("mirrorsync inspect oci:missing/", []),
        ("mirrorsync inspect oci:dist:", []),
    ],
)
def test_bash_completes(home: Mirrorsync, line: str, offered: list[str]) -> None:
    assert sorted(set(complete(home, line))) == sorted(offered)


def test_every_verb_is_offered(home: Mirrorsync) -> None:
    offered = complete(home, "mirrorsync ")
    assert {"plan", "apply", "copy", "completion", "version"} <= set(offered)


@pytest.mark.parametrize("text", ["", "version: 1\nmirrors: [", "\x00\xff", "mirrors: 3"])
def test_a_spec_that_cannot_be_read_has_no_completions_and_no_message(home: Mirrorsync, text: str) -> None:
    (home.directory / "mirror.yaml").write_text(text)
    for line in ("mirrorsync plan --only ", "mirrorsync inspect docker://", "mirrorsync login "):
        assert complete(home, line) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", ""])
@pytest.mark.parametrize("line", [None, "", "mirrorsync 'a\\", "mirrorsync login -p ", "mirrorsync -- \x1b[2J"])
def test_whatever_asks_there_is_no_traceback(home: Mirrorsync, shell: str, line: str | None) -> None:
    extra = {"_MIRRORSYNC_COMPLETE": shell, **({} if line is None else {"COMP_LINE": line})}
    done = subprocess.run(
        [program()], cwd=home.directory, env=home.environment(extra), capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_scripts_are_for_three_shells(mirrorsync: Mirrorsync) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_MIRRORSYNC_COMPLETE" in mirrorsync("completion", shell, code=0).out
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in mirrorsync("completion", "tcsh", code=2).err
