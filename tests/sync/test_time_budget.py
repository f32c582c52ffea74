"""`budget: {time}`: images begin in the order of the spec, few at a time, and none after the time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from mirrorsync.errors import StorageError
from mirrorsync.plan.model import Plan
from mirrorsync.plan.steps import PutManifest
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.run.window import Until, Window
from mirrorsync.sync.session import Session
from tests.parts.images import Image, image, multi_platform, noise
from tests.sync.in_memory import BAD, FIRST, InMemorySetup, no_wait

SHARED = multi_platform("shared", size=1_300_000)
BAD_DAY = StorageError("the disk is full")
MANY: dict[str, Image] = {f"app:{number:02}": image([noise(str(number), 20)]) for number in range(40)}


def run(setup: InMemorySetup, over: Callable[[], bool], stop: threading.Event | None = None) -> Report:
    async def work(session: Session) -> Report:
        plan: Plan = await make_plan(setup.spec, session)
        return await apply(plan, session, sleep=no_wait, stop=stop, until=Until("2h", over))

    report: Report = setup.run(work)
    return report


def outcomes(report: Report) -> list[str]:
    return [result.outcome for result in report.results]


def tags_set(setup: InMemorySetup) -> int:
    return sum(line.startswith("tag ") for line in setup.stores[FIRST].done)


def test_without_an_end_everything_is_done() -> None:
    wanted = {**MANY, "one:1": SHARED, "two:1": SHARED, "large:1": BAD}
    setup = InMemorySetup(wanted, to=("first", "second"))
    report = run(setup, lambda: False)
    assert set(outcomes(report)) == {"done"}
    assert (report.exit_code, len(report.results)) == (0, 2 * len(wanted))
    assert all(setup.has_image(FIRST, name.partition(":")[0], made) for name, made in wanted.items())


def test_if_the_time_was_over_before_one_image_is_mirrored_all_the_same_and_the_next_run_goes_on() -> None:
    setup = InMemorySetup({"one:1": SHARED, "two:1": SHARED, "three:1": BAD})
    for done in (["done", "delayed", "delayed"], ["unchanged", "done", "delayed"], ["unchanged", "unchanged", "done"]):
        report = run(setup, lambda: True)
        assert outcomes(report) == done
        assert report.exit_code == 0
    assert outcomes(run(setup, lambda: True)) == ["unchanged"] * 3


def test_images_under_way_are_completed_and_the_others_have_not_been_touched() -> None:
    setup = InMemorySetup(MANY)
    report = run(setup, lambda: tags_set(setup) >= 5)
    done = outcomes(report)
    number = done.count("done")
    assert done == ["done"] * number + ["delayed"] * (40 - number), "in the order of the spec"
    assert 5 <= number <= 5 + 8
    waiting = [result.change for result in report.results if result.outcome == "delayed"]
    assert {change.waits_for for change in waiting} == {"the budget of 2h is used"}
    written = {line.split()[2] for line in setup.stores[FIRST].done if line.startswith("put ")}
    untouched = [key for made in list(MANY.values())[number:] for key in made.blobs]
    begun = {key for made in list(MANY.values())[:number] for key in made.blobs}
    assert not written & (set(untouched) - begun)


def test_an_image_that_fails_lets_the_next_one_begin() -> None:
    setup = InMemorySetup(MANY)

    def fault(what: str, name: str) -> None:
        if what == "manifest" or (what == "tag" and not name.endswith("39")):
            raise BAD_DAY

    setup.stores[FIRST].fault = fault
    report = run(setup, lambda: False)
    assert "delayed" not in outcomes(report)
    assert outcomes(report).count("failed") >= 39


def test_a_run_that_is_stopped_skips_what_has_not_begun() -> None:
    stop = threading.Event()
    stop.set()
    setup = InMemorySetup(MANY)
    report = run(setup, lambda: False, stop)
    assert set(outcomes(report)) == {"skipped"}


def test_an_image_that_is_also_a_part_of_an_earlier_one_ends_with_it() -> None:
    plan = InMemorySetup({"app:1": SHARED, "app:2": BAD}).plan()
    whole, other = plan.changes
    part = next(step for step in plan.steps if isinstance(step, PutManifest))
    same = replace(whole, tag=None, after=part.manifest, step=part.id)
    window = Window(replace(plan, changes=(whole, same, other)), Until("2h", lambda: True))
    begun = {step.id for step in window.begin()}
    assert {part.id, whole.step} <= begun
    assert not begun & window.held
    assert window.waiting == (other,)


@pytest.mark.parametrize("number", [1, 7, 8, 9])
def test_any_number_of_images_ends(number: int) -> None:
    setup = InMemorySetup(dict(list(MANY.items())[:number]))
    assert outcomes(run(setup, lambda: False)) == ["done"] * number
