"""Destinations get the large blobs of a bundle while they are verified, and show none before all was read.

A directory has them under temporary names, a registry in uploads that are not closed. Blobs up to 1 MiB are copied
afterwards: test_bad_media.py and test_apply.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.bundle.applying import Rules, apply_bundle
from mirrorsync.app.history import read_imports
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.layout import layout
from mirrorsync.bundle.model import blob_name
from mirrorsync.environment import Environment
from mirrorsync.errors import ExitCode, Interrupted
from mirrorsync.events import BlobStarted, BytesMoved, Event
from mirrorsync.hosts import HostSettings
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.bundle.part import FileReader
from mirrorsync.sync.bundle.imported import Imported
from tests.parts.bundles import pack
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, noise

FIRST, SECOND = image([noise("first", 1_300_000)]), image([noise("second", 2_500_000)])
SMALL = image([noise("small", 500)])
PACKED = pack({"first:1": FIRST, "second:1": SECOND, "small:1": SMALL})
(PART,) = (part.name for part in PACKED.bundle.parts)
PLACES = {entry.member.name: entry for entry in layout(PACKED.bundle, 1, PACKED.document).entries}
(LAYER,) = (digest for digest, data in SECOND.blobs.items() if len(data) > 1_000_000)
PLACE = PLACES[blob_name(Digest(LAYER))]
CONTENT = {one.removeprefix("sha256:") for made in (FIRST, SECOND, SMALL) for one in made.all_blobs()}
CONTENT |= {one.digest.removeprefix("sha256:") for one in (FIRST, SECOND, SMALL)}


# Applies a bundle at a destination, both given as arguments.
_CHILD = """
import sys
from mirrorsync.cli.main import main
main(["bundle", "apply", sys.argv[1], "--to", sys.argv[2], "--tls-verify=false", "--quiet"])
"""


class Mirror:
    """A directory as a destination."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = f"oci:{path}"

    def content(self) -> set[str]:
        """Return the names of all files but those that every layout has."""
        files = {path.name for path in self.path.rglob("*") if path.is_file() and path.parent.name != ".incoming"}
        return files - {"oci-layout", "index.json"}

    def staged(self) -> list[Path]:
        """Return what is left of blobs that are not published."""
        return list(self.path.glob(".incoming"))


class RegistryMirror(Mirror):
    """A docker-registry as a destination."""

    def __init__(self, server: DockerRegistry) -> None:
        super().__init__(server.storage)
        self.address = f"{server.host}/m"

    def content(self) -> set[str]:
        """Return the digests of all content in its storage."""
        return {path.parent.name for path in self.path.rglob("blobs/sha256/*/*/data")}

    def staged(self) -> list[Path]:
        """Return the data of uploads that are neither closed nor cancelled."""
        return list(self.path.rglob("_uploads/*/data"))

    def forget(self) -> None:
        """Lose the uploads, as a registry does that cleans up."""
        for path in self.staged():
            shutil.rmtree(path.parent)


class Far:
    """A far side with a destination, and what it sees there while it reads a medium."""

    def __init__(self, directory: Path, mirror: Mirror) -> None:
        self.mirror = mirror
        self.medium = PACKED.write(directory / "usb")
        self.state = directory / "state"
        self.seen: set[str] = set()
        self.sent: set[str] = set()
        self.read = 0
        self.stop: Stop | None = None
        self.before_copies: Callable[[], None] | None = None

    def observe(self, event: Event) -> None:
        if isinstance(event, BytesMoved) and event.digest == PACKED.bundle.parts[0].digest:
            self.seen |= self.mirror.content()
            self.sent |= {path.name for path in self.mirror.staged()}
            self.read += event.size
            if self.stop is not None and self.read > 2_600_000:
                self.stop.stop()
        if isinstance(event, BlobStarted) and self.before_copies is not None:
            self.before_copies()
            self.before_copies = None

    def apply(self, *others: Mirror, **rules: Any) -> Imported:
        targets = [mirror.address for mirror in (self.mirror, *others)]
        hosts = {address.removesuffix("/m"): HostSettings(plain_http=True) for address in targets}
        environment = Environment(hosts, state_directory=self.state, observer=self.observe)
        return asyncio.run(apply_bundle(self.medium, targets, Rules(**rules), environment=environment, stop=self.stop))

    def change(self, at: int, data: bytes) -> None:
        with (self.medium / PART).open("r+b") as file:
            os.pwrite(file.fileno(), data, at)


@pytest.fixture(params=["directory", "registry"])
def far(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Far]:
    if request.param == "directory":
        yield Far(tmp_path, Mirror(tmp_path / "mirror"))
        return
    with DockerRegistry(tmp_path / "registry") as server:
        yield Far(tmp_path, RegistryMirror(server))


def test_large_blobs_are_read_once_for_all_destinations_and_visible_only_after_all_was_read(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(FileReader, "read_at", _counting(FileReader.read_at, read))
    second = Mirror(tmp_path / "second")
    done = far.apply(second)
    assert done.report.outcomes == {"done": 6}
    assert far.seen == set()
    assert far.sent
    assert far.mirror.content() == second.content() == CONTENT
    assert sum(read) < 1.2 * (far.medium / PART).stat().st_size
    assert done.report.counts.bytes_read == sum(
        len(data) for one in (FIRST, SECOND, SMALL) for data in one.blobs.values()
    )
    assert far.mirror.staged() == []
    before = len(read)
    assert far.apply().report.outcomes == {"unchanged": 3}
    assert sum(read[before:]) < 1.1 * (far.medium / PART).stat().st_size


def test_nothing_is_sent_before_all_was_verified_if_that_is_asked_for(far: Far) -> None:
    assert far.apply(stage=False).report.outcomes == {"done": 3}
    assert far.seen == far.sent == set()
    assert far.mirror.content() == CONTENT


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
def test_a_blob_that_is_damaged_anywhere_never_becomes_one_of_the_destination(far: Far, at: int) -> None:
    far.change(at, b"\xff")
    done = far.apply()
    assert [one.member for one in done.damage] == [PLACE.member.name]
    assert done.report.outcomes["done"] == 2
    assert LAYER[7:] not in far.mirror.content()
    assert far.mirror.content() >= {FIRST.digest[7:], *(digest[7:] for digest in FIRST.blobs)}
    assert far.mirror.staged() == []
    far.change(at, (PACKED.part(1))[at : at + 1])
    assert far.apply().report.outcomes == {"done": 1, "unchanged": 2}
    assert LAYER[7:] in far.mirror.content()


def test_an_import_that_is_stopped_while_it_reads_leaves_nothing(far: Far) -> None:
    """But for the one upload that was cut off, which docker-registry cannot cancel: it removes it after a week."""
    far.stop = Stop()
    with pytest.raises(Interrupted):
        far.apply()
    (told,) = read_imports(environment=Environment(state_directory=far.state))
    assert (told.exit_code, told.error, told.counts) == (ExitCode.INTERRUPTED, "the run was interrupted", {})
    assert far.mirror.content() == set()
    assert len(far.mirror.staged()) <= isinstance(far.mirror, RegistryMirror)
    far.stop = None
    assert far.apply().report.outcomes == {"done": 3}


def test_what_a_registry_has_lost_of_staged_blobs_is_copied(tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "registry") as server:
        mirror = RegistryMirror(server)
        far = Far(tmp_path, mirror)
        far.before_copies = mirror.forget
        done = far.apply()
        assert far.before_copies is None
        assert done.report.outcomes == {"done": 3}
        assert mirror.content() == CONTENT


def test_a_second_import_asks_for_each_tag_and_before_it_reads_only_for_those_with_large_blobs(
    fresh_registry: DockerRegistry, tmp_path: Path
) -> None:
    far = Far(tmp_path, RegistryMirror(fresh_registry))
    far.apply()
    fresh_registry.new_requests()
    assert far.apply().report.outcomes == {"unchanged": 3}
    asked = Counter(one.path for one in fresh_registry.new_requests() if one.path != "/v2/")
    assert asked == {"/v2/m/first/manifests/1": 2, "/v2/m/second/manifests/1": 2, "/v2/m/small/manifests/1": 1}


def test_an_import_that_is_killed_while_it_stages_shows_nothing_and_the_next_goes_on(far: Far) -> None:
    hook = (
        "import os, signal\n"
        "import mirrorsync.stores.layout.files as files, mirrorsync.stores.registry.upload as upload\n"
        "def killing(old):\n"
        "    def staged(self, *words):\n        old(self, *words)\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return staged\n"
        "files.LayoutFiles.stage = killing(files.LayoutFiles.stage)\n"
        "upload.Upload.stage = killing(upload.Upload.stage)\n"
    )
    words = [sys.executable, "-P", "-c", hook + _CHILD, str(far.medium), far.mirror.address]
    child = subprocess.run(words, env={**os.environ, "STATE_DIRECTORY": str(far.state)}, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert far.mirror.content() == set()
    assert far.mirror.staged()
    assert far.apply().report.outcomes == {"done": 3}
    assert far.mirror.content() == CONTENT
