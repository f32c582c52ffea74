"""Plans as documents: what is written can be read, and what was tampered with cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.documents import plan as document
from mirrorsync.errors import UsageError
from mirrorsync.plan.diff import diff
from tests.plan.reader import CASES, STAMP, Case


def document_of(path: Path) -> dict[str, Any]:
    case = Case.load(path)
    plan = diff(case.desired(), case.observed(), spec=STAMP, created="2026-01-01T00:00:00Z")
    return document.plan_document(plan)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_round_trip(path: Path) -> None:
    case = Case.load(path)
    plan = diff(case.desired(), case.observed(), spec=STAMP, created="2026-01-01T00:00:00Z")
    read = document.from_json(json.loads(json.dumps(document.plan_document(plan))))
    assert read == plan


TAMPERED = {
    "digest": ("steps", 0, "blob", "digest", "sha256:../../etc/passwd"),
    "size": ("steps", 0, "blob", "size", -1),
    "tag": ("images", 0, "tag", "../x"),
    "repository": ("images", 0, "target", "repository", "../x"),
}


@pytest.mark.parametrize("path", TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_plan_is_refused(path: tuple[Any, ...]) -> None:
    tampered = document_of(next(case for case in CASES if case.stem == "new_image"))
    *way, last, value = path
    place: Any = tampered
    for key in way:
        place = place[key]
    place[last] = value
    with pytest.raises(UsageError, match="damaged"):
        document.from_json(tampered)


def test_only_plans_of_this_version_are_read() -> None:
    tampered = document_of(CASES[0]) | {"version": 1}
    with pytest.raises(UsageError, match="no plan of version"):
        document.from_json(tampered)


@pytest.mark.parametrize("text", [b"version: 1\nmirrors: []\n", b"{", b'{"kind": "other"}', b"[1]", b"{" * 100_000])
def test_what_is_no_plan(text: bytes) -> None:
    assert document.sniff(text) is None


def test_a_plan_is_recognised() -> None:
    text = json.dumps(document_of(CASES[0])).encode()
    found = document.sniff(text)
    assert found is not None
    assert found["kind"] == document.KIND
