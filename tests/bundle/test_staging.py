"""A directory gets the large blobs of a bundle while they are verified, and shows none before all was read.

Blobs up to 1 MiB, and those for registries, are copied afterwards: test_bad_media.py and test_apply.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrorsync.app.bundles import apply_bundle
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.layout import layout
from mirrorsync.bundle.model import blob_name
from mirrorsync.environment import Environment
from mirrorsync.errors import Interrupted
from mirrorsync.events import BytesMoved, Event
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.bundle.part import FileReader
from mirrorsync.sync.bundle.imported import Imported
from tests.bundle.test_bad_media import _CHILD
from tests.parts.bundles import pack
from tests.parts.images import image, noise

FIRST, SECOND = image([noise("first", 1_300_000)]), image([noise("second", 2_500_000)])
SMALL = image([noise("small", 500)])
PACKED = pack({"first:1": FIRST, "second:1": SECOND, "small:1": SMALL})
(PART,) = (part.name for part in PACKED.bundle.parts)
PLACES = {entry.member.name: entry for entry in layout(PACKED.bundle, 1, PACKED.document).entries}
(LAYER,) = (digest for digest, data in SECOND.blobs.items() if len(data) > 1_000_000)
PLACE = PLACES[blob_name(Digest(LAYER))]


class Far:
    """A far side with a directory, and what it sees of it while it reads a medium."""

    def __init__(self, directory: Path) -> None:
        self.mirror = directory / "mirror"
        self.medium = PACKED.write(directory / "usb")
        self.state = directory / "state"
        self.seen: set[str] = set()
        self.read = 0
        self.stop: Stop | None = None

    def observe(self, event: Event) -> None:
        if isinstance(event, BytesMoved) and event.digest == PACKED.bundle.parts[0].digest:
            self.seen |= self.content()
            self.read += event.size
            if self.stop is not None and self.read > 2_600_000:
                self.stop.stop()

    def apply(self, *others: Path) -> Imported:
        environment = Environment(state_directory=self.state, observer=self.observe)
        targets = [f"oci:{path}" for path in (self.mirror, *others)]
        return asyncio.run(apply_bundle(self.medium, targets, environment=environment, stop=self.stop))

    def content(self) -> set[str]:
        """Return the names of all files but those that every layout has."""
        files = {path.name for path in self.mirror.rglob("*") if path.is_file() and path.parent.name != ".incoming"}
        return files - {"oci-layout", "index.json"}

    def change(self, at: int, data: bytes) -> None:
        with (self.medium / PART).open("r+b") as file:
            os.pwrite(file.fileno(), data, at)


@pytest.fixture
def far(tmp_path: Path) -> Far:
    return Far(tmp_path)


def test_large_blobs_are_read_once_for_all_directories_and_visible_only_after_all_was_read(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(FileReader, "read_at", _counting(FileReader.read_at, read))
    done = far.apply(tmp_path / "second")
    assert done.report.outcomes == {"done": 6}
    assert far.seen == set()
    assert far.content() == {path.name for path in (tmp_path / "second/blobs/sha256").iterdir()}
    assert sum(read) < 1.2 * (far.medium / PART).stat().st_size
    assert done.report.counts.bytes_read == sum(
        len(data) for one in (FIRST, SECOND, SMALL) for data in one.blobs.values()
    )
    assert not (far.mirror / ".incoming").exists()
    assert far.apply().report.outcomes == {"unchanged": 3}


def _counting(
    read_at: Callable[[FileReader, int, int], bytes], sizes: list[int]
) -> Callable[[FileReader, int, int], bytes]:
    def counting(reader: FileReader, offset: int, size: int) -> bytes:
        data = read_at(reader, offset, size)
        sizes.append(len(data))
        return data

    return counting


@pytest.mark.parametrize(
    "at",
    [PLACE.offset, PLACE.start, PLACE.start + 2_000_000, PLACE.end - 1],
    ids=["header", "first", "late", "padding"],
)
def test_a_blob_that_is_damaged_anywhere_never_becomes_one_of_the_directory(far: Far, at: int) -> None:
    far.change(at, b"\xff")
    done = far.apply()
    assert [one.member for one in done.damage] == [PLACE.member.name]
    assert done.report.outcomes["done"] == 2
    assert LAYER[7:] not in far.content()
    assert far.content() >= {FIRST.digest[7:], *(digest[7:] for digest in FIRST.blobs)}
    assert not (far.mirror / ".incoming").exists()
    far.change(at, (PACKED.part(1))[at : at + 1])
    assert far.apply().report.outcomes == {"done": 1, "unchanged": 2}
    assert LAYER[7:] in far.content()


def test_an_import_that_is_stopped_while_it_reads_leaves_nothing(far: Far) -> None:
    far.stop = Stop()
    with pytest.raises(Interrupted):
        far.apply()
    assert far.content() == set()
    assert not (far.mirror / ".incoming").exists()
    far.stop = None
    assert far.apply().report.outcomes == {"done": 3}


def test_an_import_that_is_killed_while_it_stages_shows_nothing_and_the_next_goes_on(far: Far) -> None:
    hook = (
        "import os, signal, mirrorsync.stores.layout.files as files\nold = files.grow_file\n"
        "def grow_file(*words):\n    path = old(*words)\n"
        "    if path.stat().st_size > 2_000_000: os.kill(os.getpid(), signal.SIGKILL)\n    return path\n"
        "files.grow_file = grow_file\n"
    )
    words = [sys.executable, "-P", "-c", hook + _CHILD, str(far.medium), str(far.mirror)]
    child = subprocess.run(words, env={**os.environ, "STATE_DIRECTORY": str(far.state)}, capture_output=True)
    assert child.returncode == -signal.SIGKILL
    assert far.content() == set()
    assert list(far.mirror.glob(".incoming/*"))
    assert far.apply().report.outcomes == {"done": 3}
    assert not (far.mirror / ".incoming").exists()
