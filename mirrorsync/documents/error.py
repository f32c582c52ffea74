"""Errors, and the problems of a spec, as JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.errors import MirrorsyncError
from mirrorsync.problems import Problem, SpecError


def error_json(error: MirrorsyncError) -> dict[str, Any]:
    """Return an error as an object, with only the members that are known."""
    members = {
        "message": error.message,
        "remedy": error.remedy,
        "exit_code": int(error.exit_code),
        "side": error.side,
        "store": error.store,
        "repository": error.repository,
        "reference": error.reference,
        "step": error.step,
    }
    return {key: value for key, value in members.items() if value}


def error_document(error: MirrorsyncError) -> dict[str, Any]:
    """Return the document that is written to stdout if a command fails without a result."""
    shown = error_json(error)
    if isinstance(error, SpecError):
        shown["problems"] = _problems_json(error.problems)
    return document("error", {"error": shown})


def validation_document(
    source: str, problems: Sequence[Problem] = (), hosts: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the problems of a spec as a document. source: the path of its file. hosts: by `host_json`, if asked."""
    asked = {} if hosts is None else {"hosts": list(hosts)}
    return document("validation", {"spec": source, "problems": _problems_json(problems), **asked})


def host_json(host: str, sides: Sequence[str], answer: str, error: MirrorsyncError | None) -> dict[str, Any]:
    """Return what a host answered: `answer`, or the error."""
    found: dict[str, Any] = {"answer": answer} if error is None else {"error": error_json(error)}
    return {"host": host, "sides": list(sides), **found}


def _problems_json(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{key: value for key, value in asdict(problem).items() if key != "file" or value} for problem in problems]
