"""index.json: written rarely and as a whole; entries of other tools are kept unchanged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.errors import ContentNotFound
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.layout.store import LayoutDirectoryStore
from tests.parts.images import OCI_MANIFEST, digest, image, index, layer, multi_platform, write_layout
from tests.stores.layout.parts import REF_NAME, holds, index_of, names_of, parsed, store_image

MADE = image([layer({"etc/none": b""})])


def _entry(content: bytes, media_type: str = OCI_MANIFEST, **members: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **members}


def _named(name: str) -> dict[str, Any]:
    return {"annotations": {REF_NAME: name}}


OTHERS: list[dict[str, Any]] = [
    _entry(b"no name"),
    _entry(b"buildx", annotations={"io.containerd.image.name": "x"}),
    _entry(b"text", "text/plain", own=[1, {}], **_named("notes")),
    _entry(b"host", **_named("localhost:5000/App:1")),
    _entry(b"odd", **_named("../../etc:passwd")),
    {**_entry(b"md5", **_named("a/b:2")), "digest": "md5:1234"},
    _entry(b"theirs", **_named("theirs/app:1")),
    {"something": "else"},
]


class Time:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def version(layout: Path) -> tuple[int, int]:
    status = (layout / "index.json").stat()
    return status.st_ino, status.st_mtime_ns


def test_index_json_is_written_periodically_and_not_for_each_tag(tmp_path: Path) -> None:
    time = Time()

    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path, clock=time)
        repository = store.repository("app")
        await store_image(repository, MADE)
        empty = version(tmp_path)
        for number in range(100):
            time.seconds += 0.009
            await repository.tag(parsed(MADE), Tag(f"a{number}"))
        assert version(tmp_path) == empty
        assert names_of(tmp_path) == {}
        time.seconds += 1.1
        await repository.tag(parsed(MADE), Tag("b"))
        first = version(tmp_path)
        assert first != empty
        assert len(names_of(tmp_path)) == 101
        await repository.tag(parsed(MADE), Tag("c"))
        assert version(tmp_path) == first
        await store.flush()
        second = version(tmp_path)
        assert second != first
        assert len(names_of(tmp_path)) == 102
        await store.flush()
        await store.close()
        assert version(tmp_path) == second  # nothing had changed

    asyncio.run(scenario())


def test_a_tag_is_visible_to_its_own_run_before_the_flush(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path, clock=Time())
        repository = store.repository("app")
        await store_image(repository, MADE, "1")
        assert names_of(tmp_path) == {}
        assert await repository.resolve(Tag("1")) == parsed(MADE).descriptor
        assert [tag async for tag in repository.tags()] == ["1"]
        await repository.delete(Tag("1"))
        assert await repository.resolve(Tag("1")) is None
        await store.close()
        assert names_of(tmp_path) == {f"app@{MADE.digest}": MADE.digest} or names_of(tmp_path) == {}

    asyncio.run(scenario())


def test_entries_of_other_tools_are_kept_unchanged(tmp_path: Path) -> None:
    write_layout(tmp_path, {"app:1": MADE})
    before = {**index_of(tmp_path), "annotations": {"a": "b"}, "org.example.own": [1, None, {"x": 2.5}]}
    before["manifests"] = [*OTHERS, *before["manifests"]]
    (tmp_path / "index.json").write_text(json.dumps(before))

    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path)
        await store_image(store.repository("app"), multi_platform("new"), "2")
        await store.repository("app").delete(Tag("1"))
        await store.close()

    asyncio.run(scenario())
    after = index_of(tmp_path)
    assert {key: value for key, value in after.items() if key != "manifests"} == {
        key: value for key, value in before.items() if key != "manifests"
    }
    for entry in OTHERS:
        assert after["manifests"].count(entry) == 1
    assert names_of(tmp_path)["app:2"] == multi_platform("new").digest
    assert "app:1" not in names_of(tmp_path)


def test_entries_that_other_tools_write_during_a_run_are_kept(tmp_path: Path) -> None:
    theirs = {**MADE.descriptor, "annotations": {REF_NAME: "theirs/app:9"}}

    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path, clock=Time())
        ours = store.repository("ours/app")
        await store_image(ours, MADE, "1")
        await store.flush()
        document = index_of(tmp_path)
        await ours.tag(parsed(MADE), Tag("2"))
        document["manifests"].append(theirs)  # another tool read it before our second tag, and writes it now
        document["note"] = "theirs"
        (tmp_path / "index.json").write_text(json.dumps(document))
        assert await store.repository("theirs/app").resolve(Tag("9")) == parsed(MADE).descriptor
        await ours.tag(parsed(MADE), Tag("3"))
        await store.close()

    asyncio.run(scenario())
    assert sorted(names_of(tmp_path)) == ["ours/app:1", "ours/app:2", "ours/app:3", "theirs/app:9"]
    assert index_of(tmp_path)["note"] == "theirs"


def test_equal_content_gives_equal_bytes_in_any_order(tmp_path: Path) -> None:
    async def fill(directory: Path, tags: list[str]) -> None:
        store = LayoutDirectoryStore(directory)
        for tag in tags:
            await store_image(store.repository(f"app/{tag}"), MADE, tag)
        await store.close()

    asyncio.run(fill(tmp_path / "one", ["a", "b", "c"]))
    asyncio.run(fill(tmp_path / "other", ["c", "a", "b"]))
    assert (tmp_path / "one/index.json").read_bytes() == (tmp_path / "other/index.json").read_bytes()


def test_a_moved_tag_leaves_the_old_image_under_its_digest(tmp_path: Path) -> None:
    old, new = multi_platform("app", "old"), multi_platform("app", "new")

    async def move(made: Any) -> None:
        store = LayoutDirectoryStore(tmp_path)
        await store_image(store.repository("app"), made, "latest")
        await store.close()

    for made in (old, new):
        asyncio.run(move(made))
    assert names_of(tmp_path) == {"app:latest": new.digest, f"app@{old.digest}": old.digest}
    assert holds(tmp_path, f"app@{old.digest}", old)
    asyncio.run(move(old))  # and back: a manifest with a tag needs no other name
    assert names_of(tmp_path) == {"app:latest": old.digest, f"app@{new.digest}": new.digest}


def test_children_of_an_index_get_no_entry_of_their_own(tmp_path: Path) -> None:
    made = index([multi_platform("inner"), MADE])

    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path)
        repository = store.repository("app")
        await store_image(repository, made.children[0])
        await store.flush()
        assert list(names_of(tmp_path)) == [f"app@{made.children[0].digest}"]
        await store_image(repository, made, "1")
        await store.flush()
        assert names_of(tmp_path) == {"app:1": made.digest}
        inner = Digest(made.children[0].children[0].digest)
        assert await repository.resolve(inner) is not None
        assert await store.repository("other").resolve(inner) is None
        await repository.delete(Digest(made.digest))
        with pytest.raises(ContentNotFound):
            await repository.delete(Digest(made.digest))
        await store.close()

    asyncio.run(scenario())
    assert names_of(tmp_path) == {}
