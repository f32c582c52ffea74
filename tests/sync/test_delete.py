"""Delete what was requested and no more, and verify the deletion."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from mirrorsync.environment import Clock, Environment
from mirrorsync.errors import Denied, MirrorsyncError, RegistryFailure, StalePlan, StillUsed, UsageError
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.reference import parse_image
from mirrorsync.plan.model import Plan
from mirrorsync.plan.steps import DeleteManifest, DeleteTag, Step
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.stores.open import opener
from mirrorsync.sync.resume import remaining
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session
from mirrorsync.sync.single.delete import plan_delete
from tests.parts.images import artifact, image, index
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.sync.in_memory import fill, no_wait

T = TypeVar("T")
STORE = "source.example"
ONE, TWO = image([b"one"]), image([b"two"])


def within(store: MemoryStore, work: Callable[[Session], Awaitable[T]]) -> T:
    async def run() -> T:
        async with Session(lambda _: store) as session:
            return await work(session)

    return asyncio.run(run())


def planned(store: MemoryStore, reference: str, **options: Any) -> Plan:
    return within(store, lambda session: plan_delete(session, parse_image(f"{STORE}/{reference}"), **options))


def whole(report: Report) -> Report:
    """Return a report without failures. Raises: the first failure that it has."""
    for failure in report.failures:
        raise failure.error
    return report


def deleted(store: MemoryStore, reference: str, **options: Any) -> Plan:
    async def work(session: Session) -> Plan:
        plan = await plan_delete(session, parse_image(f"{STORE}/{reference}"), **options)
        whole(await apply(plan, session))
        return plan

    return within(store, work)


def only_step(plan: Plan) -> Step:
    (step,) = plan.steps
    return step


def tags_that_go(plan: Plan) -> tuple[str, ...]:
    step = only_step(plan)
    assert isinstance(step, DeleteManifest)
    return step.tags


def stays(plan: Plan, *kinds: str) -> list[str]:
    return [one.name for change in plan.changes for one in change.stays if one.kind in kinds]


def tags(store: MemoryStore) -> list[str]:
    async def listed() -> list[str]:
        return [tag async for tag in store.repository("app").tags()]

    return asyncio.run(listed())


@pytest.fixture
def store() -> MemoryStore:
    """Return a store in which `a` and `b` are one image, and `all` is an index with this image."""
    made = MemoryStore(STORE)
    for tag, root in {"a": ONE, "b": ONE, "all": index([ONE, TWO]), "c": TWO, "solo": image([b"solo"])}.items():
        fill(made, "app", tag, root)
    return made


def test_only_the_tag_is_deleted_if_the_store_supports_it(store: MemoryStore) -> None:
    step = only_step(deleted(store, "app:a"))
    assert isinstance(step, DeleteTag)
    assert (step.tag, str(step.before.digest)) == ("a", ONE.digest)
    assert tags(store) == ["all", "b", "c", "solo"]


@pytest.mark.parametrize("reference", [f"app@{image([b'solo']).digest}", "app:solo"])
def test_an_image_is_deleted_with_its_tag(store: MemoryStore, reference: str) -> None:
    assert tags_that_go(deleted(store, reference, all_tags=True)) == ("solo",)
    assert tags(store) == ["a", "all", "b", "c"]


def test_an_image_without_a_tag_is_deleted_by_its_digest(store: MemoryStore) -> None:
    deleted(store, "app:solo")
    assert tags_that_go(deleted(store, f"app@{image([b'solo']).digest}")) == ()
    with pytest.raises(MirrorsyncError, match="no image with this digest"):
        deleted(store, f"app@{image([b'solo']).digest}")


@pytest.mark.parametrize("reference", [f"app@{index([ONE, TWO]).digest}", "app:all"])
def test_an_index_is_deleted_by_its_digest_and_its_images_stay(store: MemoryStore, reference: str) -> None:
    done = deleted(store, reference, all_tags=True)
    assert stays(done, "image") == [ONE.digest, TWO.digest]
    assert tags(store) == ["a", "b", "c", "solo"]


@pytest.mark.parametrize("all_tags", [True, False])
def test_an_image_of_an_index_is_never_deleted_by_digest(store: MemoryStore, all_tags: bool) -> None:
    with pytest.raises(StillUsed, match=rf"source\.example/app@{TWO.digest}: the image is part of all"):
        deleted(store, f"app@{TWO.digest}", all_tags=all_tags)
    assert tags(store) == ["a", "all", "b", "c", "solo"]


def test_an_image_of_a_nested_index_is_never_deleted_by_digest(store: MemoryStore) -> None:
    fill(store, "app", "outer", index([index([image([b"inner"])])]))
    with pytest.raises(StillUsed, match="part of outer"):
        deleted(store, f"app@{image([b'inner']).digest}", all_tags=True)


def test_several_tags_of_one_digest_are_deleted_only_with_all_tags(store: MemoryStore) -> None:
    deleted(store, "app:all", all_tags=True)
    with pytest.raises(StillUsed, match="also has the tags a, b; nothing was deleted"):
        deleted(store, f"app@{ONE.digest}")
    assert tags(store) == ["a", "b", "c", "solo"]
    assert tags_that_go(deleted(store, f"app@{ONE.digest}", all_tags=True)) == ("a", "b")
    assert tags(store) == ["c", "solo"]


def test_look_around_lists_what_shares_the_digest(store: MemoryStore) -> None:
    plan = planned(store, "app:a", look_around=True)
    assert (stays(plan, "tag"), stays(plan, "index")) == (["b"], ["all"])
    assert only_step(plan).id == f"delete:{STORE}/app:a"


def test_referrers_of_a_deleted_image_are_listed_and_stay(store: MemoryStore) -> None:
    sbom = artifact(ONE, b"sbom")
    fill(store, "app", "sbom", sbom)
    done = deleted(store, "app:a")
    assert [name.split()[0] for name in stays(done, "sbom", "other")] == [sbom.digest]
    assert "sbom" in tags(store)


def test_a_tag_that_does_not_match_the_given_digest_is_not_deleted(store: MemoryStore) -> None:
    with pytest.raises(StalePlan, match="the tag names another image"):
        deleted(store, f"app:a@{TWO.digest}")
    assert "a" in tags(store)
    deleted(store, f"app:a@{ONE.digest}")
    assert "a" not in tags(store)


@pytest.mark.parametrize(
    ("change", "unchanged"),
    [
        (lambda store: None, True),
        (lambda store: fill(store, "app", "solo", TWO), False),
        (lambda store: fill(store, "app", "more", image([b"solo"])), False),
    ],
    ids=["nothing", "moved", "one more tag"],
)
def test_a_confirmed_plan_is_applied_only_if_nothing_has_changed(
    store: MemoryStore, change: Callable[[MemoryStore], None], unchanged: bool
) -> None:
    agreed = planned(store, "app:solo", all_tags=True)
    change(store)
    before = tags(store)

    async def work(session: Session) -> None:
        await remaining(agreed, session)
        whole(await apply(agreed, session))

    if unchanged:
        within(store, work)
        assert tags(store) == [tag for tag in before if tag != "solo"]
    else:
        with pytest.raises(StalePlan, match="nothing was d"):
            within(store, work)
        assert tags(store) == before


@pytest.mark.parametrize("reference", ["docker-archive:/x.tar:app:1", "docker-daemon:app:1", "dir:/x"])
def test_stores_without_deletion_are_rejected_before_they_are_opened(reference: str) -> None:
    async def work() -> None:
        async with Session(lambda address: pytest.fail(f"{address} was opened")) as session:
            await plan_delete(session, parse_image(reference))

    with pytest.raises(UsageError, match=r"deleting from d.* is not supported"):
        asyncio.run(work())


@pytest.mark.parametrize("reference", ["source.example/app", "oci:/x"])
def test_a_reference_without_tag_and_digest_is_rejected(reference: str) -> None:
    async def work() -> None:
        async with Session(lambda address: pytest.fail(f"{address} was opened")) as session:
            await plan_delete(session, parse_image(reference))

    with pytest.raises(UsageError, match="has no tag or digest"):
        asyncio.run(work())


@pytest.fixture
def unruly() -> Iterator[Unruly]:
    """Return a registry that answers 202 to every DELETE, and deletes nothing."""
    tiny = TinyRegistry()
    tiny.hold("app", ONE, "a", "b")
    tiny.hold("app", TWO, "c")
    with Unruly(tiny) as server:
        server.fault("answer", "DELETE", status=202)
        yield server


def at_registry(server: Unruly, reference: str, **options: Any) -> Report:
    async def work() -> Report:
        around = Environment({server.host: HostSettings(plain_http=True)}, clock=Clock(asleep=no_wait))
        async with Session(opener(around)) as session:
            image = parse_image(f"{server.host}/{reference}")
            return whole(await apply(await plan_delete(session, image, **options), session))

    return asyncio.run(work())


@pytest.mark.parametrize("reference", ["app:c", f"app@{TWO.digest}"])
def test_a_deletion_that_is_accepted_but_not_done_is_an_error(unruly: Unruly, reference: str) -> None:
    with pytest.raises(RegistryFailure, match="still has the image"):
        at_registry(unruly, reference, all_tags="@" in reference)


@pytest.mark.parametrize("status", [400, 405])
def test_a_registry_without_tag_deletion_lists_the_other_tags_and_deletes_nothing(unruly: Unruly, status: int) -> None:
    unruly.fault("answer", "DELETE", "/manifests/a$", status=status)
    with pytest.raises(StillUsed, match=r"the registry deletes only by digest, and .* also has the tag b"):
        at_registry(unruly, "app:a")
    assert [asked.path for asked in unruly.seen.of("DELETE")] == ["/v2/app/manifests/a"]


def test_a_registry_with_deletion_disabled_is_reported_with_its_setting(unruly: Unruly) -> None:
    unruly.fault("answer", "DELETE", status=405)
    with pytest.raises(RegistryFailure, match="does not delete images") as caught:
        at_registry(unruly, "app:c")
    assert "REGISTRY_STORAGE_DELETE_ENABLED" in caught.value.remedy


@pytest.mark.parametrize("pattern", ["GET /tags/list", "* /manifests/b$"], ids=["the list of tags", "what a tag names"])
def test_nothing_is_deleted_if_the_tags_of_the_digest_are_unknown(unruly: Unruly, pattern: str) -> None:
    method, _, path = pattern.partition(" ")
    unruly.fault("answer", method, path, status=403)
    with pytest.raises(Denied, match="403"):
        at_registry(unruly, f"app@{TWO.digest}", all_tags=True)
    assert unruly.seen.of("DELETE") == []


def test_a_tag_that_a_head_request_hides_still_protects_its_image(unruly: Unruly) -> None:
    """Nexus answers a HEAD with 404 for what a GET finds (diun#1614); the list of tags has it."""
    unruly.fault("answer", "HEAD", "/manifests/b$", status=404)
    unruly.fault("answer", "DELETE", "/manifests/a$", status=405)
    with pytest.raises(StillUsed, match="also has the tag b"):
        at_registry(unruly, "app:a")
