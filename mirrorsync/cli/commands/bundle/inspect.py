"""`mirrorsync bundle inspect`."""

from __future__ import annotations

import click

from mirrorsync.app.bundle.applying import inspect_bundle, open_bundle
from mirrorsync.app.bundle.site import save_site
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
        Example("Write its lock, policies and first sightings", "mirrorsync bundle inspect --site site /media/usb"),
    ],
)
@click.argument("path", shell_complete=complete_file)
@click.option(
    "--site", type=click.Path(file_okay=False), metavar="DIR", help="Write what travels with the images: see below."
)
@verb
def command(console: Console, path: str, site: str | None) -> int:
    """Show what is in a bundle: its number, images, bytes, parts, signatures, what it was made against and assumes.

    PATH is a directory (its newest bundle; others are named), the .json file of a bundle, or one of its parts. Only the
    document is read: `mirrorsync bundle verify` reads the parts, and nothing here is verified.

    --site writes mirror.lock, trust.json (what has to have signed the images), first-seen.json (for `mirrorsync state
    import`) and generation.json, from its first part: their digests are verified, and who signed the bundle is not.
    """
    if site is not None:
        save_site(site, open_bundle(path))
    found = inspect_bundle(path)
    console.result(lambda: bundle_document(found), *inspected_lines(found, whole=console.level > 0))
    return ExitCode.DONE
