"""Read every byte of a bundle's parts once, and say which members are damaged, and which images they hold up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, NamedTuple, Protocol

from mirrorsync.bundle.findings import Checked, Damage, Finding, Present, with_images
from mirrorsync.bundle.layout import END, Entry, Layout
from mirrorsync.bundle.model import Member
from mirrorsync.errors import StorageError
from mirrorsync.events import BytesMoved, Observer
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.hashing import hashing
from mirrorsync.stores.bundle.found import Found
from mirrorsync.stores.bundle.part import PartFile, ReadsAt, why_unreadable

# While reading waits for where the bytes go, so many members are read at a time, and so many are begun or read before
# the oldest is: one large blob does not stop the others.
_STREAMS: Final = 4
_AHEAD: Final = 64

# Is given the part that bytes were read of, and their number; may raise.
Watch = Callable[[PartFile, int], object]


class Sink(Protocol):
    """What gets the bytes of a member while they are verified, so that they need not be read again."""

    def write(self, data: bytes) -> None:
        """Take more bytes."""

    def keep(self) -> None:
        """Hear that all of them were right; what was not told this has to be forgotten."""


class Tap(Protocol):
    """What gets the bytes of members while they are verified."""

    def open(self, member: Member) -> AbstractContextManager[Sink]:
        """Open where the bytes of a member go, for one thread."""

    @property
    def waits(self) -> bool:
        """Whether reading waits for where the bytes go: then it is faster to read several members at a time."""


class Untapped:
    """Lets the bytes go nowhere."""

    waits = False

    def open(self, _: Member) -> AbstractContextManager[Sink]:
        """Open nowhere."""
        return nullcontext(_Nowhere())


UNTAPPED: Final = Untapped()


class _Nowhere:
    def write(self, data: bytes) -> None:
        pass

    def keep(self) -> None:
        pass


def reporting(observer: Observer, heed: Callable[[], object]) -> Watch:
    """Return a watch that announces what is read. heed: is called for every chunk, and may raise."""

    def watch(part: PartFile, size: int) -> None:
        heed()
        observer(BytesMoved(part.digest, size))

    return watch


def check_bundle(found: Found, watch: Watch = lambda _, __: None, tap: Tap = UNTAPPED) -> Checked:
    """Read the parts that are here, each once and in order, and say what is wrong with them. Blocking.

    A member that cannot be read does not stop the others. tap: gets what is read.
    """
    bad: dict[int, frozenset[str]] = {}
    unread: dict[int, frozenset[str]] = {}
    findings = list(found.findings)
    size = 0
    for number, part in sorted(found.parts.items()):
        check = PartCheck(part, partial(watch, part), tap)
        check.run()
        size += check.size
        findings += check.findings
        bad[number], unread[number] = frozenset(check.bad), frozenset(check.unread)
    present = Present(frozenset(found.parts), bad, unread)
    return Checked(found.bundle, present, with_images(found.bundle, present, findings), len(found.parts), size)


class PartCheck:
    """One pass over a part. bad: the members that are not good; unread: those of them that could not be read.

    size: the bytes that were read.
    """

    def __init__(self, part: PartFile, watch: Callable[[int], object], tap: Tap = UNTAPPED) -> None:
        self._part = part
        self._watch = watch
        self._tap = tap
        self.findings: list[Finding] = []
        self.bad: set[str] = set()
        self.unread: set[str] = set()
        self._good: set[str] = set()
        self.size = 0

    def run(self) -> None:
        """Read all of it."""
        try:
            with self._part.opened() as reader:
                self._read_all(reader)
        except StorageError as error:
            # Its head cannot be read, so that the places of its members are not known, or the medium is gone.
            self.unread.update(one.name for one in self._part.members if one.name not in self.bad | self._good)
            self.bad |= self.unread
            self._found(Damage.UNREADABLE, why_unreadable(error))

    def _read_all(self, reader: ReadsAt) -> None:
        places = self._part.layout_of(reader)
        # One at a time as long as the medium is the slow side: disks and optical media lose by reading here and there.
        with ThreadPoolExecutor(_STREAMS, thread_name_prefix="verify") as threads:
            coming, reading = deque(places.entries), deque[tuple[Entry, Future[_Read]]]()
            while coming or reading:
                while coming and len(reading) < _AHEAD and self._tap.waits:
                    entry = coming.popleft()
                    reading.append((entry, threads.submit(self._same, reader, entry)))
                if reading:
                    entry, outcome = reading.popleft()
                    goes_on = self._judge(entry, outcome.result, places)
                else:
                    entry = coming.popleft()
                    goes_on = self._judge(entry, partial(self._same, reader, entry), places)
                if not goes_on:
                    return
        self._end(reader, places)

    def _judge(self, entry: Entry, read: Callable[[], _Read], places: Layout) -> bool:
        """Say what is wrong with a member; return whether the part goes on after it."""
        name = entry.member.name
        try:
            found = read()
        except (OSError, StorageError) as error:
            self._part.check_there()
            self.unread.add(name)
            self._bad(Damage.UNREADABLE, why_unreadable(error), name)
            return True
        self.size += found.size
        if found.size < entry.end - entry.offset:
            self._cut(entry, places)
            return False
        if not found.same:
            self._bad(Damage.DAMAGED, "its bytes are not those that the document names", name)
        else:
            self._good.add(name)
        return True

    def _same(self, reader: ReadsAt, entry: Entry) -> _Read:
        """Read a member up to its end, or up to the end of the file."""
        head = self._read(reader, entry.offset, len(entry.header))
        position, stop = entry.start, entry.start + entry.member.size
        with hashing(entry.member.digest, entry.member.size) as hasher, self._tap.open(entry.member) as sink:
            while position < stop:
                chunk = self._read(reader, position, min(CHUNK_BYTES, stop - position))
                if not chunk:
                    return _Read(len(head) + position - entry.start, same=False)
                hasher.update(chunk)
                sink.write(chunk)
                position += len(chunk)
                reader.passed(position)
            tail = self._read(reader, stop, entry.end - stop)
            reader.passed(entry.end)
            found = head == entry.header and hasher.hexdigest() == entry.member.digest.encoded
            same = found and len(tail) == entry.end - stop and not tail.strip(b"\0")
            if same:
                sink.keep()
            return _Read(len(head) + entry.member.size + len(tail), same)

    def _read(self, reader: ReadsAt, offset: int, size: int) -> bytes:
        data = reader.read_at(offset, size) if size else b""
        self._watch(len(data))
        return data

    def _end(self, reader: ReadsAt, places: Layout) -> None:
        try:
            found = self._read(reader, places.size - len(END), len(END) + 1)
            self.size += len(found)
        except (OSError, StorageError) as error:
            self._found(Damage.UNREADABLE, why_unreadable(error))
            return
        if len(found) < len(END):
            self._found(Damage.TRUNCATED, f"it ends after {places.size - len(END) + len(found)} of {places.size} bytes")
        elif found != END:
            more = "it goes on after its end" if len(found) > len(END) else "its last blocks are not zeros"
            self._found(Damage.DAMAGED, more)

    def _cut(self, entry: Entry, places: Layout) -> None:
        self.bad.update(one.member.name for one in places.entries if one.offset >= entry.offset)
        message = f"it ends after {self.size} of {places.size} bytes"
        self._found(Damage.TRUNCATED, message, entry.member.name)

    def _bad(self, damage: Damage, message: str, member: str) -> None:
        self.bad.add(member)
        self._found(damage, message, member)

    def _found(self, damage: Damage, message: str, member: str = "") -> None:
        self.findings.append(Finding(damage, self._part.path.name, message, self._part.number, member))


class _Read(NamedTuple):
    """What was read of a member with its header and padding: how many bytes, and whether it is as it should be."""

    size: int
    same: bool
