"""Runs that are cut off, by a crash or because they were told to stop: no tag without content, no work twice."""

from __future__ import annotations

import threading

import pytest

from mirrorsync.stores.memory import MemoryStore
from tests.parts.images import image, multi_platform, noise
from tests.sync.recording import allow
from tests.sync.world import BAD, FIRST, GOOD, World


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", range(1, 12))
def test_a_crash_at_any_point_leaves_no_tag_without_its_content(after: int) -> None:
    made = multi_platform("app", size=1_300_000)
    world = World({"app:1": made, "other:1": made})
    left = after

    def guard(what: str, name: str) -> None:
        nonlocal left
        if what in ("put", "mount", "manifest", "tag"):
            left -= 1
            if left < 0:
                raise Crash

    world.stores[FIRST].guard = guard
    with pytest.raises((Crash, BaseExceptionGroup)):
        world.apply()
    inner = world.stores[FIRST].inner
    assert isinstance(inner, MemoryStore)
    for repository in ("app", "other"):
        contents = inner.contents(repository)
        if contents is not None and contents.tags:
            assert world.holds(FIRST, repository, made)
    world.stores[FIRST].guard = allow
    before = sum(line.startswith("put ") for line in world.stores[FIRST].done)
    world.apply()
    assert world.tags(FIRST, "app") == world.tags(FIRST, "other") == ["1"]
    assert world.holds(FIRST, "app", made)
    assert world.holds(FIRST, "other", made)
    large = [key for key, data in made.all_blobs().items() if len(data) > 1024 * 1024]
    for key in large:
        assert sum(line.startswith("put app ") and key in line for line in world.stores[FIRST].done) <= 1, before


def test_a_run_that_is_stopped_before_it_begins_does_nothing_and_says_so() -> None:
    stop = threading.Event()
    stop.set()
    world = World({"app:1": GOOD, "app:2": BAD})
    report = world.apply(stop)
    assert report.interrupted
    assert report.exit_code == 130
    assert [result.outcome for result in report.results] == ["skipped", "skipped"]
    assert world.stores[FIRST].done == []


def test_a_run_that_is_stopped_halfway_finishes_what_it_has_begun_and_no_more() -> None:
    stop = threading.Event()
    images = {f"app:{number}": image([noise(str(number), 20)]) for number in range(300)}
    world = World(images)

    def guard(what: str, name: str) -> None:
        if what == "tag":
            stop.set()

    world.stores[FIRST].guard = guard
    report = world.apply(stop)
    assert report.interrupted
    assert 1 <= report.outcomes["done"] < 300
    assert report.outcomes["done"] + report.outcomes["skipped"] == 300
    assert len(world.tags(FIRST, "app")) == report.outcomes["done"]
    assert not report.failures
