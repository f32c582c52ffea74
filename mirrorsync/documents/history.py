"""The remembered runs of a spec as a JSON document (schemas/history.schema.json)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import location_json
from mirrorsync.state import Run, RunTag


def history_document(spec: str, runs: Iterable[tuple[Run, Iterable[RunTag]]]) -> dict[str, Any]:
    """Return runs, each with what it did to tags, as a document. spec: the absolute path of the spec."""
    return document("history", {"spec": spec, "runs": [_run_json(run, changes) for run, changes in runs]})


def _run_json(run: Run, changes: Iterable[RunTag]) -> dict[str, Any]:
    return {
        "number": run.number,
        "started": run.started,
        "finished": run.finished,
        "exit_code": run.exit_code,
        "counts": dict(run.counts),
        "bytes_read": run.bytes_read,
        "bytes_written": run.bytes_written,
        "generation": run.generation,
        "changes": [_change_json(change) for change in changes],
    }


def _change_json(change: RunTag) -> dict[str, Any]:
    location, tag = change.key
    return {
        "target": location_json(location),
        "tag": tag,
        "before": change.before,
        "after": change.after,
        "state": change.state,
        "outcome": change.outcome,
    }
