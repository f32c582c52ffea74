"""`mirrorsync images`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.runs import list_images, stamp_of
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_source
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.tables import Table
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.images import images_document
from mirrorsync.sync.run.report import exit_code


@click.command(
    cls=VerbCommand,
    examples=[
        Example("List what mirror.yaml resolves to now", "mirrorsync images"),
        Example("As JSON, for a scanner", "mirrorsync images --json nightly.yaml"),
        Example("Only the mirrors of Docker Hub", "mirrorsync images --only 'docker.io/*'"),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_source,
    help="Only mirrors whose source matches. Repeatable.",
)
@verb
def command(console: Console, spec: str, only: tuple[str, ...]) -> int:
    """List the images that SPEC (mirror.yaml) resolves to now: source, tag and digest. Only sources are contacted."""
    loaded = load_spec(spec)
    found = run(console, partial(list_images, loaded, only=only))
    rows = [
        (f"{image.source}{f':{image.tag}' if image.tag else ''}", image.root.digest, f"to {image.target}")
        for image in found.images
    ]
    stamp = stamp_of(loaded, only)
    console.failed(found.failures, stamp)
    console.result(lambda: images_document(found, stamp), Table(("image", "digest", "destination"), rows, {}))
    return exit_code(found.failures, landed=bool(found.images))
