"""`mirrorsync history`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Final

import click
from rich.filesize import decimal

from mirrorsync.app.history import Past, read_history
from mirrorsync.app.process import process_environment
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.history import history_document
from mirrorsync.errors import ExitCode
from mirrorsync.state import Run, RunTag
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
@verb
def command(console: Console, spec: str, limit: int, changes: bool) -> int:
    """Show the last runs of SPEC (mirror.yaml): when, how they ended, what they changed, bytes read, and seconds.

    Runs of `apply` are remembered in a file under STATE_DIRECTORY, else ~/.local/state/mirrorsync.
    """
    loaded = load_spec(spec)
    past = read_history(loaded, limit=limit, changes=changes, environment=process_environment())
    console.result(
        partial(history_document, loaded.source, [(one.run, one.changes) for one in past]),
        "\n".join(line for one in reversed(past) for line in _lines(one)),
    )
    return ExitCode.DONE


def _lines(past: Past) -> Iterator[str]:
    run = past.run
    started, finished = _time(run.started), _time(run.finished)
    seconds = round((finished - started).total_seconds())
    word = _WORDS.get(ExitCode(run.exit_code), "failed") if run.exit_code in list(ExitCode) else "failed"
    yield f"{started:%Y-%m-%d %H:%M}  {word:<7}  {_counts(run)}  {decimal(run.bytes_read)}  {seconds} s"
    yield from (f"  {_change(change)}" for change in past.changes)


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
