"""Reports of runs as JSON documents (schemas/report.schema.json)."""

from __future__ import annotations

from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import (
    amount_json,
    change_json,
    failures_json,
    referrers_json,
    spec_json,
    vanished_json,
)
from mirrorsync.hosts import Pulls
from mirrorsync.sync.run.report import Report


def report_document(report: Report, code: int | None = None) -> dict[str, Any]:
    """Return a report as a document.

    code: the exit code of the process, if it is not that of the report (by the signal that stopped it).
    """
    counts = report.counts
    return document(
        "report",
        {
            "started": report.started,
            "finished": report.finished,
            "spec": spec_json(report.spec),
            "exit_code": int(report.exit_code if code is None else code),
            "interrupted": report.interrupted,
            "reason": ("deadline" if report.deadline else "signal") if report.interrupted else None,
            "images": [{**change_json(result.change), "outcome": result.outcome} for result in report.results],
            "failures": failures_json(report.failures, report.spec),
            "vanished": vanished_json(report.vanished),
            "referrers": None
            if report.referrers is None
            else {**(referrers_json(report.referrers) or {}), "copied": report.referrers_copied},
            "notices": [{"where": notice.where, "message": notice.message} for notice in report.notices],
            "pulls": {host: _pulls_json(pulls) for host, pulls in report.pulls.items()},
            "counts": {
                "read": amount_json(counts.blobs_read, counts.bytes_read),
                "written": amount_json(counts.blobs_written, counts.bytes_written),
                "mounted": amount_json(counts.blobs_mounted, counts.bytes_mounted),
                "freed": amount_json(counts.freed.blobs, counts.freed.size) if counts.freed else None,
            },
        },
    )


def _pulls_json(pulls: Pulls) -> dict[str, Any]:
    return {
        "used": pulls.used,
        "remaining": pulls.remaining,
        "limit": pulls.limit,
        "window_seconds": pulls.window,
        "source": pulls.source or None,
    }
