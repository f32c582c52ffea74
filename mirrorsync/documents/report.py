"""Reports as JSON documents; schemas/report.schema.json describes them."""

from __future__ import annotations

from typing import Any, Final

from mirrorsync.documents.plan import change_json, failure_json
from mirrorsync.sync.run.report import Report

KIND: Final = "mirrorsync.report"
VERSION: Final = 1


def to_json(report: Report, code: int | None = None) -> dict[str, Any]:
    """Return the report as a JSON document (kind `mirrorsync.report`).

    code: what the process exits with, where it knows more than the report (which signal told it to stop).
    """
    counts = report.counts
    return {
        "kind": KIND,
        "version": VERSION,
        "started": report.started,
        "finished": report.finished,
        "spec": {"path": report.spec.path, "digest": str(report.spec.digest), "only": list(report.spec.only)},
        "exit_code": int(report.exit_code if code is None else code),
        "interrupted": report.interrupted,
        "reason": ("deadline" if report.deadline else "signal") if report.interrupted else None,
        "images": [{**change_json(result.change), "outcome": result.outcome} for result in report.results],
        "failures": [failure_json(failure) for failure in report.failures],
        "counts": {
            "read": {"blobs": counts.blobs_read, "bytes": counts.bytes_read},
            "written": {"blobs": counts.blobs_written, "bytes": counts.bytes_written},
            "mounted": {"blobs": counts.blobs_mounted, "bytes": counts.bytes_mounted},
        },
    }
