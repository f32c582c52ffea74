"""On a machine without a C compiler everything is installed but deltas, and mirrorsync says so."""

from __future__ import annotations

import subprocess
import sys
import types
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


def hook() -> types.ModuleType:
    """Return the build hook, as hatchling loads it."""
    spec = spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheel_is_pure_if_the_part_cannot_be_compiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data: dict[str, Any] = {"artifacts": []}
    hook().CompiledParts(str(tmp_path), {}, None, None, str(tmp_path), "wheel").initialize("standard", data)
    assert data == {"artifacts": []}
    assert "built without deltas of layers" in capsys.readouterr().err


def test_the_wheel_has_the_compiled_part_and_a_tag_for_it() -> None:
    data: dict[str, Any] = {"artifacts": []}
    hook().CompiledParts(str(ROOT), {}, None, None, str(ROOT), "wheel").initialize("standard", data)
    assert data["infer_tag"]
    (part,) = data["artifacts"]
    assert (ROOT / part.lstrip("/")).is_file()


def test_what_is_missing_is_said() -> None:
    code = (
        "import sys, io; sys.modules['mirrorsync.delta._deflate'] = None\n"
        "from mirrorsync import delta\n"
        "assert not delta.available() and 'without its compiled part' in delta.available().reason\n"
        "try: delta.apply(io.BytesIO(), io.BytesIO())\n"
        "except delta.DeltasUnavailable as error: print(error, '|', error.remedy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("deltas of layers are not available: mirrorsync was installed without its compiled")
    assert "install a C compiler" in done.stdout
