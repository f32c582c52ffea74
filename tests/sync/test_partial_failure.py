"""What the engine leaves when some of the work fails: the rest done, a tag of nobody else's, and nothing half."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    IntegrityError,
    MirrorsyncError,
    StalePlan,
    StorageError,
    Unreachable,
)
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.spec.load import load
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.saved import check_fresh
from mirrorsync.sync.session import Session
from tests.parts.images import image, noise
from tests.sync.recording import allow
from tests.sync.world import BAD, FIRST, GOOD, LARGE_BLOB, SECOND, SMALL_BLOB, SOURCE, World, fill, no_wait


def failing(what: str, name: str, error: Callable[[], MirrorsyncError]) -> Callable[[str, str], None]:
    def guard(asked: str, about: str) -> None:
        if asked == what and name in about:
            raise error()

    return guard


@pytest.mark.parametrize(
    ("what", "name"),
    [("put", SMALL_BLOB), ("put", LARGE_BLOB), ("tag", "bad")],
)
def test_what_fails_at_one_destination_lands_at_the_other(what: str, name: str) -> None:
    world = World({"app:good": GOOD, "app:bad": BAD}, to=("first", "second"))
    world.stores[FIRST].guard = failing(what, name, lambda: Denied("no"))
    report = world.apply()
    assert report.exit_code == 3
    assert [str(failure.subject) for failure in report.failures] == [f"{FIRST}/app:bad"]
    (error,) = (failure.error for failure in report.failures)
    assert (error.side, error.store, error.repository, error.message) == ("destination", FIRST, "app", "no")
    assert world.tags(FIRST, "app") == ["good"]
    assert world.tags(SECOND, "app") == ["bad", "good"]
    assert world.holds(SECOND, "app", BAD)
    world.stores[FIRST].guard = allow
    again = world.apply()
    assert again.exit_code == 0
    assert world.holds(FIRST, "app", BAD)


@pytest.mark.parametrize("name", [SMALL_BLOB, LARGE_BLOB])
def test_what_cannot_be_read_fails_at_every_destination_and_nothing_else_does(name: str) -> None:
    world = World({"app:good": GOOD, "app:bad": BAD}, to=("first", "second"))
    world.stores[SOURCE].guard = failing("read", name, lambda: ContentNotFound("gone"))
    report = world.apply()
    assert sorted(failure.subject for failure in report.failures) == [f"{FIRST}/app:bad", f"{SECOND}/app:bad"]
    assert {failure.error.side for failure in report.failures} == {"source"}
    assert {failure.error.store for failure in report.failures} == {SOURCE}
    assert world.tags(FIRST, "app") == world.tags(SECOND, "app") == ["good"]


def test_a_blob_that_two_images_share_fails_both_and_is_tried_once() -> None:
    shared = noise("shared", 50)
    world = World({"app:a": image([shared, b"a"]), "app:b": image([shared, b"b"]), "app:c": image([b"c"])})
    asked: list[str] = []

    def guard(what: str, name: str) -> None:
        if what == "read" and name == Descriptor.of(shared, "").digest:
            asked.append(name)
            raise ContentNotFound("gone")

    world.stores[SOURCE].guard = guard
    report = world.apply()
    assert [failure.subject for failure in report.failures] == [f"{FIRST}/app:a", f"{FIRST}/app:b"]
    assert len(asked) == 1
    assert world.tags(FIRST, "app") == ["c"]


@pytest.mark.parametrize("error", [Unreachable, IntegrityError])
def test_what_may_pass_is_tried_again_three_times_in_all(error: type[MirrorsyncError]) -> None:
    world = World({"app:1": BAD})
    asked: list[str] = []

    def guard(what: str, name: str) -> None:
        if what == "put" and name == LARGE_BLOB:
            asked.append(name)
            if len(asked) < 3:
                raise error("for a moment")

    world.stores[FIRST].guard = guard
    assert world.apply().exit_code == 0
    assert len(asked) == 3

    world = World({"app:1": BAD})
    world.stores[FIRST].guard = failing("put", LARGE_BLOB, lambda: error("for ever"))
    assert world.apply().exit_code == error.exit_code


def test_only_the_destination_that_failed_gets_a_blob_again() -> None:
    world = World({"app:1": BAD}, to=("first", "second"))
    asked: list[str] = []

    def guard(what: str, name: str) -> None:
        if what == "put" and name == LARGE_BLOB:
            asked.append(name)
            if len(asked) == 1:
                raise Unreachable("for a moment")

    world.stores[FIRST].guard = guard
    report = world.apply()
    assert report.exit_code == 0
    assert sum(LARGE_BLOB in line and line.startswith("put") for line in world.stores[SECOND].done) == 1
    assert report.counts.blobs_written == 2 * len(BAD.blobs)
    assert report.counts.blobs_read == len(BAD.blobs)


def test_a_tag_that_somebody_sets_meanwhile_is_left_to_him() -> None:
    old, new, his = (image([word.encode()]) for word in ("old", "new", "his"))
    world = World({"app:1": new, "other:1": GOOD})
    inner = world.stores[FIRST].inner
    assert isinstance(inner, MemoryStore)
    fill(inner, "app", "1", old)
    asked: list[str] = []

    def guard(what: str, name: str) -> None:
        if (what, name) == ("put", list(new.blobs)[1]):
            # The run is at work, and somebody else sets the tag.
            contents = inner.made("app")
            manifest = Manifest.parse(his.raw, his.media_type)
            contents.manifests[manifest.digest] = manifest
            contents.tags[Tag("1")] = manifest.digest
            asked.append(name)

    world.stores[FIRST].guard = guard
    report = world.apply()
    assert asked
    assert report.exit_code == 3
    (failure,) = report.failures
    assert isinstance(failure.error, StalePlan)
    assert "somebody else has set it" in failure.error.message
    contents = inner.contents("app")
    assert contents is not None
    assert contents.tags[Tag("1")] == his.digest
    assert world.tags(FIRST, "other") == ["1"]


def test_when_every_tag_is_somebody_elses_by_now_the_plan_was_stale() -> None:
    world = World({"app:1": GOOD})
    inner = world.stores[FIRST].inner
    assert isinstance(inner, MemoryStore)

    async def work(session: Session) -> Report:
        plan = await make_plan(world.spec, session)
        await check_fresh(plan, session)
        other = Manifest.parse(BAD.raw, BAD.media_type)
        await inner.repository("app").tag(other, Tag("1"))
        with pytest.raises(StalePlan, match="changed after the plan was made"):
            await check_fresh(plan, session)
        return await apply(plan, session, sleep=no_wait)

    report: Report = world.run(work)
    assert report.exit_code == 5


def test_a_store_that_cannot_keep_what_it_was_given_has_none_of_its_images() -> None:
    world = World({"app:1": GOOD, "app:2": BAD}, to=("first", "second"))

    async def full() -> None:
        raise StorageError("the disk is full")

    world.stores[FIRST].flush = full  # type: ignore[method-assign]  # the one failure that no real part gives on demand
    report = world.apply()
    assert [result.outcome for result in report.results] == ["failed", "done", "failed", "done"]
    assert {failure.error.message for failure in report.failures} == {"the disk is full"}
    assert report.exit_code == 3


def test_what_a_source_lacks_is_told_by_the_name_it_has_there() -> None:
    world = World({"app:1": GOOD})
    document = {
        "version": 1,
        "destinations": {"first": FIRST},
        "mirrors": [{"from": f"{SOURCE}/app:1", "tag": "stable"}],
    }
    spec = load(json.dumps(document).encode(), source="/mirror.yaml", environment={}, base="/")

    def guard(what: str, name: str) -> None:
        if (what, name) == ("read", GOOD.digest):
            raise ContentNotFound("the manifest is gone")

    world.stores[SOURCE].guard = guard
    (failure,) = world.run(lambda session: make_plan(spec, session)).failures
    assert failure.subject == f"{FIRST}/app:stable"
    assert str(failure.error) == f"source {SOURCE}/app:1: the manifest is gone"
