"""--only and --only-from: which mirrors and images of a spec a command takes; --failed writes images for the latter."""

from __future__ import annotations

import click

from mirrorsync.app.outputs import is_standard_output
from mirrorsync.cli.completers import complete_source
from mirrorsync.cli.output.console import Console
from mirrorsync.errors import UsageError

only_option = click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_source,
    help="Only mirrors whose source matches. Repeatable.",
)

failed_option = click.option(
    "--failed",
    "failed_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the images that failed, or that a stopped run skipped, to FILE: one on each line, none if all is well "
    "(`-`: stdout).",
)

only_from_option = click.option(
    "--only-from",
    metavar="FILE",
    help="Only the images in FILE: references at their sources, one on each line, as --failed writes (`-`: stdin).",
)


def takes_stdout(console: Console, failed_file: str | None) -> bool:
    """Return whether the list of failed images goes to stdout, so that nothing else may. Raises: UsageError."""
    if failed_file is None or not is_standard_output(failed_file):
        return False
    if console.as_json:
        raise UsageError("--json and --failed both write to stdout", remedy="name a file: --failed FILE")
    return True
