"""`mirrorsync bundle verify`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.bundle.applying import Rules, verify_bundle
from mirrorsync.app.bundle.parity import has_parity
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.options.signers import SignerOptions, signer_options
from mirrorsync.cli.output.bundles import checked_summary, finding_lines, repair_line
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import run
from mirrorsync.documents.bundle import bundle_verification_document
from mirrorsync.errors import ExitCode


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Read the newest bundle in a directory", "mirrorsync bundle verify /media/usb"),
        Example("Only the answer, for a script", "mirrorsync bundle verify --quiet /media/usb"),
    ],
)
@click.argument("path", shell_complete=complete_file)
@signer_options
@verb
def command(console: Console, path: str, signers: SignerOptions) -> int:
    """Read every byte of a bundle once, and name what is damaged or missing.

    PATH is a directory (its newest bundle is read), the .json file of a bundle, one of its parts, or - for a part on
    stdin. A damaged member is named with its part and the images that it holds up. Parts of other bundles are left
    alone, and a part under another name is found.

    Exits with 0 if all is here, 3 if parts are missing or cannot be read, 4 if bytes are damaged.
    """
    rules = Rules(signers=signers.required, unsigned=signers.allow_unsigned)
    checked = run(console, partial(verify_bundle, path, rules))
    for line in finding_lines(checked.findings, whole=console.level > 0):
        console.problem(line)
    if checked.exit_code and has_parity(path):
        console.problem(repair_line(path))
    quiet = console.level < 0 and checked.exit_code == ExitCode.DONE
    console.result(lambda: bundle_verification_document(checked), "" if quiet else checked_summary(checked))
    return checked.exit_code
