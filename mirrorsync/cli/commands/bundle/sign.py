"""`mirrorsync bundle sign`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.bundle.applying import inspect_bundle
from mirrorsync.app.bundle.signatures import sign_bundle
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.bundles import inspected_lines
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import run
from mirrorsync.documents.bundle import bundle_document
from mirrorsync.errors import ExitCode


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Sign what another person has made", "mirrorsync bundle sign /media/usb --key signing_key"),
        Example("With two keys", "mirrorsync bundle sign /media/usb --key signing_key --key second_key"),
    ],
)
@click.argument("path", shell_complete=complete_file)
@click.option(
    "--key",
    "keys",
    required=True,
    multiple=True,
    metavar="KEY",
    shell_complete=complete_file,
    help="Sign with this SSH key, as ssh-keygen does. Repeatable.",
)
@verb
def command(console: Console, path: str, keys: tuple[str, ...]) -> int:
    """Add a signature to a bundle, next to those of others: NAME.json.sig, NAME.json.2.sig ...

    PATH is a directory (its newest bundle), the .json file of a bundle, or one of its parts. What is signed is shown:
    the document, which has the digest of every image and of every part. `mirrorsync bundle verify` compares the parts
    with it. The parts stay as they are.
    """
    if path != "-":
        for line in inspected_lines(inspect_bundle(path), whole=console.level > 0):
            console.notice(line)
    written = run(console, partial(sign_bundle, path, keys))
    text = f"signed: {', '.join(written)}" if written else "no new signature"
    console.result(lambda: bundle_document(inspect_bundle(path)), "" if console.level < 0 else text)
    return ExitCode.DONE
