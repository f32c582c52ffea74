"""`mirrorsync bundle repair`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.bundle.parity import repair_bundle
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.bundles import lost_lines, repaired_summary
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import run
from mirrorsync.documents.bundle import bundle_repair_document
from mirrorsync.errors import ExitCode


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Repair the newest bundle in a directory", "mirrorsync bundle repair /media/usb"),
        Example("From a medium that cannot be written", "mirrorsync bundle repair /media/dvd --output repaired"),
    ],
)
@click.argument("path", shell_complete=complete_file)
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write the repaired files there, instead of over the damaged ones.",
)
@verb
def command(console: Console, path: str, output: str | None) -> int:
    """Compute lost and damaged files of a bundle from the others and its parity files.

    PATH is a directory (its newest bundle), or one of the bundle's files. All files are read. A repaired file takes
    the place of the damaged one only if it is byte for byte what the bundle's document names.

    Exits with 0 if all files are whole now, 3 if some are missing all the same, 4 if some are damaged, 1 if there are
    no parity files.
    """
    done = run(console, partial(repair_bundle, path, output))
    for line in lost_lines(done):
        console.problem(line)
    quiet = console.level < 0 and done.exit_code == ExitCode.DONE
    console.result(lambda: bundle_repair_document(done), "" if quiet else repaired_summary(done))
    return done.exit_code
