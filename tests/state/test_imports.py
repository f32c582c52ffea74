"""What is remembered of imports: in order, without damaged lines, and not for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mirrorsync.app.history import read_imports
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.state import PastImport, PastImports

TIME = "2026-11-26T03:17:00Z"
ONE = PastImport("shop-000001", Digest.of(b"1"), ("oci:/srv/m",), TIME, TIME, 3, {"done": 2, "delayed": 1}, 5)


def test_imports_are_the_latest_first_and_damaged_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    warned: list[str] = []
    past = PastImports(tmp_path / "state", warned.append)
    others = [replace(ONE, bundle=f"shop-{number:06d}", id=f"{number}") for number in range(3)]
    for one in others:
        past.add(one)
    path = tmp_path / "state/imports.jsonl"
    assert past.every() == others[::-1]
    assert warned == []
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:20] + b"\n[]\n" + lines[2])
    assert past.every() == [others[2], others[0]]
    assert warned == [f"{path} has 2 damaged lines, which are left out"]
    environment = Environment(state_directory=tmp_path / "state")
    assert read_imports(limit=1, environment=environment) == [others[2]]


def test_an_import_that_began_and_did_not_end_is_shown_until_it_does(tmp_path: Path) -> None:
    past = PastImports(tmp_path, pytest.fail)
    killed, slow = (PastImport("shop-000001", Digest.of(b"1"), (place,), TIME) for place in ("oci:/a", "oci:/b"))
    past.add(killed)
    past.add(slow)
    assert past.every() == [slow, killed]
    assert {one.exit_code for one in past.every()} == {None}
    ended = replace(slow, finished=TIME, exit_code=0, counts={"done": 1})
    past.add(ended)
    assert past.every() == [ended, killed]


def test_the_older_half_is_dropped_when_the_file_is_large(tmp_path: Path) -> None:
    past = PastImports(tmp_path, pytest.fail)
    past.add(ONE)
    line = (tmp_path / "imports.jsonl").read_bytes()
    lines = [line.replace(ONE.id.encode(), b"%032d" % at) for at in range(1024 * 1024 // len(line) + 2)]
    (tmp_path / "imports.jsonl").write_bytes(b"".join(lines))
    before = len(past.every())
    past.add(replace(ONE, bundle="last", id="last"))
    after = past.every()
    assert (after[0].bundle, len(after)) == ("last", (before + 1) // 2 + 1)
    assert json.loads(line)["bundle"] == "shop-000001"


def test_without_an_import_it_is_said_where_they_are_remembered(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no import of a bundle is remembered in {tmp_path}"):
        read_imports(environment=Environment(state_directory=tmp_path))
