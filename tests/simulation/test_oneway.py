"""A one-way link loses bundles, parts and answers: 100 rounds of it are `python -m tests.simulation.oneway`."""

from __future__ import annotations

from tests.simulation.oneway import simulate


def test_losses_of_a_one_way_link_are_repaired_by_what_a_code_asks_for() -> None:
    figures = simulate(seed=2, rounds=8)
    assert figures.lost_bundles
    assert figures.lost_parts
    assert figures.lost_answers
    assert figures.repaired
    assert figures.longest_code < 100
    assert figures.again_bytes < figures.sent_bytes / 2
