"""Other programs that write index.json during a run or a server: merged, or reported; with real skopeo."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.events import Event, Noticed
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.layout.store import LayoutDirectoryStore
from tests.parts.images import Image, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import run
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry
from tests.stores.layout.parts import REF_NAME, holds, index_of, names_of, parsed, store_image

ONE, TWO, THREE = (multi_platform("app", version) for version in ("1", "2", "3"))


def skopeo(source: str, layout: Path, name: str) -> None:
    run("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", source, f"oci:{layout}:{name}")


def add(layout: Path, name: str, made: Image | None) -> None:
    """Set or remove a name as other programs do: by writing index.json in place."""
    document = index_of(layout)
    entries = [entry for entry in document["manifests"] if entry.get("annotations", {}).get(REF_NAME) != name]
    if made is not None:
        entries.append({**made.descriptor, "annotations": {REF_NAME: name}})
    (layout / "index.json").write_text(json.dumps({**document, "manifests": entries}))


def test_skopeo_copies_into_a_layout_that_is_being_served(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    write_layout(tmp_path / "seed", {"app:1": THREE})
    with Serve(layout) as served:
        server = Registry(served.host)
        server.push("app", ONE, "1")
        skopeo(f"oci:{tmp_path}/seed:app:1", layout, "theirs/app:1")
        assert server.holds("theirs/app", THREE, "1")
        server.push("app", TWO, "2")
        assert server.tags("app") == ["1", "2"]
    for name, made in {"app:1": ONE, "app:2": TWO, "theirs/app:1": THREE}.items():
        assert holds(layout, name, made)
    assert "another program" not in served.log.read_text()


@contextmanager
def slow_skopeo(layout: Path, name: str, made: Image) -> Iterator[Callable[[], None]]:
    """Let skopeo begin to copy an image into a layout; yields the function that lets it finish."""
    registry, began, on = TinyRegistry(), threading.Event(), threading.Event()
    registry.hold("app", made, "1")

    def hold_up() -> None:
        began.set()
        on.wait(60)

    with Unruly(registry) as server:
        server.fault("wait", "GET", "/blobs/", hits=[1], arrived=hold_up)
        copying = threading.Thread(target=skopeo, args=(f"docker://{server.host}/app:1", layout, name))
        copying.start()
        assert began.wait(60)

        def go_on() -> None:
            on.set()
            copying.join()

        try:
            yield go_on
        finally:
            go_on()


def test_entries_that_skopeo_reverted_during_its_copy_are_written_again(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    with Serve(layout) as served:
        server = Registry(served.host)
        server.push("app", ONE, "1")
        with slow_skopeo(layout, "theirs/app:1", THREE) as go_on:
            server.push("app", TWO, "2")
            go_on()
        assert server.tags("app") == ["1", "2"]
        assert server.holds("theirs/app", THREE, "1")
        server.push("app", THREE, "3")
    for name, made in {"app:1": ONE, "app:2": TWO, "app:3": THREE, "theirs/app:1": THREE}.items():
        assert holds(layout, name, made)
    # skopeo writes back what it has read when it began.
    assert "writing them again: app:2" in served.log.read_text()


def test_entries_of_the_server_are_kept_after_it_has_ended(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    with Serve(layout) as served:
        Registry(served.host).push("app", ONE, "1")
        add(layout, "app:1", None)  # a stale copy of index.json is written back, and no write follows it
        served.process.terminate()
        assert served.process.wait(60) == 0
    assert holds(layout, "app:1", ONE)
    assert served.log.read_text().count("writing them again: app:1") == 1


def test_skopeo_copies_into_the_layout_that_a_run_writes_to(mirrorsync: Mirrorsync) -> None:
    layout, registry = mirrorsync.directory / "layout", TinyRegistry()
    write_layout(mirrorsync.directory / "seed", {"app:1": THREE})
    registry.hold("app", ONE, "1")
    registry.hold("app", TWO, "2")
    seed = f"oci:{mirrorsync.directory}/seed:app:1"
    with Unruly(registry) as server:
        mirrorsync.spec(
            {
                "registries": plain(server.host),
                "destinations": {"disk": "oci:layout"},
                "mirrors": [{"from": f"{server.host}/app", "tags": ["1", "2"], "name": "app"}],
            }
        )
        server.fault("wait", "GET", "/blobs/", hits=[2], arrived=lambda: skopeo(seed, layout, "theirs/app:1"))
        done = mirrorsync("apply", code=0)
    for name, made in {"app:1": ONE, "app:2": TWO, "theirs/app:1": THREE}.items():
        assert holds(layout, name, made)
    assert "another program" not in done.err


class Scene:
    """A store over a layout that others write to, and its notices."""

    def __init__(self, layout: Path) -> None:
        self.layout = layout
        self.recorded: list[Event] = []
        self.store = LayoutDirectoryStore(layout, observer=self.recorded.append)
        self.repository = self.store.repository("app")

    async def tag(self, made: Image, tag: str) -> None:
        await store_image(self.repository, made, tag)

    @property
    def notices(self) -> list[str]:
        assert all(isinstance(event, Noticed) and event.where == f"oci:{self.layout}" for event in self.recorded)
        return [event.message for event in self.recorded if isinstance(event, Noticed)]


def play(scene: Scene, *steps: Callable[[Scene], Any]) -> dict[str, str]:
    """Carry out the steps in order, flush and close; return the names that the layout has then."""

    async def work() -> None:
        for step in steps:
            done = step(scene)
            if done is not None:
                await done
        await scene.store.close()

    asyncio.run(work())
    return names_of(scene.layout)


def ours(made: Image, tag: str = "1") -> Callable[[Scene], Any]:
    return lambda scene: scene.tag(made, tag)


def theirs(made: Image | None, name: str = "app:1") -> Callable[[Scene], Any]:
    return lambda scene: add(scene.layout, name, made)


def flush(scene: Scene) -> Any:
    return scene.store.flush()


AGAIN = "another program removed names that this run had written to index.json; writing them again: app:1"
STAYS = "another program has set the same name in index.json; keeping its value: app:1"
REPLACED = "another program has set the same name in index.json; replacing its value: app:1"


@pytest.mark.parametrize(
    ("steps", "result", "notices"),
    [
        ([ours(ONE), flush, theirs(TWO)], TWO, [STAYS]),
        ([ours(ONE), flush, theirs(TWO), ours(THREE)], THREE, [STAYS]),
        ([ours(ONE), flush, theirs(None)], ONE, [AGAIN]),
        ([ours(ONE), flush, ours(TWO), flush, theirs(ONE)], TWO, [AGAIN]),
        ([ours(ONE), flush, ours(TWO), flush, ours(ONE), flush, theirs(TWO)], ONE, [AGAIN]),
        ([ours(ONE), flush, ours(TWO), theirs(THREE)], TWO, [REPLACED]),
        ([ours(ONE), flush, theirs(ONE)], ONE, []),
        ([ours(ONE), flush, theirs(TWO, "other:1")], ONE, []),
        ([ours(ONE), flush, lambda scene: scene.repository.delete(Tag("1")), flush, theirs(ONE)], None, [AGAIN]),
        ([ours(ONE), flush, lambda scene: scene.repository.delete(Tag("1")), flush, theirs(TWO)], TWO, [STAYS]),
    ],
)
def test_a_name_written_by_two_programs_is_merged_and_reported(
    tmp_path: Path, steps: Any, result: Image | None, notices: list[str]
) -> None:
    scene = Scene(tmp_path / "layout")
    names = play(scene, *steps)
    assert names.get("app:1") == (result.digest if result else None)
    assert scene.notices == notices


def test_many_removed_names_are_reported_in_one_line(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "layout")
    tags = [ours(ONE, f"v{number}") for number in range(10, 30)]

    def empty(scene: Scene) -> None:
        (scene.layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": []}))

    names = play(scene, *tags, flush, empty)
    assert len(names) == 20
    assert scene.notices == [f"{AGAIN.removesuffix('app:1')}app:v10, app:v11, app:v12, app:v13, app:v14 and 15 more"]


# What happens next before a call: its name, its path, and what to do then.
_BEFORE: list[tuple[str, Path, Callable[[], None]]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _BEFORE and event == _BEFORE[0][0] and str(arguments[event == "os.rename"]) == str(_BEFORE[0][1]):
        _BEFORE.pop(0)[2]()


sys.addaudithook(_hook)  # it stays for the life of the process, and does nothing unless a test waits


def test_entries_written_at_the_moment_of_our_rename_are_merged(tmp_path: Path) -> None:
    """Another program can write between our last check of index.json and the rename that replaces it."""
    scene = Scene(tmp_path / "layout")

    def arm(scene: Scene) -> None:
        _BEFORE.append(("os.rename", scene.layout / "index.json", lambda: add(scene.layout, "theirs:1", TWO)))

    names = play(scene, ours(ONE), flush, ours(THREE, "3"), arm, flush)
    assert not _BEFORE
    assert names == {"app:1": ONE.digest, "app:3": THREE.digest, "theirs:1": TWO.digest}
    assert scene.notices == []


def test_entries_written_while_ours_are_prepared_are_merged(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "layout")

    async def work() -> None:
        await scene.tag(ONE, "1")
        await scene.store.flush()
        await scene.repository.tag(parsed(ONE), Tag("2"))
        pending = scene.store.names.pending()
        assert pending is not None
        add(scene.layout, "theirs:1", TWO)
        await scene.store.close()

    asyncio.run(work())
    assert sorted(names_of(scene.layout)) == ["app:1", "app:2", "theirs:1"]


def test_an_index_that_another_program_is_writing_is_read_once_it_is_complete(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "layout")
    index = scene.layout / "index.json"

    async def work() -> None:
        await scene.tag(ONE, "1")
        await scene.store.flush()
        whole = index.read_bytes()
        index.write_bytes(whole[:10])

        def complete() -> None:
            index.write_bytes(whole)

        _BEFORE.append(("open", index, lambda: None))
        _BEFORE.append(("open", index, complete))
        assert await scene.repository.resolve(Tag("1")) == parsed(ONE).descriptor
        assert not _BEFORE
        await scene.store.close()

    asyncio.run(work())
