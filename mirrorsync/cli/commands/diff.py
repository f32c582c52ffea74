"""`mirrorsync diff`."""

from __future__ import annotations

import click

from mirrorsync.app.locking import compare_locks, load_lock
from mirrorsync.app.specs import FROM_STDIN
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.locks import change_lines, totals
from mirrorsync.documents.lock import difference_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.spec.lock import Lock


@click.command(
    cls=VerbCommand,
    examples=[
        Example("What has changed since the last snapshot?", "mirrorsync diff before.lock after.lock"),
        Example(
            "In a script: exit code 10 if anything differs",
            "mirrorsync diff --quiet --exit-code before.lock after.lock || echo changed",
        ),
    ],
)
@click.argument("old", metavar="OLD", shell_complete=complete_file)
@click.argument("new", metavar="NEW", shell_complete=complete_file)
@click.option("--exit-code", "exit_on_changes", is_flag=True, help="Exit with 10 if there is a difference.")
@verb
def command(console: Console, old: str, new: str, exit_on_changes: bool) -> int:
    """Show the images that are new, moved or gone in NEW, compared with OLD: two locks or snapshots (`-`: stdin).

    Nothing is contacted. Images are compared by their names: a lock has those at the sources, a snapshot those of its
    location. `mirrorsync plan` compares a spec with its destinations, and `mirrorsync lock --check` with its lock.
    """
    if old == new == FROM_STDIN:
        raise UsageError("OLD and NEW cannot both be standard input", remedy="name a file for one of them")
    before, after = load_lock(old), load_lock(new)
    found = compare_locks(before, after)
    if found and not _repositories(before) & _repositories(after):
        console.notice("no repository is in both: the names in a lock are those at the sources")
    quiet = console.level < 0
    console.result(
        lambda: difference_document(old, new, found), *([] if quiet else [change_lines(found), totals(found)])
    )
    return ExitCode.CHANGES if exit_on_changes and found else ExitCode.DONE


def _repositories(lock: Lock) -> set[object]:
    return {location for location, _ in lock}
