"""Plans as documents: a written plan can be read, and a damaged or edited one is rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.documents.plan import plan_document, plan_text, read_plan
from mirrorsync.errors import UsageError
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.model import Change, Plan, State, Totals
from mirrorsync.plan.steps import SetTag
from tests.documents import examples
from tests.plan.reader import CASES, STAMP, Case


def plan_of(path: Path) -> Plan:
    case = Case.load(path)
    return diff(case.desired(), case.observed(), spec=STAMP, created="2026-01-01T00:00:00Z")


def read(document: Any) -> Plan | None:
    return read_plan(json.dumps(document).encode(), "plan.json")


def refusal(data: bytes) -> str:
    """Return the error message for a damaged plan."""
    with pytest.raises(UsageError) as refused:
        read_plan(data, "plan.json")
    assert refused.value.remedy
    return refused.value.message


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_written_plan_is_read_as_the_same_plan(path: Path) -> None:
    plan = plan_of(path)
    assert read_plan("".join(plan_text(plan)).encode(), "plan.json") == plan


def test_a_plan_with_all_members_is_read_as_the_same_plan() -> None:
    plan = examples.plan()
    found = read_plan("".join(plan_text(plan)).encode(), "plan.json")
    assert found is not None
    assert (found.changes, found.steps, found.totals) == (plan.changes, plan.steps, plan.totals)
    assert (found.spec, found.created) == (plan.spec, plan.created)
    assert plan.failures
    for read, made in zip(found.failures, plan.failures, strict=True):
        assert (read.subject, str(read.error), read.error.remedy) == (made.subject, str(made.error), made.error.remedy)
        assert (read.error.exit_code, read.error.side, read.error.step) == (
            made.error.exit_code, made.error.side, made.error.step,
        )  # fmt: skip


def test_the_text_is_the_document_with_a_line_for_each_image_and_step() -> None:
    plan = examples.plan()
    text = "".join(plan_text(plan))
    assert json.loads(text) == json.loads(json.dumps(plan_document(plan)))
    assert {json.dumps(item, separators=(",", ":")) for item in plan_document(plan)["steps"]} <= {
        line.removesuffix(",") for line in text.splitlines()
    }


@pytest.mark.parametrize("indent", [None, 1, "\t"])
@pytest.mark.parametrize("sort", [False, True])
def test_a_plan_is_read_in_any_format_and_order_of_members(indent: Any, sort: bool) -> None:
    plan = examples.plan()
    text = json.dumps(plan_document(plan), indent=indent, sort_keys=sort)
    found = read_plan(f"\n {text}\n\n".encode(), "plan.json")
    assert found is not None
    assert (found.changes, found.steps, found.totals) == (plan.changes, plan.steps, plan.totals)


@pytest.mark.parametrize(
    ("store", "repository"),
    [
        ("[2001:db8::1]:5000", "a/b"), ("localhost", "a"), ("oci:/", ""), ("oci:/home/\u200d\udc80 \n/x:y", "a"),
        ("oci-archive:/srv/a.tar", ""), ("docker-archive:/srv/a.tar", "app"), ("docker-archive:/a", "quay.io/x/y"),
        ("docker-daemon:", "library/a/b"), ("dir:/srv/a:b", ""),
    ],
)  # fmt: skip
def test_a_plan_for_every_kind_of_store_is_read_as_the_same_plan(store: str, repository: str) -> None:
    target = Location(store, repository)
    step = SetTag(examples.CHILD, examples.SOURCE, target, Tag("1"))
    change = Change(target, Tag("1"), None, examples.CHILD, State.NEW, "", "/mirrors/0", examples.TAGGED, step.id)
    plan = Plan(examples.TIME, STAMP, (change,), (step,), (), {store: Totals({State.NEW: 1})})
    assert read_plan("".join(plan_text(plan)).encode(), "plan.json") == plan


@pytest.mark.parametrize("version", [1, 3, "2", 2.0, True, None])
def test_only_plans_of_this_version_are_read(version: Any) -> None:
    document = plan_document(examples.plan()) | {"version": version}
    assert "plan.json is not a plan of version 2" in refusal(json.dumps(document).encode())


@pytest.mark.parametrize(
    "text", [b"version: 1\nmirrors: []\n", b"{", b'{"kind": "other"}', b"[1]", b"{" * 100_000, b'{"version": 1}', b""]
)
def test_a_file_that_is_not_a_plan_is_not_read(text: bytes) -> None:
    assert read_plan(text, "plan.json") is None
