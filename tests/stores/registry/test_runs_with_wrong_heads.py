"""The engine with registries whose answers to HEAD are wrong: all images are copied, and the second run is empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mirrorsync.documents.plan import plan_text, read_plan
from mirrorsync.errors import ExitCode
from tests.parts.images import DOCKER_MANIFEST, digest
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.stores.registry.asking import RecordedEvents
from tests.stores.registry.test_misbehaving_registries import IMAGE, OTHER, Road

WRONG: dict[str, dict[str, Any]] = {
    "404": {"name": "answer", "status": 404},
    "403": {"name": "answer", "status": 403},
    "501": {"name": "answer", "status": 501},
    "another length": {"name": "headers", "change": {"Content-Length": "17"}},
    "another type": {"name": "headers", "change": {"Content-Type": DOCKER_MANIFEST}},
    "compressed": {"name": "compress"},
}


@pytest.fixture
def road(server: Unruly, tiny: TinyRegistry) -> Iterator[Road]:
    tiny.hold("app", IMAGE, "1")
    tiny.hold("other", OTHER, "1")
    held = TinyRegistry()
    with Unruly(held) as target:
        yield Road(server, [target], [held], RecordedEvents())


def misbehave(server: Unruly, detail: dict[str, Any]) -> None:
    server.fault(detail["name"], "HEAD", "/manifests/", **{key: one for key, one in detail.items() if key != "name"})


@pytest.mark.parametrize("side", ["source", "destination", "both"])
@pytest.mark.parametrize("detail", WRONG.values(), ids=WRONG)
def test_a_mirror_is_copied_and_the_second_run_changes_nothing(road: Road, detail: dict[str, Any], side: str) -> None:
    if side != "destination":
        misbehave(road.source, detail)
    if side != "source":
        misbehave(road.targets[0], detail)
    plan, report = road.go()
    assert report.exit_code == ExitCode.DONE, report.failures
    assert road.complete(IMAGE, "app")
    assert road.complete(OTHER, "other")
    roots = {str(change.digest): change.after for change in plan.changes if change.after is not None}
    assert roots[IMAGE.digest].size == len(IMAGE.raw)
    assert roots[OTHER.digest].media_type == OTHER.media_type
    read = read_plan("".join(plan_text(plan)).encode(), "plan.json")
    assert read is not None
    assert read.steps == plan.steps
    before = len(road.targets[0].seen.requests)
    again, report = road.go()
    assert (again.steps, report.exit_code) == ((), ExitCode.DONE)
    assert not [asked for asked in road.targets[0].seen.requests[before:] if asked.method not in ("GET", "HEAD")]


def test_a_tag_that_is_missing_at_the_source_is_requested_twice_and_reported(road: Road) -> None:
    del road.source.app.tags["other", "1"]  # type: ignore[attr-defined]
    _, report = road.go()
    assert report.exit_code == ExitCode.PARTLY
    assert [failure.subject for failure in report.failures] == [f"{road.source.host}/other:1"]
    asked = [one.method for one in road.source.seen.requests if one.path == "/v2/other/manifests/1"]
    assert asked == ["HEAD", "GET"]
    assert digest(IMAGE.raw) == IMAGE.digest
