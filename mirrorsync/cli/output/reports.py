"""Reports of runs as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.filesize import decimal

from mirrorsync.cli.output.destinations import Destinations
from mirrorsync.cli.output.render import count, counts_by_destination, failed_at, nothing_to_do, numbers, waiting_lines
from mirrorsync.cli.output.tables import Listing
from mirrorsync.cli.output.vanished import vanished_lines
from mirrorsync.sync.run.report import Report

# What a policy refuses is counted as failed.
_COUNTED: Final = ("done", "failed", "skipped", "kept", "delayed", "unchanged")


def report_parts(report: Report) -> Iterator[str | Listing]:
    """Yield a report for people: one line; before it one for each destination, if one of several had failures."""
    destinations = Destinations(report.spec.destinations)
    if not report.failures and not any(report.outcomes[name] for name in ("done", "kept", "delayed", "skipped")):
        yield from vanished_lines(report.vanished)
        yield nothing_to_do((result.change.target for result in report.results), destinations)
        return
    # Failed images are counted from the failures, which also has those that could not be planned.
    outcomes = [(one.change.target, one.outcome) for one in report.results if one.outcome != "failed"]
    counted = counts_by_destination(outcomes, report.failures, destinations)
    if report.failures and len(counted) > 1:
        yield Listing([((f"{name}:",), numbers(each, _COUNTED)) for name, each in counted.items()])
    yield from vanished_lines(report.vanished)
    total: Counter[str] = Counter(outcome for _, outcome in outcomes)
    total["failed"] = sum(failed_at(report.failures).values())
    yield from waiting_lines(result.change for result in report.results if result.outcome == "delayed")
    yield from _pulls_lines(report)
    yield from _referrers(report)
    yield f"{_stopped(report)}{numbers(total, _COUNTED)}; {_moved(report)}"


def _pulls_lines(report: Report) -> Iterator[str]:
    """Yield the pulls at each source that limits them."""
    for host, pulls in report.pulls.items():
        if pulls.used and pulls.remaining is not None:
            limit = "" if pulls.limit is None else f" of {pulls.limit}"
            yield f"{host}: {count(pulls.used, 'pull')}, {pulls.remaining}{limit} left"


def _referrers(report: Report) -> Iterator[str]:
    """Yield the numbers of referrers, if they are mirrored."""
    counts = report.referrers
    if counts is not None:
        yield f"referrers: {counts.found} found, {counts.wanted} wanted, {report.referrers_copied} copied"


def _stopped(report: Report) -> str:
    if not report.interrupted:
        return ""
    return "stopped at the deadline: " if report.deadline else "stopped: "


def _moved(report: Report) -> str:
    counts = report.counts
    moved = [f"read {decimal(counts.bytes_read)}", f"wrote {decimal(counts.bytes_written)}"]
    moved += [f"mounted {decimal(counts.bytes_mounted)}"] * bool(counts.blobs_mounted)
    seconds = round((datetime.fromisoformat(report.finished) - datetime.fromisoformat(report.started)).total_seconds())
    return f"{', '.join(moved)} in {seconds} s"
