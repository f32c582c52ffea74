"""A few seeds of the simulation: every run does what the rules say. All of it is `python -m tests.simulation`."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from tests.simulation.simulate import simulate


def test_three_years_of_a_mirror_are_what_the_rules_say(tmp_path: Path) -> None:
    figures = [simulate(seed, tmp_path) for seed in range(3)]
    assert min(one.runs for one in figures) > 100
    assert all(map(sum, zip(*map(astuple, figures), strict=True))), "each kind of thing has happened"
