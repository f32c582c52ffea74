"""`python -m tests.simulation --seeds 500`: simulate the years of many seeds, and report what differs."""

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
from tests.simulation.simulate import DAYS, Difference, Figures, simulate


def _one(seed: int, directory: str, days: int, real: bool) -> tuple[int, Figures | str]:
    try:
        if not real:
            return seed, simulate(seed, Path(directory), days)
        with DockerRegistry(Path(directory) / f"registry-{seed}", access_log=False) as registry:
            return seed, simulate(seed, Path(directory), days, registry.host)
    except Difference as error:
        return seed, f"{error}\n{''.join(traceback.format_exception(error.__cause__)[-4:])}"


def main() -> int:
    """Simulate; return 1 if a run of any seed differs from the rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--registry", action="store_true", help="mirror to a docker-registry for each seed")
    given = parser.parse_args()
    shared = Path("/dev/shm")
    started, total, found = time.monotonic(), Figures(), 0
    with (
        TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory,
        ProcessPoolExecutor(given.jobs) as pool,
    ):
        seeds = range(given.first, given.first + given.seeds)
        work = partial(_one, directory=directory, days=given.days, real=given.registry)
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
