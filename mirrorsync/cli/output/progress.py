"""Progress bars on a terminal: one for the phase, one for all bytes, one for each large blob being copied."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from mirrorsync.cli.output.progress_lines import PHASES, READING
from mirrorsync.cli.output.stdio import LINE_LIMIT
from mirrorsync.events import (
    BlobEnded,
    BlobStarted,
    BytesMoved,
    Event,
    Noticed,
    PhaseAdvanced,
    PhaseStarted,
    ReadPlanned,
    Retrying,
    Served,
    StepFailed,
    TagSet,
    TransferPlanned,
)
from mirrorsync.text import printable

# Bars for smaller blobs would only flicker.
_SHOWN_BYTES: Final = 16 * 1024 * 1024
_NAME_WIDTH: Final = 24  # of the image in the bar of a blob, so that the whole line fits in 80 columns


class Bars:
    """An observer that shows bars on stderr while its context is active. Events come from several threads."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._lock = threading.Lock()
        console = Console(stderr=True, highlight=False)
        self._steps = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), console=console
        )
        self._bytes = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            DownloadColumn(table_column=Column(no_wrap=True)),
            TransferSpeedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
        )
        self._steps.live.transient = True
        self._phase: TaskID | None = None
        self._total: TaskID | None = None
        self._blobs: dict[str, TaskID] = {}
        self._images, self._images_done = 0, 0
        self._shown: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._show(None)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case PhaseStarted():
                self._start_phase(event)
            case PhaseAdvanced() if self._phase is not None:
                self._steps.advance(self._phase)
            case TransferPlanned() | ReadPlanned():
                self._start_transfer(event)
            case BlobStarted(digest, size, _, image) if size >= _SHOWN_BYTES:
                self._blobs[digest] = self._bytes.add_task(_blob_name(digest, image), total=size)
            case BytesMoved(digest, size):
                self._advance(digest, size)
            case BlobEnded(digest) if digest in self._blobs:
                self._bytes.remove_task(self._blobs.pop(digest))
            case TagSet():
                self._images_done += 1
                if self._total is not None:
                    self._bytes.update(self._total, description=self._done())
                self._print(event)
            case StepFailed() | Retrying() | Noticed() | Served():
                self._print(event)
            case _:
                pass

    def _start_phase(self, event: PhaseStarted) -> None:
        if self._phase is not None:
            self._steps.remove_task(self._phase)
        self._phase = self._steps.add_task(PHASES[event.phase], total=event.total)
        if self._shown is None and event.total:
            self._show(self._steps)

    def _start_transfer(self, event: TransferPlanned | ReadPlanned) -> None:
        self._images = event.images if isinstance(event, TransferPlanned) else 0
        if self._total is not None:  # a bundle that is written again, without images that cannot be read
            self._bytes.remove_task(self._total)
            self._total = None
        if event.size:
            self._show(self._bytes)
            shown = self._done() if isinstance(event, TransferPlanned) else READING
            self._total = self._bytes.add_task(shown, total=event.size)

    def _done(self) -> str:
        return f"images {self._images_done}/{self._images}"

    def _advance(self, digest: str, size: int) -> None:
        if self._total is not None:
            self._bytes.advance(self._total, size)
        if digest in self._blobs:
            self._bytes.advance(self._blobs[digest], size)

    def _show(self, progress: Progress | None) -> None:
        if self._shown is not None:
            self._shown.stop()
        self._shown = progress
        if progress is not None:
            progress.start()

    def _print(self, event: StepFailed | Retrying | Noticed | TagSet | Served) -> None:
        """Print a line above the bars. It is text, never markup: messages contain text from servers."""
        match event:
            case StepFailed(step, error) if self._verbose:  # the images that it costs are listed at the end
                line = _text(f"failed: {step}: {error}", "red")
            case Retrying(what, _, delay, reason):
                line = _text(f"{what}: {reason}; retrying in {delay:.0f} s", "yellow")
            case Noticed(where, message):
                line = _text(f"{where}: {message}", "yellow")
            case TagSet(image, _) if self._verbose:
                line = _text(f"done: {image}", "green")
            case Served(client, method, path, status, received, sent, seconds, user):
                name = f"{client} {user}" if user else client
                line = _text(
                    f"{name} {method} {path} {status} {received} B in, {sent} B out, {seconds:.3f} s",
                    "dim" if status < 400 else "yellow",
                )
            case _:
                return
        self._steps.console.print(line)


def _blob_name(digest: str, image: str) -> str:
    """Return the name of a blob's bar: one of the images that need it (its end, if it is long), and its digest."""
    name = printable(image, LINE_LIMIT)
    cut = name if len(name) <= _NAME_WIDTH else "..." + name[3 - _NAME_WIDTH :]
    return f"  {cut} {digest.partition(':')[2][:7]}"


def _text(shown: str, style: str) -> Text:
    return Text(printable(shown, LINE_LIMIT), style=style)
