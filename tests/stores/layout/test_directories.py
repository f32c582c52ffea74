"""Directories that are not layouts, and disks that cannot store one: a clear error, and no incomplete file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrorsync.errors import StorageError
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.layout.store import LayoutDirectoryStore
from tests.parts.images import Image, image, layer, noise, write_layout
from tests.parts.mirrorsync import COMMAND, Done, Mirrorsync
from tests.stores.layout.parts import holds, names_of, parsed, wrong_files

MADE = image([layer({"etc/none": b""})])
LARGE = image([layer({"large": noise("large", 8_000_000)})])
CONTENT = {"oci-layout": '{"imageLayoutVersion": "1.0.0"}', "index.json": '{"schemaVersion": 2, "manifests": []}'}


def specify(mirrorsync: Mirrorsync, images: dict[str, Image], target: str = "target") -> None:
    write_layout(mirrorsync.directory / "source", images)
    mirrorsync.spec({"destinations": {"disk": f"oci:{target}"}, "mirrors": [f"oci:source:{name}" for name in images]})


def under(mirrorsync: Mirrorsync, *wrapper: str, code: int) -> Done:
    """Run `mirrorsync apply` under another program, such as one that drops rights."""
    words = [*wrapper, *COMMAND, "apply"]
    environment = mirrorsync.environment()
    done = subprocess.run(words, capture_output=True, text=True, cwd=mirrorsync.directory, env=environment, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def assert_reported(done: Done, message: str, remedy: str) -> None:
    """Check that one line has the message, and the next one the remedy."""
    lines = done.err.splitlines()
    numbers = [number for number, line in enumerate(lines) if message in line]
    assert numbers, done.err
    assert any(remedy in "\n".join(lines[number : number + 2]) for number in numbers), done.err


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _file(target: Path) -> None:
    target.write_text("precious")


def _photos(target: Path) -> None:
    target.mkdir()
    (target / "holiday.jpg").write_text("precious")


def _hidden(target: Path) -> None:
    target.mkdir()
    (target / ".git").mkdir()
    (target / ".git/HEAD").write_text("precious")


def _layout(**changes: str | None) -> Callable[[Path], None]:
    def make(target: Path) -> None:
        target.mkdir()
        for name, content in {**CONTENT, **{key.replace("_", "."): text for key, text in changes.items()}}.items():
            if content is not None:
                (target / name.replace("oci.layout", "oci-layout")).write_text(content)
        (target / "oci-layout").touch()

    return make


def _link_to_file(target: Path) -> None:
    (target.parent / "elsewhere").write_text("precious")
    target.symlink_to("elsewhere")


def _pipe_as_index(target: Path) -> None:
    _layout()(target)
    (target / "index.json").unlink()
    os.mkfifo(target / "index.json")


NEW = "new or an empty directory"
RESTORE = "restore it, or mirror into a new directory"
DAMAGED = "its oci-layout file is damaged"
REFUSED: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a file": (_file, "target is not a directory", NEW),
    "a link to a file": (_link_to_file, "target is not a directory", NEW),
    "a foreign directory": (_photos, "is not empty and not an OCI layout", NEW),
    "a directory with hidden files": (_hidden, "is not empty and not an OCI layout", NEW),
    "an empty oci-layout": (_layout(oci_layout=""), DAMAGED, "name a new directory"),
    "an oci-layout that is not JSON": (_layout(oci_layout="{"), DAMAGED, "name a new directory"),
    "an oci-layout that is a list": (_layout(oci_layout="[]"), DAMAGED, "name a new directory"),
    "an oci-layout without version": (_layout(oci_layout="{}"), DAMAGED, "name a new directory"),
    "another version": (
        _layout(oci_layout='{"imageLayoutVersion": "2.0.0"}'),
        "of an unsupported version",
        "new directory",
    ),
    "a number as version": (
        _layout(oci_layout='{"imageLayoutVersion": 1}'),
        "of an unsupported version",
        "new directory",
    ),
    "an empty index": (_layout(index_json=""), "index.json is not JSON", RESTORE),
    "a truncated index": (_layout(index_json='{"schemaVersion": 2, "manif'), "index.json is not JSON", RESTORE),
    "an index that is a list": (_layout(index_json="[]"), "index.json is not an image index", RESTORE),
    "an index without manifests": (_layout(index_json="{}"), "index.json is not an image index", RESTORE),
    "manifests that are not a list": (_layout(index_json='{"manifests": {}}'), "is not an image index", RESTORE),
    "an index that is a manifest": (
        _layout(index_json='{"mediaType": "application/vnd.oci.image.manifest.v1+json", "manifests": []}'),
        "is not an image index",
        RESTORE,
    ),
    "an index nested too deeply": (_layout(index_json="[" * 200_000), "index.json is not JSON", RESTORE),
    "a pipe as index": (_pipe_as_index, "index.json is not JSON", RESTORE),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_path_that_is_not_a_layout_is_rejected_and_left_unchanged(tmp_path: Path, case: str) -> None:
    make, message, remedy = REFUSED[case]
    target = tmp_path / "target"
    make(target)
    before = files_of(target) or target.is_file()

    async def read() -> None:
        async for _ in LayoutDirectoryStore(target).repositories():
            pass

    async def write() -> None:
        store = LayoutDirectoryStore(target)
        store.lock()  # rejects a path that is not a layout
        await store.repository("app").tag(parsed(MADE), Tag("1"))

    for use in (read, write):
        with pytest.raises(StorageError, match=re.escape(message)) as caught:
            asyncio.run(use())
        assert remedy in caught.value.remedy
        assert caught.value.store == f"oci:{target}"
        assert str(target) in caught.value.message
    kept = files_of(target) or target.is_file()
    if isinstance(before, dict) and isinstance(kept, dict):
        kept = {name: content for name, content in kept.items() if name in before}
    assert kept == before


@pytest.mark.parametrize("case", ["a file", "a foreign directory", "another version", "a truncated index"])
def test_a_run_into_a_directory_that_is_not_a_layout_changes_nothing(mirrorsync: Mirrorsync, case: str) -> None:
    make, message, remedy = REFUSED[case]
    target = mirrorsync.directory / "target"
    make(target)
    before = files_of(target) or target.is_file()
    specify(mirrorsync, {"app:1": MADE})
    for verb in ("plan", "apply"):
        done = mirrorsync(verb, code=1)
        assert_reported(done, message, remedy)
        assert str(target) in done.err
    assert (files_of(target) or target.is_file()) == before


@pytest.mark.parametrize("content", [None, ".incoming", "lost+found"])
def test_an_empty_directory_becomes_a_layout(mirrorsync: Mirrorsync, content: str | None) -> None:
    target = mirrorsync.directory / "target"
    target.mkdir()
    if content is not None:
        (target / content).mkdir()
    specify(mirrorsync, {"app:1": MADE})
    mirrorsync("apply", code=0)
    assert holds(target, "app:1", MADE)


def test_a_layout_without_index_json_is_empty(mirrorsync: Mirrorsync) -> None:
    target = mirrorsync.directory / "target"
    _layout()(target)
    (target / "index.json").unlink()
    specify(mirrorsync, {"app:1": MADE})
    mirrorsync("apply", code=0)
    assert holds(target, "app:1", MADE)


# root may write everywhere; without these capabilities permissions apply to it.
POWERLESS = () if os.getuid() else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.mark.parametrize("where", ["parent", "directory", "blobs", "index"])
def test_a_directory_without_permission_is_reported(mirrorsync: Mirrorsync, where: str) -> None:
    specify(mirrorsync, {"app:1": MADE}, "area/target")
    target = mirrorsync.directory / "area/target"
    if where == "parent":
        target.parent.mkdir()
    else:
        target.parent.mkdir()
        write_layout(target, {})
    closed = {"parent": target.parent, "directory": target, "blobs": target / "blobs/sha256"}.get(where)
    if closed is not None:
        closed.chmod(0o555)
    else:
        (target / "index.json").chmod(0)
    before = files_of(target)
    done = under(mirrorsync, *POWERLESS, code=1)
    assert_reported(done, "permission denied", "give this user the right")
    assert str(target) in done.err
    if closed is not None:
        closed.chmod(0o755)
    assert files_of(target) == before


# A mount that only this command and its children see; it ends with them.
MOUNTED = ("unshare", *(() if os.getuid() == 0 else ("--map-root-user",)), "--mount", "sh", "-ec")


def test_a_read_only_file_system_is_readable_and_a_write_is_reported(mirrorsync: Mirrorsync) -> None:
    specify(mirrorsync, {"app:1": MADE})
    mirrorsync("apply", code=0)
    specify(mirrorsync, {"app:1": MADE, "app:2": LARGE})
    frozen = 'mount --bind target target; mount -o remount,ro,bind target; exec "$@"'
    done = under(mirrorsync, *MOUNTED, frozen, "sh", code=1)
    assert_reported(done, "the file system is read-only", "mount it writable, or choose another directory")
    specify(mirrorsync, {"app:1": MADE})
    assert "nothing to do" in under(mirrorsync, *MOUNTED, frozen, "sh", code=0).out


def test_a_full_disk_is_reported_and_complete_blobs_are_kept_for_the_next_run(mirrorsync: Mirrorsync) -> None:
    specify(mirrorsync, {"app:1": MADE})
    (mirrorsync.directory / "mirror.yaml").rename(mirrorsync.directory / "first.yaml")
    specify(mirrorsync, {"app:1": MADE, "app:2": LARGE})
    (mirrorsync.directory / "target").mkdir()
    small = (
        'mount -t tmpfs -o size=2m tmpfs target; "$@" first.yaml; "$@" || code=$?; cp -r target after; '
        'mount -o remount,size=64m target; "$@"; cp -r target later; exit $code'
    )
    done = under(mirrorsync, *MOUNTED, small, "sh", code=3)
    assert_reported(done, "the disk is full", "free some space, and run again")
    after, later = mirrorsync.directory / "after", mirrorsync.directory / "later"
    assert names_of(after) == {"app:1": MADE.digest}
    assert holds(after, "app:1", MADE)
    assert wrong_files(after) == []
    assert not (after / ".incoming").exists()
    assert holds(later, "app:2", LARGE)


def test_a_disk_without_any_space_is_reported(mirrorsync: Mirrorsync) -> None:
    specify(mirrorsync, {"app:1": MADE})
    (mirrorsync.directory / "target").mkdir()
    # A file system with room for so few files that not even an empty layout can be created.
    none = 'mount -t tmpfs -o nr_inodes=3 tmpfs target; "$@" || code=$?; cp -r target after; exit $code'
    done = under(mirrorsync, *MOUNTED, none, "sh", code=1)
    assert_reported(done, "the disk is full", "free some space, and run again")
    assert wrong_files(mirrorsync.directory / "after") == []


def test_a_file_size_limit_is_reported_and_leaves_no_incomplete_blob(mirrorsync: Mirrorsync) -> None:
    specify(mirrorsync, {"app:1": MADE, "app:2": LARGE})
    done = under(mirrorsync, "prlimit", "--fsize=2000000", code=3)
    assert_reported(done, "the file would exceed the size limit", "ulimit -f")
    target = mirrorsync.directory / "target"
    assert holds(target, "app:1", MADE)
    assert names_of(target) == {"app:1": MADE.digest}
    assert wrong_files(target) == []
    assert not (target / ".incoming").exists()
    mirrorsync("apply", code=0)
    assert holds(target, "app:2", LARGE)


def test_a_failed_write_of_index_json_keeps_the_old_one(mirrorsync: Mirrorsync) -> None:
    specify(mirrorsync, {"app:1": MADE})
    mirrorsync("apply", code=0)
    target = mirrorsync.directory / "target"
    document = json.loads((target / "index.json").read_bytes())
    (target / "index.json").write_text(json.dumps({**document, "pad": "x" * 100_000}))
    before = (target / "index.json").read_bytes()
    other = image([layer({"etc/other": b""})])
    specify(mirrorsync, {"app:1": MADE, "app:2": other})
    # The blobs fit, and index.json does not.
    done = under(mirrorsync, "prlimit", "--fsize=50000", code=1)
    assert_reported(done, "index.json: the file would exceed the size limit", "ulimit -f")
    assert (target / "index.json").read_bytes() == before
    mirrorsync("apply", code=0)
    assert holds(target, "app:2", other)
