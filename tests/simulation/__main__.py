"""`python -m tests.simulation --seeds 500 [--to layout]`: simulate the years of seeds, and report what differs."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.parts.docker_registry import DockerRegistry
from tests.simulation.layout import LayoutTarget
from tests.simulation.registry import RegistryTarget
from tests.simulation.simulate import DAYS, Difference, Figures, simulate


def _one(seed: int, directory: str, days: int, to: str) -> tuple[int, Figures | str]:
    path = Path(directory)
    try:
        if to == "memory":
            return seed, simulate(seed, path, days)
        if to == "layout":
            return seed, simulate(seed, path, days, LayoutTarget(path / f"layout-{seed}"))
        with DockerRegistry(path / f"registry-{seed}", access_log=False) as registry:
            return seed, simulate(seed, path, days, RegistryTarget(registry.host))
    except Difference as error:
        return seed, f"{error}\n{''.join(traceback.format_exception(error.__cause__)[-4:])}"


def main() -> int:
    """Simulate; return 1 if a run of any seed differs from the rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--to", choices=["memory", "layout", "registry"], default="memory", help="what each seed mirrors to"
    )
    given = parser.parse_args()
    shared = Path("/dev/shm")
    started, total, found = time.monotonic(), Figures(), 0
    with (
        TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory,
        ProcessPoolExecutor(given.jobs) as pool,
    ):
        seeds = range(given.first, given.first + given.seeds)
        work = partial(_one, directory=directory, days=given.days, to=given.to)
        for seed, result in pool.map(work, seeds):
            if seed % 50 == 0:
                print(f"up to seed {seed}: {found} differ, {total}", flush=True)
            if isinstance(result, str):
                found += 1
                print(f"seed {seed}: {result}", flush=True)
                continue
            for field in fields(Figures):
                setattr(total, field.name, getattr(total, field.name) + getattr(result, field.name))
    print(f"{given.seeds} seeds, {found} differ, {total}, {time.monotonic() - started:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
