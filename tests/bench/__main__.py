"""`python -m tests.bench [--rounds N] [--only WORD] [--large MIB] ...`: run the contests and print the table."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench.contests import CONTESTS, Bench, Contest, Size
from tests.bench.measure import Cost, best

_HOPELESS = 10
"""A tool whose first run took so many times our wall time is not run again: no noise explains that."""
_HEAD = (
    f"{'contest':34} {'tool':13} {'wall s':>8} {'CPU s':>8} {'MB':>7} {'requests':>9} {'ours/theirs':>12} {'CPU':>6}"
)


def main() -> None:
    """Read the options, run every contest in rounds, and print one line for each tool."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tool, taken in turn; the best counts")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help="run the contests whose name contains this; may be repeated",
    )
    parser.add_argument("--repositories", type=int, default=50)
    parser.add_argument("--tags", type=int, default=40, help="tags in each repository")
    parser.add_argument("--large", type=int, default=1024, metavar="MIB", help="size of the large image")
    parser.add_argument("--rtt", type=float, default=20, metavar="MS", help="round-trip time to a far source")
    options = parser.parse_args()
    size = Size(options.repositories, options.tags, options.large * 1024**2, options.rtt)
    print(f"{size.repositories * size.tags} small images, one of {options.large} MiB, {size.rtt:g} ms to a far source")
    print(_HEAD)
    with tempfile.TemporaryDirectory(prefix="mirrorsync-bench-") as directory, Bench(Path(directory), size) as bench:
        for contest in CONTESTS:
            if not options.only or any(word in contest.name for word in options.only):
                _print(contest, _measure(bench, contest, options.rounds))


def _measure(bench: Bench, contest: Contest, rounds: int) -> dict[str, Cost]:
    """Run the tools in turn, so that what else the machine does falls on all of them."""
    for tool in contest.rivals:
        if not tool.present:
            print(f"{contest.name:34} {tool.name:13} {tool.program} is not on PATH", flush=True)
    present = [tool for tool in (contest.ours, *contest.rivals) if tool.present]
    costs: dict[str, list[Cost]] = {tool.name: [] for tool in present}
    for _ in range(rounds):
        for tool in present:
            costs[tool.name].append(bench.run(contest, tool))
        bearable = _HOPELESS * costs[contest.ours.name][0].wall
        present = [tool for tool in present if costs[tool.name][0].wall <= bearable]
    return {name: best(runs) for name, runs in costs.items()}


def _print(contest: Contest, costs: dict[str, Cost]) -> None:
    ours = costs[contest.ours.name]
    for name, cost in costs.items():
        ratio = "" if cost is ours else f"{ours.wall / cost.wall:12.2f} {ours.cpu / cost.cpu:6.2f}"
        line = f"{contest.name:34} {name:13} {cost.wall:8.2f} {cost.cpu:8.2f} {cost.memory / 1e6:7.0f}"
        print(f"{line} {cost.requests:9} {ratio}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
