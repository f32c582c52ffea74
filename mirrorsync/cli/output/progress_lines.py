"""Progress where there is no terminal: a line when copying starts, one every 30 seconds, and one at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from rich.filesize import decimal

from mirrorsync.cli.output.stdio import LogFormat
from mirrorsync.events import (
    BytesMoved,
    Event,
    Observer,
    Phase,
    PhaseAdvanced,
    PhaseStarted,
    ReadPlanned,
    TagSet,
    TransferPlanned,
)

PHASES: Final[Mapping[Phase, str]] = {
    "list": "listing tags",
    "resolve": "resolving sources",
    "observe": "checking destinations",
    "manifests": "reading manifests",
    "deltas": "making deltas",
    "apply": "copying",
}
READING: Final = "reading content"
# CI systems end jobs that are silent for some minutes, and people believe that a silent run hangs
# (containers/skopeo#658). A run that needs less than the first interval stays silent until it has something to copy.
FIRST_SECONDS: Final = 5.0
EVERY_SECONDS: Final = 30.0
# Above this number, a line for each image is only logged with -v.
_EACH_IMAGE: Final = 100


class Log(Protocol):
    """Writes one log line."""

    def __call__(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        """Write the line `text` with its fields."""


@dataclass(slots=True)
class _Counts:
    """What is done of the phase, and of the images and bytes that are copied.

    reading: the bytes are only read, to verify them. since: when that started, seconds.
    """

    phase: Phase = "resolve"
    items: int = 0
    items_done: int = 0
    images: int = 0
    images_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    since: float | None = None
    reading: bool = False

    def add(self, event: Event, now: float) -> None:
        """Count an event."""
        match event:
            case PhaseStarted(phase, total):
                self.phase, self.items, self.items_done = phase, total, 0
            case PhaseAdvanced(phase) if phase == self.phase:
                self.items_done += 1
            case TransferPlanned(size, images):
                self.bytes, self.bytes_done, self.images, self.since = size, 0, images, now
            case ReadPlanned(_, size):
                self.bytes, self.bytes_done, self.since, self.reading = size, 0, now, True
            case BytesMoved(_, size):
                self.bytes_done += size
            case TagSet():
                self.images_done += 1
            case _:
                pass

    @property
    def copying(self) -> bool:
        """Whether there is something to copy."""
        return bool(self.since is not None and (self.images or self.bytes) and not self.reading)


class Lines:
    """An observer that logs progress while its context is active, and passes other events to a logger of events.

    log: writes a line. events: the logger of events. each: log every image, however many there are. first, every:
    seconds to the first line, and between lines. clock: seconds, monotonic. Events come from several threads.
    """

    def __init__(
        self,
        log: Log,
        events: Observer,
        log_format: LogFormat,
        *,
        each: bool,
        first: float = FIRST_SECONDS,
        every: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._events = events
        self._shaped = _SHAPES[log_format]
        self._each = each
        self._first, self._every = first, every
        self._clock = clock
        self._counts = _Counts()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = (0.0, 0)  # when the last line was written, and the bytes then

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._counts.copying:
            self._log("info", "finished", self._shaped(self._finished()))

    def __call__(self, event: Event) -> None:
        """Count an event, and log it."""
        now = self._clock()
        with self._lock:
            self._counts.add(event, now)
            counts = self._counts
            hidden = isinstance(event, TagSet) and counts.images > _EACH_IMAGE and not self._each
        if isinstance(event, PhaseStarted) and self._thread is None:
            self._start()
        if isinstance(event, TransferPlanned | ReadPlanned):
            self._last = (now, 0)
            if counts.copying:
                self._log("info", "copying", self._shaped({"images": counts.images, "bytes": counts.bytes}))
        if not hidden:
            self._events(event)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads: progress is not worth a run
            self._thread = None

    def _beat(self) -> None:
        wait = self._first
        while not self._ended.wait(wait):
            wait = self._every
            self.report()

    def report(self) -> None:
        """Log how far the run is."""
        with self._lock:
            fields = self._progress(self._clock())
        self._log("info", "progress", self._shaped(fields))

    def _progress(self, now: float) -> dict[str, Any]:
        counts = self._counts
        if counts.reading:
            fields: dict[str, Any] = {"phase": READING}
        elif counts.copying:
            fields = {"phase": PHASES["apply"], "images_done": counts.images_done, "images": counts.images}
        else:
            return {"phase": PHASES[counts.phase], "done": counts.items_done, "total": counts.items}
        if counts.bytes:
            before, moved = self._last
            rate = (counts.bytes_done - moved) / max(now - before, 0.001)
            self._last = (now, counts.bytes_done)
            fields |= {"bytes_done": counts.bytes_done, "bytes": counts.bytes, "bytes_per_second": round(rate)}
            # The whole run so far says more about the rest than the last interval, which may be one slow blob.
            average = counts.bytes_done / max(now - (counts.since or now), 0.001)
            if average > 0:
                fields["seconds_left"] = round(max(counts.bytes - counts.bytes_done, 0) / average)
        return fields

    def _finished(self) -> dict[str, Any]:
        counts = self._counts
        seconds = self._clock() - (counts.since or 0.0)
        fields = {"images_done": counts.images_done, "images": counts.images, "bytes_done": counts.bytes_done}
        return fields | {"bytes": counts.bytes, "seconds": round(seconds, 1)}


def _for_people(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as they are read: `images=12/56 bytes="310.0 MB/1.3 GB" rate="10.2 MB/s" left=1:40`."""
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        match name:
            case "images_done" | "bytes_done":
                continue
            case "done":
                shown["done"] = f"{value}/{fields['total']}"
            case "total":
                continue
            case "images" | "bytes":
                whole = decimal(value) if name == "bytes" else str(value)
                part = fields.get(f"{name}_done")
                done = "" if part is None else f"{decimal(part) if name == 'bytes' else part}/"
                shown[name] = done + whole
            case "bytes_per_second":
                shown["rate"] = f"{decimal(value)}/s"
            case "seconds_left":
                shown["left"] = _duration(value)
            case _:
                shown[name] = value
    return shown


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


_SHAPES: Final[Mapping[LogFormat, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {"text": _for_people, "json": dict}
