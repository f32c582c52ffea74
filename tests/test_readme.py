"""README.md is correct: its spec is valid, its commands exist, its tables match the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mirrorsync.errors import ExitCode
from tests.parts.mirrorsync import Mirrorsync

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
COMMANDS = sorted(set(re.findall(r"^(mirrorsync [a-z]+[^#\n]*)", SHELL, re.MULTILINE)))
INLINE = sorted(set(re.findall(r"`(mirrorsync [a-z]+[^`]*)`", README)))


def test_its_spec_is_valid(mirrorsync: Mirrorsync) -> None:
    ((block,)) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (mirrorsync.directory / "mirror.yaml").write_text(block)
    assert mirrorsync("validate", code=0).out.startswith("mirror.yaml is valid")


@pytest.mark.parametrize("command", [*COMMANDS, *INLINE])
def test_its_commands_exist(mirrorsync: Mirrorsync, command: str) -> None:
    verb, *words = shlex.split(command)[1:]
    told = mirrorsync(verb, "--help", code=0).out
    for word in words:
        assert not word.startswith("--") or word in told, f"{verb} knows no {word}"


def test_it_shows_commands() -> None:
    assert len(COMMANDS) > 4


def test_its_exit_codes_are_complete() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", README, re.MULTILINE)
    told = {int(number) for row in rows for number in row.split(",")}
    assert told == {int(code) for code in ExitCode}


def test_its_map_shows_every_floor() -> None:
    for folder in (ROOT / "mirrorsync").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"`mirrorsync/{folder.name}`" in README


def test_its_links_have_targets() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists()


def test_it_names_every_package_that_the_tests_install() -> None:
    script = (ROOT / "tests/run").read_text("utf-8")
    packages = re.findall(r"[a-z-]+:([a-z0-9-]+)", script[script.index("needed=(") : script.index(")\n")])
    assert len(packages) > 5
    assert [package for package in packages if package not in README] == []
