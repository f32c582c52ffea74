"""The order of the engine's work: content before what names it, each blob read once, the tag last."""

from __future__ import annotations

from typing import Any

import pytest

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.stores.memory import MemoryStore
from tests.parts.images import Image, image, index, layer, multi_platform, noise
from tests.sync.world import BAD, FIRST, GOOD, SECOND, SOURCE, World


def check_order(done: list[str], repository: str, made: Image, tag: str) -> None:
    """Assert that nothing was written before what it names, and the tag last."""
    place = {line: number for number, line in enumerate(done)}

    def when(digest: str) -> int:
        lines = (f"{what} {repository} {digest}" for what in ("put", "mount", "manifest"))
        return max(place.get(line, -1) for line in lines)

    for manifest in made.manifests():
        own = place[f"tag {repository} {tag}"] if manifest is made else when(manifest.digest)
        assert own >= 0
        for below in [*manifest.blobs, *(child.digest for child in manifest.children)]:
            assert 0 <= when(below) < own, below


NESTED = index([multi_platform("a", size=1_300_000), multi_platform("b")])


@pytest.mark.parametrize(
    "made", [image([layer({"a": b"b"})]), multi_platform("app"), NESTED], ids=["image", "index", "nested"]
)
def test_content_goes_before_what_names_it_and_the_tag_last(made: Image) -> None:
    world = World({"app:1": made, "other:1": made}, to=("first", "second"))
    assert world.apply().exit_code == 0
    for address in (FIRST, SECOND):
        for repository in ("app", "other"):
            check_order(world.stores[address].done, repository, made, "1")
            assert world.tags(address, repository) == ["1"]


def test_what_is_shared_is_read_once_and_mounted_where_it_can_be() -> None:
    made = multi_platform("app", size=1_300_000)
    world = World({"app:1": made, "app:2": made, "other:1": made}, to=("first", "second"))
    report = world.apply()
    blobs = made.all_blobs()
    read = [line for line in world.stores[SOURCE].done if line.split()[2] in blobs]
    assert len(read) == len({line.split()[2] for line in read}) == len(blobs)
    for address in (FIRST, SECOND):
        done = world.stores[address].done
        assert sum(line.startswith("put ") for line in done) == len(blobs)
        assert sum(line.startswith("mount ") for line in done) == len(blobs)
        assert not [line for line in done if line.startswith("read ")]
    counts = report.counts
    assert counts.blobs_read == len(blobs)
    assert counts.bytes_read == sum(map(len, blobs.values()))
    assert (counts.blobs_written, counts.blobs_mounted) == (2 * len(blobs), 2 * len(blobs))


class Unmounting(MemoryStore):
    """A registry that never mounts, as some are."""

    def repository(self, name: str) -> Any:
        repository = super().repository(name)

        async def refuse(blob: Descriptor, origin: str) -> bool:
            return False

        repository.mount = refuse  # type: ignore[method-assign]  # the one failure that no real part gives on demand
        return repository


def test_where_nothing_is_mounted_it_is_copied_within_the_destination() -> None:
    made = multi_platform("app", size=1_300_000)
    world = World({"app:1": made, "other:1": made})
    world.stores[FIRST].inner = Unmounting(FIRST)
    assert world.apply().exit_code == 0
    assert world.holds(FIRST, "other", made)
    blobs = made.all_blobs()
    assert sum(line.split()[2] in blobs for line in world.stores[SOURCE].done) == len(blobs), "the source is read once"


def test_whole_images_come_early_so_that_a_run_that_is_cut_off_has_some() -> None:
    images = {f"app:{number}": image([noise(str(number), 20)]) for number in range(300)}
    world = World(images)
    world.apply()
    done = world.stores[FIRST].done
    first_tag = next(number for number, line in enumerate(done) if line.startswith("tag "))
    assert first_tag < 300, "the first image is complete long before the last one begins"


def test_the_destination_is_flushed_after_its_last_tag() -> None:
    world = World({"app:1": GOOD, "app:2": BAD})
    world.apply()
    store = world.stores[FIRST]
    assert store.flushed_after
    assert store.flushed_after[0] == len(store.done)


def test_a_plan_after_apply_has_no_steps() -> None:
    world = World({"app:1": NESTED, "other:1": multi_platform("a", size=1_300_000)}, to=("first", "second"))
    assert world.plan().steps
    world.apply()
    plan = world.plan()
    assert (plan.steps, list(plan.changed()), plan.read_bytes) == ((), [], 0)
