"""`mirrorsync bundle inspect`."""

from __future__ import annotations

import click

from mirrorsync.app.bundles import inspect_bundle
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.bundles import inspected_lines
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.documents.bundle import bundle_document
from mirrorsync.errors import ExitCode


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Show what the newest bundle in a directory has", "mirrorsync bundle inspect /media/usb"),
        Example("With every image", "mirrorsync bundle inspect -v /media/usb"),
    ],
)
@click.argument("path", shell_complete=complete_file)
@verb
def command(console: Console, path: str) -> int:
    """Show what is in a bundle: its number, images, bytes, parts, signatures, and what it assumes at the destination.

    PATH is a directory (its newest bundle), the .json file of a bundle, or one of its parts. Only the document is read:
    `mirrorsync bundle verify` reads the parts, and nothing here is verified.
    """
    found = inspect_bundle(path)
    console.result(lambda: bundle_document(found), *inspected_lines(found, whole=console.level > 0))
    return ExitCode.DONE
