"""The difference between wanted and present images: case files, and invariants of every plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrorsync.errors import Malformed
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import MAX_DEPTH, closure
from mirrorsync.plan.model import Plan, Totals
from mirrorsync.plan.steps import CopyBlob
from tests.plan.reader import CASES, STAMP, Case


def plan_of(case: Case) -> Plan:
    return diff(case.desired(), case.observed(), spec=STAMP, created="2026-01-01T00:00:00Z")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_of_a_case_has_its_steps_states_and_totals(path: Path) -> None:
    case = Case.load(path)
    plan = plan_of(case)
    assert [case.words(step) for step in plan.steps] == case.document["steps"]
    assert [change.state for change in plan.changes] == case.document["states"]
    if "needs" in case.document:
        assert case.needs(plan.steps) == case.document["needs"]
    assert {store: _brief(totals) for store, totals in plan.totals.items()} == case.document["totals"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_steps_come_after_the_steps_that_they_need(path: Path) -> None:
    done: set[str] = set()
    for step in plan_of(Case.load(path)).steps:
        assert set(step.needs) <= done
        assert step.id not in done
        done.add(step.id)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_no_blob_is_read_twice(path: Path) -> None:
    copied = [step.blob.digest for step in plan_of(Case.load(path)).steps if isinstance(step, CopyBlob)]
    assert len(copied) == len(set(copied))


def test_more_than_ten_cases_are_run() -> None:
    assert len(CASES) > 10


def test_an_image_that_nests_too_deep_is_rejected() -> None:
    case = Case({"images": {}})
    case._add_image("level0", ["config", "layer"])
    for level in range(MAX_DEPTH):
        case._add_image(f"level{level + 1}", {"index": [f"level{level}"]})
    by_digest = {manifest.digest: manifest for manifest in case.manifests.values()}

    def find(descriptor: Descriptor) -> Manifest:
        return by_digest[descriptor.digest]

    assert len(list(closure(case.manifests[f"level{MAX_DEPTH - 1}"].descriptor, find))) == MAX_DEPTH
    with pytest.raises(Malformed, match="nests deeper"):
        list(closure(case.manifests[f"level{MAX_DEPTH}"].descriptor, find))


def _brief(totals: Totals) -> dict[str, object]:
    brief: dict[str, object] = {state.value: count for state, count in totals.states.items()}
    return brief | {fate: [amount.blobs, amount.size] for fate, amount in totals.blobs.items()}
