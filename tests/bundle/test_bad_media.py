"""Bad media: whatever is done to the files of a bundle is found, named, and keeps back only what depends on it.

Every byte of a small bundle is flipped. What a mutation did is judged by the destination: it has no content that is not
in the bundle, the images that are held up are not visible, and no content was copied before all parts were read.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mirrorsync.app.bundle.applying import apply_bundle
from mirrorsync.app.history import read_imports
from mirrorsync.bundle.findings import HARMLESS, Checked, Damage
from mirrorsync.bundle.layout import layout
from mirrorsync.bundle.model import Member
from mirrorsync.cli.output.bundles import checked_summary, finding_lines, waiting_lines
from mirrorsync.cli.output.render import failure_lines
from mirrorsync.environment import Environment
from mirrorsync.errors import ExitCode, Malformed, StalePlan
from mirrorsync.events import BlobStarted, BytesMoved, Event, Retrying, TransferPlanned
from mirrorsync.stores.bundle import UNTAPPED, BundleStore, Sink, check_bundle, find_bundle
from mirrorsync.stores.bundle.part import FileReader
from mirrorsync.sync.bundle.imported import Imported
from tests.parts.bundles import pack
from tests.parts.images import artifact, image, index, layer, noise

PLAIN = index([image([layer({"a": b"1"}, compress=False)[:200]]), image([layer({"b": b"2"})])])
CUT = image([noise("cut", 1500)])
IMAGES = {"app:1": PLAIN, "app": artifact(PLAIN, b"an sbom"), "cut:1": CUT, "other:1": image([noise("other", 700)])}
PACKED = pack(IMAGES, part_size=1000)
OTHER = pack({"app:1": image([noise("another", 500)]), "cut:1": CUT}, part_size=1000)
PARTS = [part.name for part in PACKED.bundle.parts]
BLOBS = {digest[7:] for made in IMAGES.values() for digest in made.all_blobs()}
MANIFESTS = {manifest.digest[7:] for made in IMAGES.values() for manifest in made.manifests()}


@dataclass(frozen=True)
class Mutation:
    """Something done to a medium. damage: what it must be reported as. file: the name that must be in the report."""

    name: str
    do: Callable[[Path], object]
    damage: Damage
    file: str


def _swap(directory: Path, one: str, other: str) -> None:
    (directory / one).rename(directory / "aside")
    (directory / other).rename(directory / one)
    (directory / "aside").rename(directory / other)


def _cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda directory: os.truncate(directory / name, size)


def _flip(name: str, at: int) -> Callable[[Path], None]:
    def do(directory: Path) -> None:
        data = bytearray((directory / name).read_bytes())
        data[at] ^= 0x40
        (directory / name).write_bytes(data)

    return do


def _written(name: str, content: bytes) -> Callable[[Path], int]:
    return lambda directory: (directory / name).write_bytes(content)


def _dropped(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def _renamed(name: str) -> Callable[[Path], Path]:
    return lambda directory: (directory / name).rename(directory / "x.tar")


def _append(directory: Path) -> None:
    with (directory / PARTS[0]).open("ab") as file:
        file.write(bytes(512))


def mutations() -> Iterator[Mutation]:
    """Yield what may become of a medium, but for the flips of single bytes, which have their own test."""
    for number, name in enumerate(PARTS, 1):
        places = layout(PACKED.bundle, number, PACKED.document)
        yield Mutation(f"drop {name}", _dropped(name), Damage.MISSING, name)
        yield Mutation(f"rename {name}", _renamed(name), Damage.RENAMED, "x.tar")
        yield Mutation(f"duplicate {name}", _written("copy.tar", PACKED.part(number)), Damage.DUPLICATE, "copy.tar")
        for entry in places.entries if number in (1, 3) else ():
            for size in {entry.offset, entry.offset + 100, entry.start + entry.member.size // 2}:
                yield Mutation(f"cut {name} at {size}", _cut(name, size), Damage.TRUNCATED, name)
        for size in (places.size - 1024, places.size - 512, places.size - 1):
            yield Mutation(f"cut {name} at {size}", _cut(name, size), Damage.TRUNCATED, name)
    for number, mixed in enumerate(PARTS[: len(OTHER.bundle.parts)], 1):
        yield Mutation(f"mix {mixed}", _written(mixed, OTHER.part(number)), Damage.MIXED, mixed)
    yield Mutation("swap", lambda at: _swap(at, PARTS[0], PARTS[-1]), Damage.RENAMED, PARTS[0])
    yield Mutation("append", _append, Damage.DAMAGED, PARTS[0])


def checked(directory: Path) -> Checked:
    return check_bundle(find_bundle(directory))


def test_every_byte_that_is_flipped_is_found_in_its_member(tmp_path: Path) -> None:
    tiny = pack({"a:1": image([b"a layer"])})
    name = tiny.bundle.parts[0].name
    path = tiny.write(tmp_path) / name
    found, places, whole = find_bundle(tmp_path), layout(tiny.bundle, 1, tiny.document), path.read_bytes()
    document = places.entries[1]
    tried = 0
    with path.open("r+b", buffering=0) as file:
        for at in range(len(whole)):
            if at % (97 if document.start < at < document.end else 3):
                continue  # content is compared in one piece; every byte was tried once
            os.pwrite(file.fileno(), bytes([whole[at] ^ 0x10]), at)
            findings = check_bundle(found).findings
            os.pwrite(file.fileno(), whole[at : at + 1], at)
            member = next((one.member.name for one in places.entries if one.offset <= at < one.end), "")
            assert [(one.damage, one.file, one.member) for one in findings] == [(Damage.DAMAGED, name, member)], at
            assert bool(findings[0].images) == member.startswith("blobs/"), at
            tried += 1
    assert tried > 1500
    assert check_bundle(found).findings == ()
    print(f"flipped bytes: {tried} tried, {tried} found")


class Far:
    """A far side, with the events of its imports."""

    def __init__(self, directory: Path) -> None:
        self.mirror = directory / "mirror"
        self.events: list[Event] = []
        self.environment = Environment(state_directory=directory / "state", observer=self.events.append)

    def apply(self, medium: Path) -> set[str]:
        """Import a medium; return the images that became visible. Nothing is copied before all parts were read."""
        self.events.clear()
        done = asyncio.run(apply_bundle(medium, [f"oci:{self.mirror}"], environment=self.environment))
        moved = [at for at, one in enumerate(self.events) if isinstance(one, BytesMoved)]
        reading = [at for at in moved if getattr(self.events[at], "digest", "") in _PART_DIGESTS]
        copying = [at for at, one in enumerate(self.events) if isinstance(one, BlobStarted)]
        assert not copying or not reading or copying[0] > reading[-1]
        visible = [one.change for one in done.report.results if one.outcome in _VISIBLE]
        return {f"{change.target.repository}:{change.tag}" for change in visible if change.tag}

    def content(self) -> set[str]:
        """Return the names of the files with content, each of which has its digest."""
        found = set()
        for path in (self.mirror / "blobs/sha256").glob("*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
            found.add(path.name)
        return found


_VISIBLE = ("done", "unchanged")
_PART_DIGESTS = {part.digest for part in (*PACKED.bundle.parts, *OTHER.bundle.parts)}


def test_whatever_is_done_to_files_is_named_and_only_what_depends_on_it_waits(tmp_path: Path) -> None:
    tagged = {key for key in IMAGES if ":" in key}
    tried = imported = 0
    for number, mutation in enumerate(mutations()):
        medium = PACKED.write(tmp_path / f"medium{number}")
        mutation.do(medium)
        result = checked(medium)
        assert (mutation.damage, mutation.file) in {(one.damage, one.file) for one in result.findings}, mutation.name
        assert bool(result.held_up) == any(one.damage not in HARMLESS and one.images for one in result.findings)
        tried += 1
        if tried % 12 and mutation.damage not in (Damage.MIXED, Damage.MISSING):
            continue  # an import takes ten times as long
        far = Far(tmp_path / f"far{number}")
        visible = far.apply(medium)
        imported += 1
        assert visible == tagged - set(result.held_up), mutation.name
        assert far.content() <= BLOBS | MANIFESTS, mutation.name
        # The damage is repaired: the rest arrives.
        assert far.apply(PACKED.write(tmp_path / f"whole{number}")) == tagged, mutation.name
        assert far.content() == BLOBS | MANIFESTS
    assert tried > 60
    print(f"media: {tried} mutations tried, {tried} found, {imported} imported, 0 pushes before all was read")


class Together:
    """A tap that is slower than the medium: the first two members go on only when both are open."""

    waits = True

    def __init__(self) -> None:
        self._both = threading.Barrier(2, timeout=60)
        self._first = iter((True, True))

    @contextmanager
    def open(self, member: Member) -> Iterator[Sink]:
        if next(self._first, False):
            self._both.wait()
        with UNTAPPED.open(member) as nowhere:
            yield nowhere


def test_members_are_read_at_the_same_time_if_reading_waits_and_the_same_is_found(tmp_path: Path) -> None:
    for number, mutation in enumerate(mutations()):
        medium = PACKED.write(tmp_path / str(number))
        mutation.do(medium)
        found = find_bundle(medium)
        assert check_bundle(found, tap=Together()) == check_bundle(found), mutation.name


class Failing(FileReader):
    """A medium that cannot be read at some offsets of one file."""

    name, begin, end = "", 0, 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def read_at(self, offset: int, size: int) -> bytes:
        if self._path.name == self.name and offset < self.end and self.begin < offset + size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read_at(offset, size)


def test_a_member_that_cannot_be_read_is_named_and_all_others_are_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = PACKED.write(tmp_path)
    for number, name in enumerate(PARTS, 1):
        for entry in layout(PACKED.bundle, number, PACKED.document).entries[3:]:
            monkeypatch.setattr(Failing, "name", name)
            monkeypatch.setattr(Failing, "begin", entry.start)
            monkeypatch.setattr(Failing, "end", entry.start + 1)
            found = find_bundle(medium, Failing)
            result = check_bundle(found)
            (one,) = result.findings
            assert (one.damage, one.file, one.member) == (Damage.UNREADABLE, name, entry.member.name)
            assert one.message == "Input/output error"
            assert result.exit_code == ExitCode.PARTLY
            store = BundleStore(medium, found=found, present=result.present)
            waits = [store.why_not(lost) for lost in PACKED.bundle.objects if not result.present.carries(lost)]
            assert all(f"{one.member} of {name} cannot be read" in why for why in waits)
    # Nothing can be read from the head of the last part on: one cause, told once.
    monkeypatch.setattr(Failing, "begin", 0)
    result = check_bundle(find_bundle(medium, Failing))
    assert finding_lines(result.findings, whole=False) == [
        f"unreadable: {PARTS[-1]}: Input/output error (1 image cannot be imported: other:1)"
    ]
    # The signatures are in every part.
    for number, name in enumerate(PARTS, 1):
        (medium / name).write_bytes(PACKED.part(number, [b"a signature"]))
    monkeypatch.setattr(Failing, "name", PARTS[0])
    assert find_bundle(medium, Failing).signatures() == [b"a signature"]


class Pulled:
    """A far side, and a medium to which something happens while it is read: at the first event of a kind."""

    def __init__(self, directory: Path, happen: Callable[[Path], object], when: Callable[[Event], bool]) -> None:
        self.medium = PACKED.write(directory / "usb")
        self._happen: Callable[[Path], object] | None = happen
        self._when = when
        self.far = Far(directory)
        self.far.environment = replace(self.far.environment, observer=self._observe)

    def _observe(self, event: Event) -> None:
        assert not isinstance(event, Retrying)  # nothing on a medium gets better by that
        if self._happen is not None and self._when(event):
            happen, self._happen = self._happen, None
            happen(self.medium)

    def apply(self) -> Imported:
        return asyncio.run(apply_bundle(self.medium, [f"oci:{self.far.mirror}"], environment=self.far.environment))

    def lines(self) -> tuple[int, list[str]]:
        """Import the medium; return the exit code, and what is told of its files and of images that failed."""
        done = self.apply()
        told = finding_lines(done.damage, whole=True) + failure_lines(done.report.failures)
        assert not [line for line in (*told, *waiting_lines(done, whole=True)) if "damaged" in line]
        return done.exit_code, [line for line in told if not line.startswith("  ")]


def _away(medium: Path) -> Path:
    return medium.rename(medium.with_name("away"))


def test_a_medium_that_is_pulled_away_while_it_is_verified_is_unreadable_and_not_damaged(tmp_path: Path) -> None:
    usb = Pulled(tmp_path, _away, lambda event: isinstance(event, BytesMoved))
    code, (told, failed) = usb.lines()
    assert code == ExitCode.PARTLY
    assert told.startswith(f"unreadable: {', '.join(PARTS[1:])}: it is not there any more (2 images")
    assert f"{usb.medium} cannot be read any more: No such file or directory" in failed
    usb.medium.with_name("away").rename(usb.medium)
    assert usb.apply().exit_code == ExitCode.DONE


def test_a_medium_that_is_pulled_away_after_it_was_verified_is_reported_once(tmp_path: Path) -> None:
    usb = Pulled(tmp_path, _away, lambda event: isinstance(event, TransferPlanned))
    code, (told,) = usb.lines()
    assert code == ExitCode.FAILED
    assert told.endswith(f"{usb.medium} cannot be read any more: No such file or directory ({len(IMAGES)} images)")
    assert all(f"{usb.far.mirror}:{key}" in told for key in IMAGES)


def test_a_part_that_becomes_shorter_after_it_was_verified_is_truncated_and_read_once(tmp_path: Path) -> None:
    usb = Pulled(tmp_path, _cut(PARTS[0], 100), lambda event: isinstance(event, TransferPlanned))
    code, (told,) = usb.lines()
    assert code == ExitCode.INTEGRITY
    whole = layout(PACKED.bundle, 1, PACKED.document).size
    assert f"{PARTS[0]} is truncated: it has 100 of {whole} bytes" in told
    assert f"{usb.far.mirror}:app:1" in told


def test_a_damaged_document_is_read_from_a_part_and_a_foreign_one_is_not_mixed_in(tmp_path: Path) -> None:
    medium = PACKED.write(tmp_path)
    document = medium / f"{PACKED.bundle.stem}.json"
    _flip(document.name, 300)(medium)
    result = checked(medium)
    assert finding_lines(result.findings, whole=False) == ["damaged: shop-000001.json: is not JSON"]
    document.unlink()
    document.symlink_to(PARTS[0])
    result = checked(medium)
    assert [(one.damage, one.file) for one in result.findings] == [(Damage.UNREADABLE, document.name)]
    document.unlink()
    document.write_bytes(pack(IMAGES, part_size=1000, created="2026-11-27T00:00:00Z").document)
    result = checked(medium)
    assert [(one.damage, one.file) for one in result.findings] == [(Damage.MIXED, name) for name in PARTS]
    assert not result.present.parts
    for path in medium.iterdir():
        path.write_bytes(b"{}")
    with pytest.raises(Malformed):
        checked(medium)


def test_a_part_whose_name_a_part_of_another_bundle_has_is_here_all_the_same(tmp_path: Path) -> None:
    medium = PACKED.write(tmp_path)
    (medium / PARTS[0]).rename(medium / "MIRROR~1.TAR")  # as FAT writes names without long ones
    (medium / PARTS[0]).write_bytes(OTHER.part(1))
    result = checked(medium)
    assert [(one.damage, one.file) for one in result.findings] == [(Damage.RENAMED, "MIRROR~1.TAR")]
    assert result.exit_code == ExitCode.DONE


def test_a_part_that_is_named_counts_whatever_its_name_is(tmp_path: Path) -> None:
    tiny = pack({"a:1": image([b"a layer"])})
    path = (tiny.write(tmp_path) / tiny.bundle.parts[0].name).rename(tmp_path / "download")
    result = checked(path)
    assert [(one.damage, one.file) for one in result.findings] == [(Damage.RENAMED, "download")]
    assert [one.damage for one in checked(tmp_path).findings] == [Damage.MISSING]


def test_what_cannot_be_read_of_a_document_or_a_directory_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = PACKED.write(tmp_path)
    monkeypatch.setattr(Failing, "name", f"{PACKED.bundle.stem}.json")
    monkeypatch.setattr(Failing, "begin", 100)
    monkeypatch.setattr(Failing, "end", 200)
    result = check_bundle(find_bundle(medium, Failing))
    assert finding_lines(result.findings, whole=False) == [f"unreadable: {Failing.name}: Input/output error"]
    assert result.exit_code == ExitCode.PARTLY
    assert checked_summary(result).startswith("all images of shop-000001 can be imported, but not all of its files are")
    is_file = Path.is_file

    def unknown(path: Path) -> bool:
        if path.name == PARTS[0]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", unknown)
    assert checked(medium).findings == ()


def test_renamed_parts_are_compared_with_few_others(tmp_path: Path) -> None:
    packed = pack({f"app:{number}": image([noise(f"{number}", 300 * number)]) for number in range(12)}, part_size=500)
    for number, path in enumerate(sorted(packed.write(tmp_path).glob("*.tar"))):
        path.rename(tmp_path / f"PART{number:04}.TAR".lower())
    opened: list[Path] = []

    def opener(path: Path) -> FileReader:
        opened.append(path)
        return FileReader(path)

    parts = find_bundle(tmp_path, opener).parts
    assert len(parts) == len(packed.bundle.parts) > 30
    assert len(opened) < 15 * len(parts)


def test_an_old_bundle_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    far = Far(tmp_path)
    far.apply(pack({"app:1": PLAIN}, sequence=2).write(tmp_path / "new"))
    before = far.content()
    with pytest.raises(StalePlan):
        far.apply(PACKED.write(tmp_path / "old"))
    assert far.content() == before
    assert not far.events


_CHILD = """
import sys
from mirrorsync.cli.main import main
main(["bundle", "apply", sys.argv[1], "--to", f"oci:{sys.argv[2]}", "--quiet"])
"""


def test_a_full_disk_at_the_destination_loses_nothing_and_the_next_import_goes_on(tmp_path: Path) -> None:
    # The largest one is written while it is verified, and the other one afterwards.
    images = {"large:1": image([noise("large", 300_000)]), "larger:1": image([noise("larger", 1_500_000)])}
    large = pack({"small:1": image([b"small"]), **images})
    medium, far = large.write(tmp_path / "usb"), Far(tmp_path)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    words = [sys.executable, "-P", "-c", _CHILD, str(medium), str(far.mirror)]
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
    done = subprocess.run(words, env=environment, preexec_fn=limit, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert "the file would exceed the size limit" in done.stderr
    made = image([b"small"])
    assert far.content() >= {made.digest[7:], *(digest[7:] for digest in made.blobs)}
    assert len(list(far.mirror.glob(".incoming/*"))) == 0
    assert far.apply(medium) == {"small:1", *images}


def test_an_import_that_is_killed_at_any_write_goes_on(tmp_path: Path) -> None:
    medium, far = PACKED.write(tmp_path / "usb"), Far(tmp_path)
    killed = 0
    for number in (1, 4, 9, 16):
        # The child kills itself when it opens its Nth new file.
        hook = (
            "import os, signal, sys, mirrorsync.files.disk as disk\nleft = [int(sys.argv[3])]\nold = disk.new_file\n"
            "def new_file(*words):\n    left[0] -= 1\n    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return old(*words)\ndisk.new_file = new_file\n"
        )
        words = [sys.executable, "-P", "-c", hook + _CHILD, str(medium), str(far.mirror), str(number)]
        environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
        child = subprocess.run(words, env=environment, capture_output=True, timeout=120)
        killed += child.returncode == -signal.SIGKILL
        far.content()
    assert killed >= 2
    # The first new file of all shows whether an import can be remembered; that one has not begun yet.
    assert [one.finished for one in read_imports(environment=far.environment)].count(None) == killed - 1
    assert far.apply(medium) == {key for key in IMAGES if ":" in key}
    assert far.content() == BLOBS | MANIFESTS
