"""Where output goes: results to stdout; notices, progress bars (on a terminal) and log lines (elsewhere) to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mirrorsync.cli.command import OUTPUT, option
from mirrorsync.cli.output.stdio import LogFormat, write_stderr, write_stdout
from mirrorsync.cli.output.tables import Listing, Table, print_failures, print_listing, print_table
from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import Observer

if TYPE_CHECKING:
    from mirrorsync.plan.model import Failure, SpecStamp, Vanished

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Console:
    """The output of one command. as_json: one document on stdout. level: -1 quiet, 0 normal, 1 and more verbose."""

    as_json: bool = False
    level: int = 0
    log_format: LogFormat | None = None

    @property
    def terminal(self) -> bool:
        """Whether stderr is a terminal, and log lines are not asked for."""
        return sys.stderr.isatty() and self.log_format is None

    def failed(self, failures: Sequence[Failure], spec: SpecStamp | None = None) -> None:
        """Report failures on stderr, even if the command is quiet: one message for each cause.

        Call it before `result`, whose last line then is the last one on the screen. spec: that of the run.
        """
        if not failures:
            return
        if self.log_format == "json":
            from mirrorsync.cli.output.logs import log_failures

            log_failures(failures, spec)
        else:
            from mirrorsync.cli.output.render import failure_lines

            print_failures(failure_lines(failures, spec), coloured=self.terminal)

    def vanished(self, vanished: Sequence[Vanished], spec: SpecStamp) -> None:
        """Report on stderr what sources have dropped, even if the command is quiet: once, by the first run."""
        new = [one for one in vanished if not one.since]
        if not new:
            return
        from mirrorsync.cli.output.vanished import alarm_lines

        lines = alarm_lines(new, spec.path)
        if self.log_format == "json":
            from mirrorsync.cli.output.logs import log_alarms

            log_alarms(lines)
        else:
            print_failures(lines, coloured=self.terminal)

    def result(self, document: Callable[[], dict[str, Any]], *parts: str | Table | Listing) -> None:
        """Print the result: the document with --json, else the parts for people; `""` is left out."""
        if self.as_json:
            write_stdout(json.dumps(document(), indent=1))
            return
        for part in parts:
            if isinstance(part, Table):
                print_table(part)
            elif isinstance(part, Listing):
                print_listing(part)
            elif part:
                write_stdout(part)

    def notice(self, text: str) -> None:
        """Print a notice on stderr, unless the command is quiet: as a log line if these are JSON."""
        if self.level < 0:
            return
        if self.log_format == "json":  # log collectors parse every line
            from mirrorsync.cli.output.logs import log

            log("json", "info", text)
        else:
            write_stderr(text)

    def problem(self, text: str) -> None:
        """Print a line about something that is wrong on stderr, even if the command is quiet."""
        if self.log_format == "json":
            from mirrorsync.cli.output.logs import log

            log("json", "error", text)
        else:
            print_failures([text], coloured=self.terminal)

    @contextmanager
    def watching(self, *, ready: bool = False) -> Iterator[Observer]:
        """Show events while the block runs: as progress bars on a terminal, as log lines elsewhere.

        ready: load everything now, so that a line can be logged even without free file descriptors.
        """
        if self.terminal and self.level >= 0:
            from mirrorsync.cli.output.progress import Bars

            with Bars(verbose=self.level > 0) as bars:
                yield bars
            return
        from mirrorsync.cli.output.logs import event_logger, log

        form = self.log_format or "text"
        events = event_logger(form, self.level, ready=ready)
        if self.level < 0:
            yield events
            return
        from mirrorsync.cli.output.progress_lines import Lines

        with Lines(partial(log, form), events, form, each=self.level > 0) as lines:
            yield lines


def verb(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options of every verb to a command, which gets a Console as its first argument."""

    @wraps(function)
    def run(
        *, as_json: bool, verbose: int, quiet: bool, debug: bool, log_format: LogFormat | None, **options: Any
    ) -> R:
        console = Console(as_json, -1 if quiet else max(verbose, debug), log_format)
        try:
            return function(console, **options)
        except MirrorsyncError as error:
            if as_json:
                from mirrorsync.documents.error import error_document

                write_stdout(json.dumps(error_document(error), indent=1))
            if log_format == "json":
                from mirrorsync.cli.output.logs import log_error

                log_error(log_format, error)
                raise click.exceptions.Exit(error.exit_code) from None
            raise

    command: Callable[..., R] = run
    for add in (
        option(
            "--log-format", section=OUTPUT, type=click.Choice(["text", "json"]),
            help="Log lines of this format, not bars.",
        ),
        option("-q", "--quiet", section=OUTPUT, is_flag=True, help="No progress or summary if all is well."),
        option("-v", "--verbose", section=OUTPUT, count=True, help="Show more; -vv also shows every blob."),
        option("--debug", section=OUTPUT, is_flag=True, hidden=True),  # skopeo's -v
        option("--json", "as_json", section=OUTPUT, is_flag=True, help="Print one JSON document on stdout."),
    ):  # fmt: skip
        command = add(command)
    return command
