"""`mirrorsync diff`."""

from __future__ import annotations

import click

from mirrorsync.app.comparing import load_images
from mirrorsync.app.locking import compare_locks
from mirrorsync.app.process import process_environment
from mirrorsync.app.specs import FROM_STDIN
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.locks import change_lines, totals
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.lock import difference_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.spec.lock import Lock


@click.command(
    cls=VerbCommand,
    examples=[
        Example("What has changed since the first generation?", "mirrorsync diff generation:1 generation:2"),
        Example("What has changed since the last snapshot?", "mirrorsync diff before.lock after.lock"),
        Example(
            "In a script: exit code 10 if anything differs",
            "mirrorsync diff --quiet --exit-code before.lock after.lock || echo changed",
        ),
    ],
)
@click.argument("old", metavar="OLD", shell_complete=complete_file)
@click.argument("new", metavar="NEW", shell_complete=complete_file)
@click.option(
    "--spec",
    default=DEFAULT_SPEC,
    show_default=True,
    metavar="SPEC",
    help="Whose runs and generations are meant.",
    shell_complete=complete_file,
)
@click.option("--exit-code", "exit_on_changes", is_flag=True, help="Exit with 10 if there is a difference.")
@verb
def command(console: Console, old: str, new: str, spec: str, exit_on_changes: bool) -> int:
    """Show the images that are new, moved or gone in NEW, compared with OLD.

    Each is a lock or a snapshot (`-`: stdin), the saved JSON of a report or plan, or what the mirror had after a run:
    generation:3, as `mirrorsync history` shows them, or run:12, as in its JSON.

    Nothing is contacted. Images are compared by their names: a lock has those at the sources, all others those at
    destinations. `mirrorsync plan` compares a spec with its destinations, and `mirrorsync lock --check` with its lock.
    """
    if old == new == FROM_STDIN:
        raise UsageError("OLD and NEW cannot both be standard input", remedy="name a file for one of them")
    environment = process_environment()
    before, after = (load_images(one, spec, environment=environment) for one in (old, new))
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
