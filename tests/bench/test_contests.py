"""The contests run: each is done by mirrorsync and by every rival on PATH, at the smallest size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.contests import CONTESTS, Bench, Contest, Size
from tests.bench.tools import CP


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory: Path = tmp_path_factory.mktemp("bench")
    with Bench(directory, Size(repositories=2, tags=2, large=2 * 1024**2, rtt=1)) as started:
        yield started


@pytest.mark.parametrize("contest", CONTESTS, ids=lambda contest: contest.name)
def test_every_tool_that_is_present_does_the_job(bench: Bench, contest: Contest) -> None:
    done = {tool.name: bench.run(contest, tool) for tool in (contest.ours, *contest.rivals) if tool.present}
    assert contest.ours.name in done
    assert all(cost.requests >= _least(contest) for name, cost in done.items() if name != CP.name)


def _least(contest: Contest) -> int:
    """Return how many requests the job takes at least: one to either registry for each image."""
    images = 1 if contest.images == "large" else 4
    return images * ((contest.source == "registry") + ("registry" in contest.places))


def test_a_contest_over_tls_asks_only_the_registries_that_speak_it(bench: Bench) -> None:
    (contest,) = (each for each in CONTESTS if each.tls and each.filled)
    bench.full_over_tls.answered()  # it is filled from the source when it is first needed
    plain, encrypted = bench.source.answered(), bench.source_over_tls.answered()
    bench.run(contest, contest.ours)
    assert bench.source.answered() == plain
    assert bench.source_over_tls.answered() >= encrypted + 4


def test_a_first_copy_reads_every_manifest_again(bench: Bench) -> None:
    (contest,) = (each for each in CONTESTS if each.name == "first copy")
    one, other = (bench.run(contest, contest.ours) for _ in range(2))
    assert one.requests == other.requests
