"""A few seeds of the simulation: every run does what the rules say. All of it is `python -m tests.simulation`."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from tests.parts.docker_registry import DockerRegistry
from tests.simulation.layout import LayoutTarget
from tests.simulation.registry import RegistryTarget
from tests.simulation.simulate import simulate


def test_a_run_against_a_registry_agrees(fresh_registry: DockerRegistry, tmp_path: Path) -> None:
    assert simulate(1, tmp_path, 60, RegistryTarget(fresh_registry.host)).set_ > 0


def test_a_run_into_a_layout_agrees_and_leaves_no_blob_without_a_use(tmp_path: Path) -> None:
    figures = simulate(1, tmp_path, 120, LayoutTarget(tmp_path / "layout"))
    assert min(figures.set_, figures.deleted, figures.killed) > 0


def test_three_years_of_a_mirror_are_what_the_rules_say(tmp_path: Path) -> None:
    figures = [simulate(seed, tmp_path) for seed in range(3)]
    assert min(one.runs for one in figures) > 100
    assert all(map(sum, zip(*map(astuple, figures), strict=True))), "each kind of thing has happened"
