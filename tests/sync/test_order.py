"""The order of writes: content before its manifest, each blob read once, the tag last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mirrorsync.errors import StorageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.steps import DeleteTag
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.window import Until
from mirrorsync.sync.session import Session
from tests.parts.images import Image, image, index, layer, multi_platform, noise
from tests.sync.in_memory import BAD, FIRST, GOOD, SECOND, SOURCE, InMemorySetup, fill, no_wait


def check_order(done: list[str], repository: str, made: Image, tag: str) -> None:
    """Assert that every manifest was written after its content, and the tag last."""
    position = {line: number for number, line in enumerate(done)}

    def when(digest: str) -> int:
        lines = (f"{what} {repository} {digest}" for what in ("put", "mount", "manifest"))
        return max(position.get(line, -1) for line in lines)

    for manifest in made.manifests():
        own = position[f"tag {repository} {tag}"] if manifest is made else when(manifest.digest)
        assert own >= 0
        for below in [*manifest.blobs, *(child.digest for child in manifest.children)]:
            assert 0 <= when(below) < own, below


NESTED = index([multi_platform("a", size=1_300_000), multi_platform("b")])


@pytest.mark.parametrize(
    "made", [image([layer({"a": b"b"})]), multi_platform("app"), NESTED], ids=["image", "index", "nested"]
)
def test_content_is_written_before_its_manifest_and_the_tag_last(made: Image) -> None:
    setup = InMemorySetup({"app:1": made, "other:1": made}, to=("first", "second"))
    assert setup.apply().exit_code == 0
    for address in (FIRST, SECOND):
        for repository in ("app", "other"):
            check_order(setup.stores[address].done, repository, made, "1")
            assert setup.tags(address, repository) == ["1"]


def test_shared_blobs_are_read_once_and_mounted() -> None:
    made = multi_platform("app", size=1_300_000)
    setup = InMemorySetup({"app:1": made, "app:2": made, "other:1": made}, to=("first", "second"))
    report = setup.apply()
    blobs = made.all_blobs()
    read = [line for line in setup.stores[SOURCE].done if line.split()[2] in blobs]
    assert len(read) == len({line.split()[2] for line in read}) == len(blobs)
    for address in (FIRST, SECOND):
        done = setup.stores[address].done
        assert sum(line.startswith("put ") for line in done) == len(blobs)
        assert sum(line.startswith("mount ") for line in done) == len(blobs)
        assert not [line for line in done if line.startswith("read ")]
    counts = report.counts
    assert counts.blobs_read == len(blobs)
    assert counts.bytes_read == sum(map(len, blobs.values()))
    assert (counts.blobs_written, counts.blobs_mounted) == (2 * len(blobs), 2 * len(blobs))


class Unmounting(MemoryStore):
    """A registry that never mounts, as some do not."""

    def repository(self, name: str) -> Any:
        repository = super().repository(name)

        async def refuse(blob: Descriptor, origin: str) -> bool:
            return False

        repository.mount = refuse  # type: ignore[method-assign]  # the one failure that no real part gives on demand
        return repository


def test_a_blob_that_cannot_be_mounted_is_copied_within_the_destination() -> None:
    made = multi_platform("app", size=1_300_000)
    setup = InMemorySetup({"app:1": made, "other:1": made})
    setup.stores[FIRST].inner = Unmounting(FIRST)
    assert setup.apply().exit_code == 0
    assert setup.has_image(FIRST, "other", made)
    blobs = made.all_blobs()
    assert sum(line.split()[2] in blobs for line in setup.stores[SOURCE].done) == len(blobs), "the source is read once"


def test_the_first_image_is_complete_long_before_the_last_one_begins() -> None:
    images = {f"app:{number}": image([noise(str(number), 20)]) for number in range(300)}
    setup = InMemorySetup(images)
    setup.apply()
    done = setup.stores[FIRST].done
    first_tag = next(number for number, line in enumerate(done) if line.startswith("tag "))
    assert first_tag < 300, "the first image is complete long before the last one begins"


@pytest.mark.parametrize(("until", "written"), [(None, 29), (Until("2h", lambda: True), 1)])
def test_deletions_wait_for_what_is_written_in_their_repository_whether_it_succeeds_or_not(
    until: Until | None, written: int
) -> None:
    """At a registry that deletes by digest, a tag that is set meanwhile would be lost with its image."""
    setup = InMemorySetup({**{f"app:{n}": image([noise(str(n), 20)]) for n in range(30)}, "other:1": NESTED})
    store, old = setup.stores[FIRST], image([noise("old", 20)])
    assert isinstance(store.inner, MemoryStore)
    for number in range(5):
        fill(store.inner, "app", f"old-{number}", old)
    root = Manifest.parse(old.raw, old.media_type).descriptor
    deletions = [DeleteTag(Location(FIRST, "app"), Tag(f"old-{number}"), root) for number in range(5)]

    def fault(what: str, name: str) -> None:
        if (what, name) == ("tag", "7"):
            raise StorageError("the disk is full")

    async def work(session: Session) -> None:
        plan = await make_plan(setup.spec, session)
        await apply(replace(plan, steps=(*deletions, *plan.steps)), session, sleep=no_wait, until=until)

    store.fault = fault
    setup.run(work)
    done = [line.split()[0] for line in store.done if line.split()[1] == "app" and line.startswith(("tag ", "delete "))]
    assert done == ["tag"] * written + ["delete"] * 5


def test_the_destination_is_flushed_after_its_last_tag() -> None:
    setup = InMemorySetup({"app:1": GOOD, "app:2": BAD})
    setup.apply()
    store = setup.stores[FIRST]
    assert store.flushed_after
    assert store.flushed_after[0] == len(store.done)


def test_a_plan_after_apply_has_no_steps() -> None:
    setup = InMemorySetup({"app:1": NESTED, "other:1": multi_platform("a", size=1_300_000)}, to=("first", "second"))
    assert setup.plan().steps
    setup.apply()
    plan = setup.plan()
    assert (plan.steps, list(plan.changed()), plan.read_bytes) == ((), [], 0)
