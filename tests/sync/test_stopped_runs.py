"""Runs that crash or are stopped: no tag without its content, and no blob is uploaded twice."""

from __future__ import annotations

import threading

import pytest

from mirrorsync.stores.memory import MemoryStore
from tests.parts.images import image, multi_platform, noise
from tests.sync.in_memory import BAD, FIRST, GOOD, InMemorySetup
from tests.sync.recording import no_faults


class Crash(BaseException):
    """The process crashes here."""


@pytest.mark.parametrize("after", range(1, 12))
def test_a_crash_at_any_point_leaves_no_tag_without_its_content(after: int) -> None:
    made = multi_platform("app", size=1_300_000)
    setup = InMemorySetup({"app:1": made, "other:1": made})
    left = after

    def fault(what: str, name: str) -> None:
        nonlocal left
        if what in ("put", "mount", "manifest", "tag"):
            left -= 1
            if left < 0:
                raise Crash

    setup.stores[FIRST].fault = fault
    with pytest.raises((Crash, BaseExceptionGroup)):
        setup.apply()
    inner = setup.stores[FIRST].inner
    assert isinstance(inner, MemoryStore)
    for repository in ("app", "other"):
        contents = inner.contents(repository)
        if contents is not None and contents.tags:
            assert setup.has_image(FIRST, repository, made)
    setup.stores[FIRST].fault = no_faults
    before = sum(line.startswith("put ") for line in setup.stores[FIRST].done)
    setup.apply()
    assert setup.tags(FIRST, "app") == setup.tags(FIRST, "other") == ["1"]
    assert setup.has_image(FIRST, "app", made)
    assert setup.has_image(FIRST, "other", made)
    large = [key for key, data in made.all_blobs().items() if len(data) > 1024 * 1024]
    for key in large:
        assert sum(line.startswith("put app ") and key in line for line in setup.stores[FIRST].done) <= 1, before


def test_a_run_that_is_stopped_at_its_start_writes_nothing_and_reports_it() -> None:
    stop = threading.Event()
    stop.set()
    setup = InMemorySetup({"app:1": GOOD, "app:2": BAD})
    report = setup.apply(stop)
    assert report.interrupted
    assert report.exit_code == 130
    assert [result.outcome for result in report.results] == ["skipped", "skipped"]
    assert setup.stores[FIRST].done == []


def test_a_stopped_run_finishes_started_steps_and_starts_no_more() -> None:
    stop = threading.Event()
    images = {f"app:{number}": image([noise(str(number), 20)]) for number in range(300)}
    setup = InMemorySetup(images)

    def fault(what: str, name: str) -> None:
        if what == "tag":
            stop.set()

    setup.stores[FIRST].fault = fault
    report = setup.apply(stop)
    assert report.interrupted
    assert 1 <= report.outcomes["done"] < 300
    assert report.outcomes["done"] + report.outcomes["skipped"] == 300
    assert len(setup.tags(FIRST, "app")) == report.outcomes["done"]
    assert not report.failures
