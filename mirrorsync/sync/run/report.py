"""The report: what a run did, left, and failed to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from mirrorsync.errors import ExitCode
from mirrorsync.plan.model import Change, Failure, SpecStamp

Outcome = Literal["done", "unchanged", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image: done, unchanged, failed, or skipped because the run was told to stop."""

    change: Change
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Counts:
    """What was moved. Bytes are those of blobs."""

    blobs_read: int = 0
    bytes_read: int = 0
    blobs_written: int = 0
    bytes_written: int = 0
    blobs_mounted: int = 0
    bytes_mounted: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did. started and finished: UTC, ISO 8601. failures: every image that failed, and why.

    deadline: whether it was stopped because its time was over, and not by a signal.
    """

    started: str
    finished: str
    spec: SpecStamp
    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    counts: Counts = Counts()
    deadline: bool = False

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many images ended how."""
        return Counter(result.outcome for result in self.results)

    @property
    def interrupted(self) -> bool:
        """Whether the run was told to stop before everything was done."""
        return self.outcomes["skipped"] > 0

    @property
    def exit_code(self) -> ExitCode:
        """What the process should say: 0 when all is as wanted, 3 when some of it is, else what went wrong."""
        landed = self.outcomes["done"] + self.outcomes["unchanged"] > 0
        if self.interrupted and self.deadline:
            return ExitCode.PARTLY if landed else ExitCode.FAILED
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return exit_code(self.failures, landed=landed)


def exit_code(failures: tuple[Failure, ...], *, landed: bool) -> ExitCode:
    """Return the exit code of some failures; landed: whether anything that was wanted is in place."""
    if not failures:
        return ExitCode.DONE
    if landed:
        return ExitCode.PARTLY
    codes = {failure.error.exit_code for failure in failures}
    return codes.pop() if len(codes) == 1 else ExitCode.FAILED
