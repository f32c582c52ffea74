"""`mirrorsync history`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Final

import click
from rich.filesize import decimal

from mirrorsync.app.history import Past, read_history, read_imports
from mirrorsync.app.process import process_environment
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.history import history_document
from mirrorsync.documents.imports import imports_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.state import PastImport, Run, RunTag
from mirrorsync.text import printable

_SHOWN: Final = 20
_WORDS: Final = {
    ExitCode.DONE: "ok",
    ExitCode.PARTLY: "partly",
    ExitCode.INTERRUPTED: "stopped",
    ExitCode.TERMINATED: "stopped",
    ExitCode.INTEGRITY: "damage",
}
# In this order; `unchanged` is left out, being nearly always the whole mirror.
_COUNTED: Final = ("new", "moved", "incomplete", "deleted", "kept", "delayed", "refused", "skipped", "failed")


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Show the last runs of mirror.yaml", "mirrorsync history"),
        Example("What did the last run do to which tag?", "mirrorsync history -n 1 --changes"),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option("-n", "limit", type=click.IntRange(1), default=_SHOWN, show_default=True, help="Only the last N runs.")
@click.option("--changes", is_flag=True, help="Also show what each run did to which tag.")
@click.option("--imports", is_flag=True, help="Instead show the bundles that were imported here, of all senders.")
@verb
def command(console: Console, spec: str, limit: int, changes: bool, imports: bool) -> int:
    """Show the last runs of SPEC (mirror.yaml): when, how they ended, what they changed, bytes read, and seconds.

    Runs of `apply` are remembered in a file under STATE_DIRECTORY, else ~/.local/state/mirrorsync; so are imports of
    `bundle apply`, which need no SPEC.
    """
    if imports:
        if changes:
            raise UsageError("--changes is about runs of a spec", remedy="leave it out, or --imports")
        found = read_imports(limit=limit, environment=process_environment())
        console.result(partial(imports_document, found), "\n".join(map(_import_line, reversed(found))))
        return ExitCode.DONE
    loaded = load_spec(spec)
    past = read_history(loaded, limit=limit, changes=changes, environment=process_environment())
    console.result(
        partial(history_document, loaded.source, [(one.run, one.changes) for one in past]),
        "\n".join(line for one in reversed(past) for line in _lines(one)),
    )
    return ExitCode.DONE


def _lines(past: Past) -> Iterator[str]:
    run = past.run
    yield _line(run.started, run.finished, run.exit_code, _counts(run), run.bytes_read)
    yield from (f"  {_change(change)}" for change in past.changes)


def _import_line(one: PastImport) -> str:
    if one.finished is None or one.exit_code is None:
        where = printable(f"{one.bundle} to {', '.join(one.destinations)}", 1000)
        return f"{_time(one.started):%Y-%m-%d %H:%M}  no end   {where}: it was killed, or is still running"
    counts = ", ".join(f"{number} {word}" for word, number in sorted(one.counts.items()))
    text = printable(f"{one.bundle} to {', '.join(one.destinations)}: {counts or one.error or 'no images'}", 1000)
    return _line(one.started, one.finished, one.exit_code, text, one.bytes_written)


def _line(began: str, ended: str, exit_code: int, text: str, size: int) -> str:
    started, finished = _time(began), _time(ended)
    seconds = round((finished - started).total_seconds())
    word = _WORDS.get(ExitCode(exit_code), "failed") if exit_code in list(ExitCode) else "failed"
    return f"{started:%Y-%m-%d %H:%M}  {word:<7}  {text}  {decimal(size)}  {seconds} s"


def _time(text: str) -> datetime:
    """Return a time of the memory (UTC) as local time."""
    return datetime.fromisoformat(text).astimezone()


def _counts(run: Run) -> str:
    parts = [f"{run.counts[word]} {word}" for word in _COUNTED if run.counts.get(word)]
    shown = ", ".join(parts) or "no change"
    return f"{shown} (generation {run.generation})" if run.generation is not None else shown


def _change(change: RunTag) -> str:
    location, tag = change.key
    digests = " -> ".join(one.short for one in (change.before, change.after) if one is not None)
    word = change.state if change.outcome == "done" else change.outcome
    return printable(f"{word:<8}  {location}:{tag}  {digests}")
