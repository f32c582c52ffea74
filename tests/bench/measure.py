"""Running a command and telling what it cost: wall and CPU seconds, and peak memory."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one run of a command cost. seconds; memory: peak of the largest process, bytes; requests: to registries."""

    wall: float
    cpu: float
    memory: int
    requests: int = 0


class CommandFailed(Exception):
    """The measured command did not do its job, so that its time means nothing."""


def run(command: list[str], log: Path) -> Cost:
    """Run a command, its output into `log`. Raises: CommandFailed when it does not exit with 0."""
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)} exited with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def best(costs: list[Cost]) -> Cost:
    """Return the run with the least wall time: on a shared machine, noise only ever adds."""
    return min(costs, key=lambda cost: cost.wall)
