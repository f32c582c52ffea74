"""`mirrorsync images`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.runs import list_images, stamp_of
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.tables import Table
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.images import images_document
from mirrorsync.sync.run.report import exit_code


@click.command()
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]")
@click.option("--only", multiple=True, metavar="GLOB", help="Only mirrors whose source matches. Repeatable.")
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
