"""What gets installed: one command, the schemas, types, and only the declared dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel, built from this tree."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = directory.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_file_and_schema_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for path in (ROOT / "mirrorsync").rglob("*.py"):
        assert str(path.relative_to(ROOT)) in names
    for path in (ROOT / "schemas").iterdir():
        assert wheel.read(f"mirrorsync/schemas/{path.name}") == path.read_bytes()
    assert "mirrorsync/py.typed" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_it_runs_from_the_wheel_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    (tmp_path / "mirror.yaml").write_text("version: 1\nmirrors: []\n")
    command = [sys.executable, "-P", "-c", "from mirrorsync.cli.main import main; main()", "validate", "mirror.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}/mirror.yaml:2:10: /mirrors: this is empty; add a value, or remove it\n")


def test_the_wheel_has_metadata(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    told = Parser().parsestr(wheel.read(metadata).decode())
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Requires-Python"] == ">=3.11"
    (scripts,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "mirrorsync = mirrorsync.cli.main:main" in wheel.read(scripts).decode()


def test_every_dependency_is_imported_and_every_import_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    modules = {"google-re2": "re2", "pyyaml": "yaml", "backports.zstd": "backports"}
    newer = {"compression"}  # of Python 3.14, which needs no backport
    extra = {"sigstore_models"}  # of sigstore, which pins it
    dependencies = [*project["dependencies"], *project["optional-dependencies"]["sigstore"]]
    words = [dependency.partition(">")[0] for dependency in dependencies]
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "mirrorsync").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", code, re.MULTILINE))
    assert imported - sys.stdlib_module_names - newer - extra - {"mirrorsync"} == {
        modules.get(word, word) for word in words
    }
