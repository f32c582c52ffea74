"""The report of a run: what it did, skipped, and failed to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from mirrorsync.errors import BlobsUnknown, ExitCode, Interrupted, MirrorsyncError, PruneRefused, StillUsed
from mirrorsync.events import Noticed
from mirrorsync.hosts import Pulls
from mirrorsync.plan.model import Change, Failure, Plan, ReferrerCounts, SpecStamp, State, Vanished
from mirrorsync.plan.prune import POINTER
from mirrorsync.sync.run.order import Failed
from mirrorsync.sync.run.transfer import NOTHING_MOVED, Counts

Outcome = Literal["done", "unchanged", "kept", "delayed", "refused", "failed", "skipped"]
_NOT_SPARSE: Final = "the registry rejects an index of which images are missing (platforms: index: sparse)"
_REWRITE: Final = "mirror a new index of the wanted images with index: rewrite; its digest differs from the source's"
# The outcome of a change without steps.
_AS_PLANNED: Final[dict[State, Outcome]] = {
    State.UNCHANGED: "unchanged",
    State.KEPT: "kept",
    State.DELAYED: "delayed",
    State.REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one change.

    done, unchanged, kept, delayed or refused by a policy, failed, or skipped by a stopped run.
    """

    change: Change
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a run. started and finished: UTC, ISO 8601. failures: all failures, with their errors.

    notices: about stores, for the operator. deadline: whether the run was stopped by its deadline, and not by a signal.
    vanished: tags that sources have dropped, and that are kept.
    pulls: by the address of each source that is a registry.
    referrers: their numbers, None if no mirror wants them.
    """

    started: str
    finished: str
    spec: SpecStamp
    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    counts: Counts = NOTHING_MOVED
    notices: tuple[Noticed, ...] = ()
    deadline: bool = False
    vanished: tuple[Vanished, ...] = ()
    pulls: Mapping[str, Pulls] = field(default_factory=dict)
    referrers: ReferrerCounts | None = None

    @property
    def referrers_copied(self) -> int:
        """The number of referrers that were mirrored, each once for a destination."""
        return sum(one.outcome == "done" and is_referrer(one.change) for one in self.results)

    @property
    def outcomes(self) -> Counter[Outcome]:
        """The number of changes by outcome."""
        return Counter(result.outcome for result in self.results)

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped before all steps were done."""
        return self.outcomes["skipped"] > 0

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the process: 0 if every image is as wanted, 3 if some are, otherwise that of the errors."""
        outcomes = self.outcomes
        landed = any(outcomes[outcome] for outcome in ("done", "unchanged", "kept", "delayed"))
        if self.interrupted and self.deadline:
            return ExitCode.PARTLY if landed else ExitCode.FAILED
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return exit_code(self.failures, landed=landed)


def report_of(
    plan: Plan, failed: Failed, counts: Counts, notices: Sequence[Noticed], started: str, finished: str
) -> Report:
    """Return the outcome of every change of a plan. failed: the errors of steps, by id and store."""
    results, failures = [], list(plan.failures)
    for change in plan.changes:
        outcome, error = _outcome(change, failed)
        results.append(Result(change, outcome))
        if outcome == "failed" and error is not None:
            failures.append(Failure.of(change, error))
    return Report(
        started,
        finished,
        plan.spec,
        tuple(results),
        tuple(failures),
        counts,
        tuple(notices),
        vanished=plan.vanished,
        referrers=plan.referrers,
    )


def is_referrer(change: Change) -> bool:
    """Return whether a change is mirrored because it is a referrer of another image."""
    return change.origin is not None and change.origin.subject is not None


def _outcome(change: Change, failed: Failed) -> tuple[Outcome, MirrorsyncError | None]:
    if change.state in _AS_PLANNED:
        return _AS_PLANNED[change.state], None
    error = failed.get((change.step, change.target.store))
    if error is None:
        return "done", None
    if isinstance(error, BlobsUnknown) and change.origin is not None and change.origin.sparse:
        return "failed", error.with_(message=_NOT_SPARSE, remedy=_REWRITE)
    if isinstance(error, StillUsed) and change.mirror == POINTER:
        # The registry deletes only by digest, and a tag that stays names the same manifest.
        return "kept", None
    return ("skipped" if isinstance(error, Interrupted) else "failed"), error


def lost_images(failures: Iterable[Failure], results: Iterable[Result] = ()) -> tuple[str, ...]:
    """Return the images that failed, or were skipped by a stopped run, as references at their sources, each once.

    A source whose tags could not be listed is its repository.
    """
    skipped = [result.change for result in results if result.outcome == "skipped"]
    lost = [*(failure.lost for failure in failures), *(_source_of(change) for change in skipped)]
    return tuple(dict.fromkeys(name for name in lost if name))


def _source_of(change: Change) -> str:
    return str(change.origin.reference(change.digest)) if change.origin is not None else ""


def exit_code(failures: tuple[Failure, ...], *, landed: bool) -> ExitCode:
    """Return the exit code for failures; landed: whether at least one wanted image is at its destination."""
    if not failures:
        return ExitCode.DONE
    if any(isinstance(failure.error, PruneRefused) for failure in failures):
        return ExitCode.FAILED  # a spec that suddenly wants far less is a mistake that a person has to look at
    if landed:
        return ExitCode.PARTLY
    codes = {failure.error.exit_code for failure in failures}
    return codes.pop() if len(codes) == 1 else ExitCode.FAILED
