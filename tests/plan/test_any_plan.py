"""Properties of plans for random images and destinations: applied step by step, a plan completes every image, and the
next plan is empty."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from mirrorsync.errors import Malformed
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import MAX_MANIFESTS, Desired, Observed, closure, conflicts
from mirrorsync.plan.model import Image, Origin, Plan
from mirrorsync.plan.steps import CopyBlob, MountBlob, PutManifest, SetTag, Step, end_of
from tests.plan.reader import STAMP

SOURCE = Origin(Location("source.example", "from/here"))
TAGS = [Tag("1"), Tag("2"), Tag("3")]
LOCATIONS = [Location(store, name) for store in ("r.example", "oci:/disk") for name in ("a", "b", "c")]
SHARED = frozenset({"oci:/disk"})


def descriptor(name: str, media_type: str = media_types.OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type, Digest.of(name.encode()), len(name))


@dataclass
class World:
    """Images of a source, and the destinations: content by location, and tags."""

    chance: random.Random
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    contents: defaultdict[Location, set[Digest]] = field(default_factory=lambda: defaultdict(set))
    tags: dict[tuple[Location, str], Descriptor] = field(default_factory=dict)

    def manifest(self, wanted: Descriptor) -> Manifest:
        return self.manifests[wanted.digest]

    def make_images(self) -> list[Descriptor]:
        blobs = [descriptor(f"blob {number}") for number in range(8)]
        for number in range(6):
            layers = tuple(dict.fromkeys(self.chance.choices(blobs, k=self.chance.randint(1, 4))))
            self._add(f"image {number}", media_types.OCI_MANIFEST, blobs=layers)
        for number in range(4):
            known = [manifest.descriptor for manifest in self.manifests.values()]
            children = tuple(dict.fromkeys(self.chance.choices(known, k=self.chance.randint(0, 3))))
            self._add(f"index {number}", media_types.OCI_INDEX, children=children)
        return [manifest.descriptor for manifest in self.manifests.values()]

    def _add(
        self, name: str, kind: str, blobs: tuple[Descriptor, ...] = (), children: tuple[Descriptor, ...] = ()
    ) -> None:
        named = descriptor(name, kind)
        self.manifests[named.digest] = Manifest(named, name.encode(), children=children, blobs=blobs)

    def members(self, root: Descriptor) -> set[Digest]:
        found = list(closure(root, self.manifest))
        return {manifest.digest for manifest in found} | {blob.digest for one in found for blob in one.blobs}

    def put(self, location: Location, digests: Iterable[Digest]) -> None:
        locations = (
            [other for other in LOCATIONS if other.store == location.store] if location.store in SHARED else [location]
        )
        for other in locations:
            self.contents[other] |= set(digests)

    def root(self, image: Image) -> Descriptor | None:
        """Return the manifest that an image's tag (or digest) names at its location now."""
        if image.tag is not None:
            return self.tags.get((image.target, image.tag))
        return image.root if image.root.digest in self.contents[image.target] else None

    def observed(self, images: list[Image], *, deep: bool) -> Observed:
        """Return the content that is observed at the destinations: all of it if deep, otherwise a random part."""
        seen = {
            location: frozenset(contents if deep else (one for one in sorted(contents) if self.chance.random() < 0.5))
            for location, contents in self.contents.items()
        }
        elsewhere: dict[str, dict[Digest, str]] = defaultdict(dict)
        for location, contents in self.contents.items():
            for digest in sorted(contents):
                if self.chance.random() < 0.2:
                    elsewhere[location.store][digest] = location.repository
        roots = {image: self.root(image) for image in images}
        return Observed(roots, seen, elsewhere, SHARED, self.manifests, deep)

    def perform(self, step: Step) -> None:
        """Perform one step, and check as a registry does that a manifest comes after its content."""
        if isinstance(step, CopyBlob):
            for target in step.targets:
                self.put(target, [step.blob.digest])
        elif isinstance(step, MountBlob):
            assert step.blob.digest in self.contents[Location(step.target.store, step.origin)]
            self.put(step.target, [step.blob.digest])
        else:
            assert isinstance(step, PutManifest | SetTag)
            manifest = self.manifest(step.manifest)
            for named in (*manifest.blobs, *manifest.children):
                assert named.digest in self.contents[step.target], f"{step.id} comes before {named.digest}"
            self.put(step.target, [manifest.digest])
            if isinstance(step, SetTag):
                assert self.tags.get((step.target, step.tag)) == step.before
                self.tags[step.target, step.tag] = step.manifest


def start(seed: int) -> tuple[World, list[Image]]:
    """Return a world with some complete images, some tags of them, and one single blob; and the wanted images."""
    chance = random.Random(seed)
    world = World(chance)
    roots = world.make_images()
    for location in LOCATIONS:
        for root in chance.sample(roots, chance.randint(0, 3)):
            world.put(location, world.members(root))
            if chance.random() < 0.5:
                world.tags[location, chance.choice(TAGS)] = root
    world.put(chance.choice(LOCATIONS), [descriptor("blob 0").digest])
    wanted: dict[tuple[Location, str], Image] = {}
    for _ in range(chance.randint(1, 12)):
        location, tag, root = chance.choice(LOCATIONS), chance.choice([*TAGS, None]), chance.choice(roots)
        wanted.setdefault((location, tag or root.digest), Image(SOURCE, location, tag, root))
    return world, list(wanted.values())


def planned(world: World, images: list[Image], *, deep: bool) -> Plan:
    return diff(Desired(tuple(images)), world.observed(images, deep=deep), spec=STAMP, created="2026-01-01T00:00:00Z")


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("seed", range(100))
def test_an_applied_plan_completes_every_image_and_the_next_plan_is_empty(seed: int, deep: bool) -> None:
    world, images = start(seed)
    plan = planned(world, images, deep=deep)
    assert [str(change) for change in plan.changes] == [str(image) for image in images]
    for step in plan.steps:
        world.perform(step)
    for image in images:
        assert world.root(image) == image.root
        assert world.members(image.root) <= world.contents[image.target]
    again = planned(world, images, deep=True)
    assert again.steps == ()
    assert {change.state for change in again.changes} == {"unchanged"}


@pytest.mark.parametrize("seed", range(100))
def test_a_deep_plan_does_not_copy_or_mount_present_blobs(seed: int) -> None:
    world, images = start(seed)
    for step in planned(world, images, deep=True).steps:
        if isinstance(step, CopyBlob):
            assert all(step.blob.digest not in world.contents[target] for target in step.targets)
        elif isinstance(step, MountBlob):
            assert step.blob.digest not in world.contents[step.target]
        world.perform(step)


@pytest.mark.parametrize("seed", range(100))
def test_a_deep_plan_repairs_missing_content_of_a_tag(seed: int) -> None:
    world, images = start(seed)
    for step in planned(world, images, deep=True).steps:
        world.perform(step)
    for location in LOCATIONS:
        world.contents[location] = {
            digest for digest in sorted(world.contents[location]) if world.chance.random() < 0.7
        }
    for store in SHARED:  # the repositories of such a store lose the same blobs
        locations = [location for location in LOCATIONS if location.store == store]
        for location in locations:
            world.contents[location] = set.intersection(*(world.contents[other] for other in locations))
    for step in planned(world, images, deep=True).steps:
        world.perform(step)
    for image in images:
        assert world.members(image.root) <= world.contents[image.target]


@pytest.mark.parametrize("seed", range(100))
def test_the_last_step_of_an_image_needs_all_steps_that_write_its_content(seed: int) -> None:
    world, images = start(seed)
    for location in LOCATIONS:  # what a deep look finds missing behind a manifest that is there
        world.contents[location] -= {
            digest for digest in sorted(world.contents[location]) if world.chance.random() < 0.3
        }
    steps = {step.id: step for step in planned(world, images, deep=True).steps}
    for image in images:
        last = steps.get(end_of(image.target, image.tag, image.root.digest))
        if last is None:
            continue
        waits, ahead = set(), [last.id]
        while ahead:
            waits.add(step := steps[ahead.pop()])
            ahead += step.needs
        members = world.members(image.root) - {image.root.digest}
        brought = {step.id for step in steps.values() if _content_of(step, image) & members}
        assert brought <= {step.id for step in waits}


def _content_of(step: Step, image: Image) -> set[Digest]:
    """Return the content that a step, other than one that sets a tag, writes to an image's location."""
    if image.target not in step.writes or not isinstance(step, PutManifest | CopyBlob | MountBlob):
        return set()
    return {step.manifest.digest if isinstance(step, PutManifest) else step.blob.digest}


def test_an_image_with_too_many_manifests_is_rejected() -> None:
    children = tuple(descriptor(f"image {number}", media_types.OCI_MANIFEST) for number in range(MAX_MANIFESTS))
    root = descriptor("root", media_types.OCI_INDEX)

    def manifest(wanted: Descriptor) -> Manifest:
        return Manifest(wanted, b"", children=children if wanted == root else ())

    with pytest.raises(Malformed, match="more than 10000 manifests"):
        list(closure(root, manifest))
    assert len(list(closure(children[0], manifest))) == 1


def test_a_manifest_in_many_indexes_is_walked_once() -> None:
    levels = [descriptor(f"level {number}", media_types.OCI_INDEX) for number in range(8)]

    def manifest(wanted: Descriptor) -> Manifest:
        below = levels[levels.index(wanted) + 1 :]
        return Manifest(wanted, b"", children=(*below, *below))

    assert [found.descriptor for found in closure(levels[0], manifest)] == levels[::-1]


def test_two_images_for_the_same_tag_are_a_conflict() -> None:
    one, other = descriptor("one", media_types.OCI_MANIFEST), descriptor("other", media_types.OCI_MANIFEST)
    first = Image(SOURCE, LOCATIONS[0], Tag("1"), one)
    same = Image(Origin(Location("mirror.example", "x")), LOCATIONS[0], Tag("1"), one)
    different = Image(SOURCE, LOCATIONS[0], Tag("1"), other)
    free = [Image(SOURCE, LOCATIONS[0], Tag("2"), other), Image(SOURCE, LOCATIONS[1], Tag("1"), other)]
    by_digest = [Image(SOURCE, LOCATIONS[0], None, one), Image(SOURCE, LOCATIONS[0], None, other)]
    assert conflicts([first, same, *free, *by_digest]) == {}
    assert conflicts([first, different, same]) == {different: first}
