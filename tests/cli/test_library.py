"""mirrorsync for Python programs: the names there are, and the README's example as it is written."""

from __future__ import annotations

import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mirrorsync
from mirrorsync.events import Event, TagSet
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.wire import Registry

README = (Path(__file__).parents[2] / "README.md").read_text()
NAMES = [
    "Change", "ExitCode", "Image", "MirrorsyncError", "Plan", "Problem", "Report", "Spec", "SpecError", "__version__",
    "apply_plan", "load_plan", "load_spec", "make_plan", "save_plan",
]  # fmt: skip


@pytest.fixture
def spec(mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str) -> Path:
    Registry(registry.host).push(f"{unique}/app", multi_platform("app"), "1")
    return mirrorsync.spec(
        {
            "registries": plain(registry.host),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [f"{registry.host}/{unique}/app:1"],
        }
    )


def test_the_public_names_are_these_and_each_says_what_it_is() -> None:
    assert mirrorsync.__all__ == NAMES
    assert dir(mirrorsync) == NAMES
    for name in NAMES:
        assert getattr(mirrorsync, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mirrorsync.nothing  # noqa: B018 - reading it is the test


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (importlib.resources.files("mirrorsync") / "py.typed").is_file()


def test_the_readme_example_runs_as_it_is_written(spec: Path) -> None:
    (example,) = re.findall(r"```python\n(import mirrorsync\n.*?)```", README, re.DOTALL)
    assert len(example.splitlines()) <= 12
    runs = [
        subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=spec.parent)
        for _ in range(2)
    ]
    assert [done.returncode for done in runs] == [0, 0], runs
    assert runs[0].stdout.startswith("new ")
    assert runs[1].stdout == "0 bytes read\n"


def test_plans_are_made_saved_loaded_and_applied(spec: Path) -> None:
    loaded = mirrorsync.load_spec(str(spec))
    seen: list[Event] = []
    plan = mirrorsync.make_plan(loaded, environment={}, observer=seen.append)
    assert [change.state for change in plan.changed()] == ["new"]
    mirrorsync.save_plan(plan, spec.parent / "plan.json")
    assert mirrorsync.load_plan(spec.parent / "plan.json") == plan
    report = mirrorsync.apply_plan(plan, loaded, environment={}, observer=seen.append)
    assert (report.exit_code, report.outcomes["done"]) == (mirrorsync.ExitCode.DONE, 1)
    assert [event.image for event in seen if isinstance(event, TagSet)] == [str(change) for change in plan.changes]
    with pytest.raises(mirrorsync.MirrorsyncError, match="changed after the plan was made") as stale:
        mirrorsync.apply_plan(plan, loaded, environment={})
    assert stale.value.exit_code == mirrorsync.ExitCode.STALE
    assert not list(mirrorsync.make_plan(loaded, environment={}).changed())


def test_what_is_wrong_is_raised_with_all_its_problems(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("version: 1\ndestinations: {disk: 'oci:d'}\nmirrors: ['nginx', 'a b']\n")
    with pytest.raises(mirrorsync.SpecError) as wrong:
        mirrorsync.load_spec(tmp_path / "wrong.yaml")
    assert [problem.line for problem in wrong.value.problems] == [3, 3]
    with pytest.raises(mirrorsync.MirrorsyncError, match="there is no spec"):
        mirrorsync.load_spec(tmp_path / "missing.yaml")
    with pytest.raises(mirrorsync.MirrorsyncError, match="is not a plan"):
        mirrorsync.load_plan(tmp_path / "wrong.yaml")


def test_variables_come_from_the_environment_that_is_given(spec: Path) -> None:
    text = spec.read_text().replace('"plain_http": true', '"plain_http": true, "username": "u", "password": "${WORD}"')
    spec.write_text(text)
    with pytest.raises(mirrorsync.SpecError, match="WORD"):
        mirrorsync.load_spec(spec, environment={})
    (settings,) = mirrorsync.load_spec(spec, environment={"WORD": "canary"}).registries.values()
    assert settings.password is not None
    assert settings.password.reveal() == "canary"
    assert "canary" not in repr(settings)
