"""`mirrorsync bundle answer`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.bundle.applying import answer_bundle, read_target
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.output.answers import code_lines, incomplete_line, qr_option_default
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import run
from mirrorsync.documents.bundle import answer_document


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Print what the sender has to send again, after a bundle was lost",
            "mirrorsync bundle answer /media/usb --to harbor.corp.example/mirror",
        ),
        Example("For a program", "mirrorsync bundle answer /media/usb --to oci:/srv/mirror --json"),
    ],
)
@click.argument("path", shell_complete=complete_file)
@click.option(
    "--to",
    "destination",
    required=True,
    metavar="LOCATION",
    shell_complete=complete_reference,
    help="Where the bundle was imported.",
)
@click.option("--qr", is_flag=True, help="Draw a QR code also without a terminal.")
@access_options()
@retry_option
@verb
def command(
    console: Console, path: str, destination: str, qr: bool, access: AccessOptions, retry_times: int | None
) -> int:
    """Print a short code that tells the sender of bundles what LOCATION lacks.

    PATH is the newest bundle that has arrived: its directory, its .json file, or any one of its parts. All that the
    bundle carries and assumes is looked for at LOCATION; what parts would bring that were not applied is lacking, too.
    On the connected side, `mirrorsync bundle create --answer CODE` sends just that.

    Exits with 0 if nothing is missing, 3 if something is.
    """
    target = read_target(destination)
    environment = environment_of(console, [(target, access)], retry_times)
    found = run(console, partial(answer_bundle, path, target), environment)
    lines = () if console.level < 0 else (incomplete_line(found, str(target)),)
    codes = code_lines(found.code, qr=qr or qr_option_default(console))
    console.result(lambda: answer_document(found, target), *lines, *codes)
    return found.exit_code
