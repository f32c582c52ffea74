"""Specs, plans and reports as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from rich.filesize import decimal

from mirrorsync.cli.output.stdio import LINE_LIMIT
from mirrorsync.cli.output.tables import Table
from mirrorsync.errors import RateLimited, RegistryUnavailable, TlsFailed, Unauthorized, Unreachable, printable
from mirrorsync.oci.reference import Where
from mirrorsync.plan.model import BlobFate, Change, Failure, Plan, State, Totals
from mirrorsync.spec.model import Spec
from mirrorsync.sync.run.report import Report

_STYLES: Final = {
    State.NEW: "green",
    State.MOVED: "yellow",
    State.INCOMPLETE: "magenta",
    State.DELETED: "red",
    State.KEPT: "cyan",
    State.REFUSED: "bold red",
}
# Kinds of errors whose cause is a host as a whole, or the login there.
_OF_HOSTS: Final = (Unauthorized, TlsFailed, Unreachable, RateLimited, RegistryUnavailable)
_BLOBS: Final[Mapping[BlobFate, str]] = {"copy": "copy", "mount": "mount", "present": "have"}


def count(number: int, what: str) -> str:
    """Return a number with its noun: `1 image`, `2 images`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def spec_summary(spec: Spec) -> str:
    """Return one line about a valid spec."""
    exact = sum(len(mirror.selection.exact) for mirror in spec.mirrors)
    filtered = sum(mirror.selection.lists for mirror in spec.mirrors)
    wanted = f"{count(exact, 'exact image')}, {count(filtered, 'mirror')} with filters"
    destinations = {destination.name for mirror in spec.mirrors for destination in mirror.destinations}
    name = PurePath(spec.source).name
    return (
        f"{name} is valid: {count(len(spec.mirrors), 'mirror')} ({wanted}) to {count(len(destinations), 'destination')}"
    )


def changes_table(changes: Iterable[Change]) -> Table:
    """Return the changed images: state, target, digest (or old and new), source, and the reason of a policy."""
    rows = [
        (change.state.value, str(change), _digests(change), _source(change))
        for change in changes
        if change.state != State.UNCHANGED
    ]
    return Table(("state", "image", "digest", "source"), rows, {state.value: style for state, style in _STYLES.items()})


def _digests(change: Change) -> str:
    if change.before is None or change.after is None or change.before.digest == change.after.digest:
        return change.digest.short
    return f"{change.before.digest.short} -> {change.after.digest.short}"


def _source(change: Change) -> str:
    source = f"from {change.origin.location}" if change.origin else ""
    return "; ".join(part for part in (source, printable(change.reason)) if part)


def plan_summary(plan: Plan) -> str:
    """Return the totals of a plan: one line if there is nothing to do, else one for each destination."""
    if not any(totals.changed or totals.states.get(State.KEPT) for totals in plan.totals.values()):
        return "" if plan.failures else _nothing(len(plan.changes), len(plan.totals))
    lines = [f"{store.rstrip(':')}: {_totals(totals)}" for store, totals in plan.totals.items()]
    return "\n".join([*lines, f"to read from sources: {decimal(plan.read_bytes)}"])


def _nothing(images: int, destinations: int) -> str:
    return f"nothing to do: {count(images, 'image')} up to date at {count(destinations, 'destination')}"


def _totals(totals: Totals) -> str:
    images = [f"{number} {state}" for state in (*_STYLES, State.UNCHANGED) if (number := totals.states.get(state))]
    blobs = [
        f"{word} {count(amount.blobs, 'blob')} ({decimal(amount.size)})"
        for fate, word in _BLOBS.items()
        if (amount := totals.blobs.get(fate)) is not None
    ]
    return "; ".join(part for part in (", ".join(images), ", ".join(blobs)) if part)


def failure_lines(failures: Iterable[Failure]) -> list[str]:
    """Return two lines for each failure: what failed where, and the remedy. Those of one cause at a host share them."""
    causes: dict[object, list[Failure]] = {}
    for failure in failures:
        causes.setdefault(_cause(failure), []).append(failure)
    lines = []
    for alike in causes.values():
        lines.append(f"failed: {_one(alike[0]) if len(alike) == 1 else _together(alike)}")
        if alike[0].error.remedy:
            lines.append(f"  {alike[0].error.remedy}")
    return [printable(line, LINE_LIMIT) for line in lines]


def _cause(failure: Failure) -> object:
    """Return a key that failures share if a host is their cause; others are one cause each: their names are needed."""
    error = failure.error
    if not isinstance(error, _OF_HOSTS) or error.store is None:
        return id(failure)
    return type(error), error.side, error.store, error.message, error.remedy


def _one(failure: Failure) -> str:
    # The error mostly names the failed target anyway.
    subject = "" if failure.error.where == failure.subject else f"{failure.subject}: "
    return f"{subject}{failure.error}"


def _together(failures: Sequence[Failure]) -> str:
    """Return one line for failures of one cause: their repository or host, and how many images it costs."""
    error = failures[0].error
    repositories = {failure.error.repository for failure in failures}
    place = Where(error.store, error.repository if len(repositories) == 1 else None)
    images = {failure.subject for failure in failures if failure.error.reference is not None}
    lists = {failure.subject for failure in failures} - images
    costs = [count(len(images), "image")] * bool(images) + [count(len(lists), "tag list")] * bool(lists)
    side = f"{error.side} " if error.side else ""
    return f"{side}{place}: {error.message} ({', '.join(costs)})"


def report_summary(report: Report) -> str:
    """Return one line about what a run did."""
    outcomes, counts = report.outcomes, report.counts
    destinations = len({result.change.target.store for result in report.results})
    if not report.failures and not any(outcomes[name] for name in ("done", "kept", "skipped")):
        return _nothing(len(report.results), destinations)
    parts = [f"{outcomes[name]} {name}" for name in ("done", "unchanged", "kept", "skipped") if outcomes[name]]
    parts += [f"{len(report.failures)} failed"] * bool(report.failures)
    moved = [f"read {decimal(counts.bytes_read)}", f"wrote {decimal(counts.bytes_written)}"]
    moved += [f"mounted {decimal(counts.bytes_mounted)}"] * bool(counts.blobs_mounted)
    stopped = ("stopped at the deadline: " if report.deadline else "stopped: ") if report.interrupted else ""
    return f"{stopped}{', '.join(parts)}; {', '.join(moved)}"
