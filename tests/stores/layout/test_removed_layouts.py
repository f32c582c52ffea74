"""A layout that is removed, replaced or damaged during a run or a server: an error, and it is not recreated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.parts.images import image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.tiny_registry import TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry, ask
from tests.serve.harness import code_of
from tests.stores.layout.parts import holds

OLD, NEW, OTHER = (multi_platform("app", version) for version in ("old", "new", "other"))


def _remove(layout: Path) -> None:
    # A run may put a file into it at the same moment.
    while layout.exists():
        shutil.rmtree(layout, ignore_errors=True)


def _move(layout: Path) -> None:
    layout.rename(layout.parent / "moved")


def _replace(layout: Path) -> None:
    _move(layout)
    write_layout(layout, {"other:1": OTHER})


def _remake(layout: Path) -> None:
    _remove(layout)
    write_layout(layout, {"other:1": OTHER})


def _empty(layout: Path) -> None:
    _move(layout)
    layout.mkdir()


def _replace_marker(layout: Path) -> None:
    (layout / "copy").write_bytes((layout / "oci-layout").read_bytes())
    (layout / "copy").rename(layout / "oci-layout")


def _remove_index(layout: Path) -> None:
    (layout / "index.json").unlink()


def _damage_index(layout: Path) -> None:
    (layout / "index.json").write_bytes(b"garbage")


REMEDY = "restore the store, or run again with it as it is now"
CASES: Mapping[str, tuple[Callable[[Path], None], str, str]] = {
    "removed": (_remove, "it was removed or moved while it was in use", REMEDY),
    "moved": (_move, "it was removed or moved while it was in use", REMEDY),
    "replaced": (_replace, "it was replaced by another directory while it was in use", REMEDY),
    "recreated": (_remake, "it was replaced by another directory while it was in use", REMEDY),
    "empty": (_empty, "it was replaced by another directory while it was in use", REMEDY),
    "marker replaced": (_replace_marker, "its oci-layout file was removed or replaced while it was in use", REMEDY),
    "index removed": (_remove_index, "index.json was removed while the layout was in use", "restore it"),
    "index damaged": (_damage_index, "index.json is not JSON", "restore it, or mirror into a new directory"),
}
OF_A_READER = [case for case in CASES if case != "marker replaced"]


def visible(layout: Path) -> dict[str, bytes | None]:
    """Return the files and directories of a layout that show whether it was recreated; {} for no layout.

    Staged files of a run come and go meanwhile, and are left out.
    """
    paths = [path for path in layout.glob("*") if path.name != ".incoming"]
    return {path.name: path.read_bytes() if path.is_file() else None for path in paths}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("moment", ["first blob", "last blob"])
def test_a_run_fails_and_does_not_recreate_the_layout(mirrorsync: Mirrorsync, case: str, moment: str) -> None:
    harm, message, remedy = CASES[case]
    layout, registry = mirrorsync.directory / "layout", TinyRegistry()
    registry.hold("app", OLD, "1")
    registry.hold("app", NEW, "2")
    left: list[dict[str, bytes | None]] = []

    def strike() -> None:
        harm(layout)
        left.append(visible(layout))

    with Unruly(registry) as server:
        mirrors = [{"from": f"{server.host}/app", "tags": ["1"], "name": "app"}]
        document = {"registries": plain(server.host), "destinations": {"disk": "oci:layout"}, "mirrors": mirrors}
        mirrorsync.spec(document)
        mirrorsync("apply", code=0)
        mirrors[0]["tags"] = ["1", "2"]
        mirrorsync.spec(document)
        # The last manifest that is read is followed by writes alone.
        hit = 1 if moment == "first blob" else len(set(NEW.all_blobs()) - set(OLD.all_blobs()))
        server.fault("wait", "GET", "/blobs/", hits=[hit], arrived=strike)
        done = mirrorsync("apply")
    assert len(left) == 1
    assert done.code in (1, 3), done
    assert message in done.err
    assert remedy in done.err
    assert f"oci:{layout}" in done.err
    assert visible(layout) == left[0]
    if case in ("removed", "moved"):
        assert not layout.exists()
    if case in ("replaced", "recreated"):
        assert holds(layout, "other:1", OTHER)
        assert not (layout / ".incoming").exists()


@pytest.mark.parametrize("case", CASES)
def test_a_writing_server_rejects_requests_until_the_layout_is_restored(tmp_path: Path, case: str) -> None:
    harm, _, _ = CASES[case]
    layout = tmp_path / "layout"
    with Serve(layout) as served:
        server = Registry(served.host)
        server.push("app", OLD, "1")
        begun = ask("POST", f"{server.url}/app/blobs/uploads/")
        harm(layout)
        left = visible(layout)
        urls = [f"{server.url}/app/manifests/1", f"{server.url}/app/tags/list"] if case in OF_A_READER else []
        if "index" not in case:
            urls = [f"{server.url}/app/blobs/uploads/?digest={next(iter(OLD.all_blobs()))}", *urls]
        for url in urls:
            answer = ask("POST" if "uploads" in url else "GET", url, b"" if "uploads" in url else None)
            assert answer.status in (503, 507), url
            assert code_of(answer) in ("UNAVAILABLE", "DENIED")
        upload = f"http://{server.host}{begun.headers['Location']}"
        pushed = image([layer({"etc/more": b"more"})])
        for data, name in ((data, name) for name, data in pushed.all_blobs().items()):
            ask("PUT", f"{upload}?digest={name}", data)
        put = ask("PUT", f"{server.url}/app/manifests/2", pushed.raw, {"Content-Type": pushed.media_type})
        assert put.status >= 400
        assert ask("DELETE", f"{server.url}/app/manifests/1").status >= 500
        assert visible(layout) == left
        log = served.log.read_text()
        assert "Traceback" not in log
        assert CASES[case][1] in log  # the operator gets one notice
        assert log.count(CASES[case][1]) == 1
    assert visible(layout) == left


@pytest.mark.parametrize("case", OF_A_READER)
def test_a_read_only_server_reports_it_and_does_not_answer_that_images_are_unknown(tmp_path: Path, case: str) -> None:
    layout = tmp_path / "layout"
    write_layout(layout, {"app:1": OLD})
    blob = next(iter(OLD.all_blobs()))
    with Serve(layout, writable=False) as served:
        server = Registry(served.host)
        assert server.holds("app", OLD, "1")
        CASES[case][0](layout)
        for path in ("manifests/1", "tags/list", "manifests/none"):
            answer = ask("GET", f"{server.url}/app/{path}")
            assert (answer.status, code_of(answer)) in ((503, "UNAVAILABLE"), (507, "DENIED")), path
        if "index" not in case:
            assert ask("GET", f"{server.url}/app/blobs/{blob}").status == 503
        if case == "moved":
            (tmp_path / "moved").rename(layout)
            assert server.holds("app", OLD, "1")


def test_a_repaired_index_json_is_read_again(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    with Serve(layout) as served:
        server = Registry(served.host)
        server.push("app", OLD, "1")
        good = (layout / "index.json").read_bytes()
        for _ in range(2):
            _damage_index(layout)
            assert server.manifest("app", "1").status == 507
            (layout / "index.json").write_bytes(good)
            assert server.holds("app", OLD, "1")
        server.push("app", NEW, "2")
    names = {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in json.loads(good)["manifests"]}
    assert names == {"app:1"}
    assert holds(layout, "app:1", OLD)
    assert holds(layout, "app:2", NEW)
