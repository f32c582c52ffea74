"""Names in index.json as docker, containerd, podman, crane and oras write them, in both kinds of layout."""

from __future__ import annotations

from typing import Any

import pytest

from mirrorsync.errors import ContentNotFound, UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Unnamed
from mirrorsync.stores.layout import LayoutStore
from tests.parts.images import Image, image, layer
from tests.stores.layout.parts import REF_NAME, parsed, store_image
from tests.stores.layout.test_unnamed import LayoutUnderTest, entry, target

__all__ = ["target"]

ONE, TWO, THREE = (image([layer({"etc/name": name})]) for name in (b"one", b"two", b"three"))


def containerd(made: Image, name: str, ref_name: str | None = None) -> dict[str, Any]:
    """Return an entry of `docker save` (25 and newer) or `ctr images export`."""
    annotations = {"io.containerd.image.name": name, REF_NAME: ref_name or name.rpartition(":")[2]}
    return {**made.descriptor, "annotations": annotations}


async def listed(store: LayoutStore) -> dict[str, list[Tag]]:
    names = [name async for name in store.repositories()]
    return {name: [tag async for tag in store.repository(name).tags()] for name in names}


async def found(store: LayoutStore, repository: str, tag: str) -> str | None:
    content = await store.repository(repository).resolve(Tag(tag))
    return content.digest if content is not None else None


def test_two_images_with_one_tag_are_told_apart_by_their_containerd_names(target: LayoutUnderTest) -> None:
    """Before, the second one was lost (nerdctl#404, kubeadm#3070)."""
    nginx, redis = "docker.io/library/nginx:latest", "docker.io/library/redis:latest"
    target.make([containerd(ONE, nginx), containerd(TWO, redis)], [ONE, TWO])

    async def scenario(store: LayoutStore) -> None:
        assert await listed(store) == {"library/nginx": ["latest"], "library/redis": ["latest"]}
        assert await found(store, "library/nginx", "latest") == ONE.digest
        assert await found(store, "library/redis", "latest") == TWO.digest
        assert await store.repository("library/redis").resolve(Digest(TWO.digest)) == parsed(TWO).descriptor
        with pytest.raises(UsageError) as caught:
            await store.repository("").resolve(Tag("latest"))
        assert caught.value.message == f"2 images have this name: {ONE.digest} and {TWO.digest}"

    target.within(scenario)


def test_two_images_that_nothing_tells_apart_are_refused_with_both_digests(target: LayoutUnderTest) -> None:
    target.make(
        [entry(ONE, "app:1"), entry(TWO, "app:1"), entry(THREE, "app:2"), entry(THREE, "app:2")], [ONE, TWO, THREE]
    )

    async def scenario(store: LayoutStore) -> None:
        assert await listed(store) == {"app": ["1", "2"]}
        assert await found(store, "app", "2") == THREE.digest
        with pytest.raises(UsageError) as caught:
            await store.repository("app").resolve(Tag("1"))
        assert caught.value.message == f"2 images have this name: {ONE.digest} and {TWO.digest}"
        assert caught.value.remedy == f"name one by its digest, such as {store.address}:app@{ONE.digest}"
        assert await store.repository("app").resolve(Digest(TWO.digest)) == parsed(TWO).descriptor
        assert await store.unnamed() == []

    target.within(scenario)


def test_a_tag_that_is_set_replaces_all_entries_of_its_name(target: LayoutUnderTest) -> None:
    entries = [entry(ONE, "app:1"), entry(TWO, "app:1"), containerd(ONE, "docker.io/x/app:1")]
    target.make(entries, [ONE, TWO])

    async def scenario(store: LayoutStore) -> None:
        await store_image(store.repository("app"), THREE, "1")
        await store_image(store.repository("x/app"), THREE, "1")
        assert await found(store, "app", "1") == await found(store, "x/app", "1") == THREE.digest

    target.within(scenario)
    named = [one for one in target.entries() if not one["annotations"][REF_NAME].startswith("app@")]
    assert named == [entry(THREE, "app:1"), entry(THREE, "x/app:1")]


def test_an_image_with_a_containerd_name_is_deleted_without_others_of_its_digest(target: LayoutUnderTest) -> None:
    first, second = (containerd(ONE, f"docker.io/x/app:{tag}") for tag in ("1", "2"))
    target.make([first, second], [ONE])

    async def scenario(store: LayoutStore) -> None:
        await store.repository("x/app").delete(Tag("1"))
        assert await listed(store) == {"x/app": ["2"]}
        with pytest.raises(ContentNotFound):
            await store.repository("x/app").delete(Tag("1"))

    target.within(scenario)
    assert target.entries() == [second]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("localhost:5000/x/y:1", "localhost:5000/x/y:1"),  # podman, crane (skopeo#1442, ggcr#1401)
        ("[2001:db8::1]:5000/x/y:1", "[2001:db8::1]:5000/x/y:1"),
        ("docker.io/library/nginx:1", "nginx:1"),
        ("docker.io/library/nginx:1", "library/nginx:1"),
        ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),  # crane
        ("library/nginx:1", "nginx:1"),
        ("x/y:1", "docker.io/x/y:1"),
        ("localhost/app:dev", "app:dev"),  # podman build -t app:dev
    ],
)
def test_a_name_is_found_as_written_and_as_other_tools_write_it(
    target: LayoutUnderTest, written: str, asked: str
) -> None:
    target.make([entry(ONE, written)], [ONE])

    async def scenario(store: LayoutStore) -> None:
        for name in (written, asked):
            repository, _, tag = name.rpartition(":")
            assert await found(store, repository, tag) == ONE.digest
            assert [one async for one in store.repository(repository).tags()] == [tag]
            assert await store.repository(repository).resolve(Digest(ONE.digest)) == parsed(ONE).descriptor
        if asked != written:
            repository, _, tag = asked.rpartition(":")
            assert await store.destination(repository).resolve(Tag(tag)) is None, "skopeo would not find it"

    target.within(scenario)


@pytest.mark.parametrize("asked", ["library/nginx:1", "nginx:1", "docker.io/library/nginx:1", "1"])
def test_an_image_that_docker_saved_is_found_by_its_tag_and_by_its_whole_name(
    target: LayoutUnderTest, asked: str
) -> None:
    target.make([containerd(ONE, "docker.io/library/nginx:1"), containerd(TWO, "quay.io/x/y:2")], [ONE, TWO])

    async def scenario(store: LayoutStore) -> None:
        repository, _, tag = asked.rpartition(":")
        assert await found(store, repository, tag) == ONE.digest
        assert await found(store, "quay.io/x/y", "2") == TWO.digest
        assert await found(store, "app", "1") is None

    target.within(scenario)


@pytest.mark.parametrize("name", ["1.0+build5", "feature/x", "app:1.0+build5", "localhost:5000/Team/app:1"])
def test_an_image_whose_name_is_not_a_tag_is_listed_with_it(target: LayoutUnderTest, name: str) -> None:
    """skopeo#446, containerd#10681."""
    target.make([entry(ONE, name)], [ONE])

    async def scenario(store: LayoutStore) -> None:
        assert await store.unnamed() == [Unnamed(Digest(ONE.digest), name)]

    target.within(scenario)
