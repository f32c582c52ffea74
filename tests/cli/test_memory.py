"""The peak memory of a run whose source tries to exhaust it, measured on a real process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirrorsync import save_plan
from tests.documents.examples import large_plan
from tests.parts import bombs
from tests.parts.bombs import MIB, Bomb, IndexBomb, Sink
from tests.parts.images import OCI_CONFIG, OCI_LAYER, Image, digest, image, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain
from tests.parts.tiny_registry import App
from tests.parts.unruly import Unruly

# The kernel's own count for this program alone: what `getrusage` tells includes the process that started it.
_MEASURED = """
import runpy, sys
peak = sys.argv.pop(1)
try:
    runpy.run_module("mirrorsync", run_name="__main__", alter_sys=True)
finally:
    held = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    open(peak, "w").write(held.split()[1])
"""
LIMIT = 200 * MIB


@dataclass(frozen=True)
class Measured:
    code: int
    err: str
    peak: int  # bytes


def measured(mirrorsync: Mirrorsync, *words: str) -> Measured:
    peak = mirrorsync.directory / "peak"
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(peak), *words],
        capture_output=True,
        text=True,
        cwd=mirrorsync.directory,
        env=mirrorsync.environment({"TMPDIR": str(mirrorsync.directory)}),
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Measured(done.returncode, done.stderr, int(peak.read_text()) * 1024)


def spec(mirrorsync: Mirrorsync, host: str, target: str = "oci:disk", **mirror: object) -> None:
    mirrorsync.spec(
        {
            "registries": plain(host, *([] if ":disk" in target else [target])),
            "destinations": {"disk": target},
            "defaults": {"to": ["disk"]},
            "mirrors": [{"from": f"{host}/app", **mirror}],
        }
    )


LISTS: dict[str, tuple[App, str]] = {
    "endless pages": (Bomb(bombs.endless_tags), "continues after"),
    "endless pages of short tags": (Bomb(bombs.endless_short_tags), "continues after"),
    "a page of lists in a list": (Bomb(bombs.one_page(bombs.nested)), "too complex"),
    "a page of 60 MiB": (Bomb(bombs.one_page(bombs.large_page)), "a page exceeds the limit"),
    "a page that becomes 400 MiB": (
        Bomb(bombs.one_page(bombs.gzipped, {"Content-Encoding": "gzip"})),
        "a page exceeds the limit",
    ),
}


@pytest.mark.parametrize(("app", "said"), LISTS.values(), ids=LISTS)
def test_a_list_of_tags_that_would_fill_the_memory_is_aborted(mirrorsync: Mirrorsync, app: App, said: str) -> None:
    with Unruly(app) as server:
        spec(mirrorsync, server.host, tags={"glob": ["v*"]})
        done = measured(mirrorsync, "plan")
        assert done.code == 1
        assert said in done.err
        assert ("exact tags need no list" in done.err) == (said == "continues after")
        assert done.peak < LIMIT


def test_a_list_of_referrers_that_would_fill_the_memory_is_aborted(mirrorsync: Mirrorsync) -> None:
    with Unruly(Bomb(bombs.endless_referrers)) as server:
        spec(mirrorsync, server.host, tags=["1"], referrers=True)
        done = measured(mirrorsync, "plan")
        assert done.code in (1, 3)
        assert "the pages exceed the limit of" in done.err
        assert done.peak < LIMIT


def test_100_000_tags_are_listed(mirrorsync: Mirrorsync) -> None:
    tags = [f"build-{number}" for number in range(100_000)]
    with Unruly(Bomb(bombs.one_page(json.dumps({"tags": [*tags, "1"]}).encode))) as server:
        spec(mirrorsync, server.host, tags={"glob": ["?"]})
        done = measured(mirrorsync, "plan", "--json")
        assert done.code == 0
        assert done.peak < LIMIT


@pytest.mark.parametrize("cached", [True, False], ids=["with a cache", "without a cache"])
def test_an_index_of_many_large_manifests_stays_on_disk(mirrorsync: Mirrorsync, cached: bool, tmp_path: Path) -> None:
    if not cached:
        (mirrorsync.home / ".cache").write_text("a file where the cache should be")
    with Unruly(IndexBomb(60, 4 * MIB)) as server:
        spec(mirrorsync, server.host, tags=["1"])
        done = measured(mirrorsync, "apply")  # it makes the plan first
        assert done.code == 0, done.err
        assert done.peak < LIMIT
    assert (tmp_path / "disk/index.json").exists()


def test_large_manifests_are_not_kept_in_memory_after_they_are_pushed(mirrorsync: Mirrorsync) -> None:
    with Unruly(IndexBomb(60, 4 * MIB)) as server, Unruly(Sink()) as sink:
        spec(mirrorsync, server.host, sink.host, tags=["1"])
        done = measured(mirrorsync, "apply")
        assert done.code == 0, done.err
        assert done.peak < LIMIT


def test_an_index_with_more_blobs_than_the_limit_is_rejected(mirrorsync: Mirrorsync) -> None:
    with Unruly(IndexBomb(12, 2 * MIB, layers=8000)) as server:
        spec(mirrorsync, server.host, tags=["1"])
        done = measured(mirrorsync, "apply")
        assert "more than 50000 blobs" in done.err
        assert done.peak < LIMIT


def test_a_saved_plan_of_20000_images_is_read_in_little_memory(mirrorsync: Mirrorsync) -> None:
    path = mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": ["source.example/app:1"]})
    save_plan(large_plan(20_000, str(path)), mirrorsync.directory / "plan.json")
    done = measured(mirrorsync, "apply", "plan.json")
    assert done.code == 5, done.err
    assert "mirror.yaml was changed after the plan was made" in done.err
    assert done.peak < LIMIT


def test_a_blob_is_verified_without_being_in_memory(mirrorsync: Mirrorsync) -> None:
    size, zeros = 512 * MIB, hashlib.sha256()
    for _ in range(512):
        zeros.update(bytes(MIB))
    config = b"{}"
    layer = {"mediaType": OCI_LAYER, "digest": f"sha256:{zeros.hexdigest()}", "size": size}
    made = image([])
    document = {**json.loads(made.raw), "layers": [layer],
                "config": {"mediaType": OCI_CONFIG, "digest": digest(config), "size": len(config)}}  # fmt: skip
    write_layout(
        mirrorsync.directory / "usb",
        {"app:1": Image(made.media_type, json.dumps(document).encode(), {digest(config): config})},
    )
    with (mirrorsync.directory / "usb/blobs/sha256" / zeros.hexdigest()).open("wb") as file:
        file.truncate(size)
    before = measured(mirrorsync, "verify", "--fast", "oci:usb")
    done = measured(mirrorsync, "verify", "oci:usb")
    assert (before.code, done.code) == (0, 0)
    assert done.peak - before.peak < 16 * MIB
