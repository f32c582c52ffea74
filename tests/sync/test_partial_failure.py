"""Partial failures: the other images are complete, tags set by other clients are kept, and no image is half written."""

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
from mirrorsync.sync.resume import remaining
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session
from tests.parts.images import image, noise
from tests.sync.in_memory import BAD, FIRST, GOOD, LARGE_BLOB, SECOND, SMALL_BLOB, SOURCE, InMemorySetup, fill, no_wait
from tests.sync.recording import no_faults


def failing(what: str, name: str, error: Callable[[], MirrorsyncError]) -> Callable[[str, str], None]:
    def fault(asked: str, about: str) -> None:
        if asked == what and name in about:
            raise error()

    return fault


@pytest.mark.parametrize(
    ("what", "name"),
    [("put", SMALL_BLOB), ("put", LARGE_BLOB), ("tag", "bad")],
)
def test_an_image_that_fails_at_one_destination_is_complete_at_the_other(what: str, name: str) -> None:
    setup = InMemorySetup({"app:good": GOOD, "app:bad": BAD}, to=("first", "second"))
    setup.stores[FIRST].fault = failing(what, name, lambda: Denied("no"))
    report = setup.apply()
    assert report.exit_code == 3
    assert [str(failure.subject) for failure in report.failures] == [f"{FIRST}/app:bad"]
    (error,) = (failure.error for failure in report.failures)
    assert (error.side, error.store, error.repository, error.message) == ("destination", FIRST, "app", "no")
    assert setup.tags(FIRST, "app") == ["good"]
    assert setup.tags(SECOND, "app") == ["bad", "good"]
    assert setup.has_image(SECOND, "app", BAD)
    setup.stores[FIRST].fault = no_faults
    again = setup.apply()
    assert again.exit_code == 0
    assert setup.has_image(FIRST, "app", BAD)


@pytest.mark.parametrize("name", [SMALL_BLOB, LARGE_BLOB])
def test_a_blob_that_cannot_be_read_fails_only_its_image_at_every_destination(name: str) -> None:
    setup = InMemorySetup({"app:good": GOOD, "app:bad": BAD}, to=("first", "second"))
    setup.stores[SOURCE].fault = failing("read", name, lambda: ContentNotFound("gone"))
    report = setup.apply()
    assert sorted(failure.subject for failure in report.failures) == [f"{FIRST}/app:bad", f"{SECOND}/app:bad"]
    assert {failure.error.side for failure in report.failures} == {"source"}
    assert {failure.error.store for failure in report.failures} == {SOURCE}
    assert setup.tags(FIRST, "app") == setup.tags(SECOND, "app") == ["good"]


def test_a_shared_blob_that_fails_is_tried_once_and_fails_both_images() -> None:
    shared = noise("shared", 50)
    setup = InMemorySetup({"app:a": image([shared, b"a"]), "app:b": image([shared, b"b"]), "app:c": image([b"c"])})
    asked: list[str] = []

    def fault(what: str, name: str) -> None:
        if what == "read" and name == Descriptor.of(shared, "").digest:
            asked.append(name)
            raise ContentNotFound("gone")

    setup.stores[SOURCE].fault = fault
    report = setup.apply()
    assert [failure.subject for failure in report.failures] == [f"{FIRST}/app:a", f"{FIRST}/app:b"]
    assert len(asked) == 1
    assert setup.tags(FIRST, "app") == ["c"]


@pytest.mark.parametrize("error", [Unreachable, IntegrityError])
def test_transient_failures_of_a_blob_are_retried_up_to_three_attempts(error: type[MirrorsyncError]) -> None:
    setup = InMemorySetup({"app:1": BAD})
    asked: list[str] = []

    def fault(what: str, name: str) -> None:
        if what == "put" and name == LARGE_BLOB:
            asked.append(name)
            if len(asked) < 3:
                raise error("for a moment")

    setup.stores[FIRST].fault = fault
    assert setup.apply().exit_code == 0
    assert len(asked) == 3

    setup = InMemorySetup({"app:1": BAD})
    setup.stores[FIRST].fault = failing("put", LARGE_BLOB, lambda: error("permanently"))
    assert setup.apply().exit_code == error.exit_code


def test_a_blob_is_retried_only_for_the_destination_that_failed() -> None:
    setup = InMemorySetup({"app:1": BAD}, to=("first", "second"))
    asked: list[str] = []

    def fault(what: str, name: str) -> None:
        if what == "put" and name == LARGE_BLOB:
            asked.append(name)
            if len(asked) == 1:
                raise Unreachable("for a moment")

    setup.stores[FIRST].fault = fault
    report = setup.apply()
    assert report.exit_code == 0
    assert sum(LARGE_BLOB in line and line.startswith("put") for line in setup.stores[SECOND].done) == 1
    assert report.counts.blobs_written == 2 * len(BAD.blobs)
    assert report.counts.blobs_read == len(BAD.blobs)


def test_a_tag_that_another_client_sets_meanwhile_is_kept() -> None:
    old, new, other = (image([word.encode()]) for word in ("old", "new", "other"))
    setup = InMemorySetup({"app:1": new, "other:1": GOOD})
    inner = setup.stores[FIRST].inner
    assert isinstance(inner, MemoryStore)
    fill(inner, "app", "1", old)
    asked: list[str] = []

    def fault(what: str, name: str) -> None:
        if (what, name) == ("put", list(new.blobs)[1]):
            # Another client sets the tag during the run.
            contents = inner.made("app")
            manifest = Manifest.parse(other.raw, other.media_type)
            contents.manifests[manifest.digest] = manifest
            contents.tags[Tag("1")] = manifest.digest
            asked.append(name)

    setup.stores[FIRST].fault = fault
    report = setup.apply()
    assert asked
    assert report.exit_code == 3
    (failure,) = report.failures
    assert isinstance(failure.error, StalePlan)
    assert "another client has set it" in failure.error.message
    contents = inner.contents("app")
    assert contents is not None
    assert contents.tags[Tag("1")] == other.digest
    assert setup.tags(FIRST, "other") == ["1"]


def test_a_plan_is_stale_if_another_client_has_set_its_tags() -> None:
    setup = InMemorySetup({"app:1": GOOD})
    inner = setup.stores[FIRST].inner
    assert isinstance(inner, MemoryStore)

    async def work(session: Session) -> Report:
        plan = await make_plan(setup.spec, session)
        await remaining(plan, session)
        other = Manifest.parse(BAD.raw, BAD.media_type)
        await inner.repository("app").tag(other, Tag("1"))
        with pytest.raises(StalePlan, match="changed after the plan was made"):
            await remaining(plan, session)
        return await apply(plan, session, sleep=no_wait)

    report: Report = setup.run(work)
    assert report.exit_code == 5


def test_all_images_of_a_store_that_cannot_be_flushed_have_failed() -> None:
    setup = InMemorySetup({"app:1": GOOD, "app:2": BAD}, to=("first", "second"))

    async def full() -> None:
        raise StorageError("the disk is full")

    setup.stores[FIRST].flush = full  # type: ignore[method-assign]  # the one failure that no real part gives on demand
    report = setup.apply()
    assert [result.outcome for result in report.results] == ["failed", "done", "failed", "done"]
    assert {failure.error.message for failure in report.failures} == {"the disk is full"}
    assert report.exit_code == 3


def test_missing_source_content_is_reported_under_its_name_at_the_source() -> None:
    setup = InMemorySetup({"app:1": GOOD})
    document = {
        "version": 1,
        "destinations": {"first": FIRST},
        "mirrors": [{"from": f"{SOURCE}/app:1", "tag": "stable"}],
    }
    spec = load(json.dumps(document).encode(), source="/mirror.yaml", environment={}, base="/")

    def fault(what: str, name: str) -> None:
        if (what, name) == ("read", GOOD.digest):
            raise ContentNotFound("the manifest is gone")

    setup.stores[SOURCE].fault = fault
    (failure,) = setup.run(lambda session: make_plan(spec, session)).failures
    assert failure.subject == f"{FIRST}/app:stable"
    assert str(failure.error) == f"source {SOURCE}/app:1: the manifest is gone"
