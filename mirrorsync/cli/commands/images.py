"""`mirrorsync images`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import click

from mirrorsync.app.bundle.far_side import destination_of, only_for
from mirrorsync.app.runs import list_images, stamp_of
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.options.selection import only_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.tables import Table
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.images import images_document
from mirrorsync.documents.yaml_text import yaml_text
from mirrorsync.errors import UsageError
from mirrorsync.plan.model import Image
from mirrorsync.sync.run.report import exit_code


@click.command(
    cls=VerbCommand,
    examples=[
        Example("List what mirror.yaml resolves to now", "mirrorsync images"),
        Example("As JSON, for a scanner", "mirrorsync images --json nightly.yaml"),
        Example("Only the mirrors of Docker Hub", "mirrorsync images --only 'docker.io/*'"),
        Example("Only their names, one a line", "mirrorsync images --format text"),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@only_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "yaml"]),
    help="text: one name a line, for scripts. json, yaml: one document.",
)
@click.option("--destination", metavar="NAME", help="Only images for this destination; text has their names there.")
@verb
def command(console: Console, spec: str, only: tuple[str, ...], form: str | None, destination: str | None) -> int:
    """List the images that SPEC (mirror.yaml) resolves to now: source, tag and digest. Only sources are contacted."""
    if console.as_json and form not in (None, "json"):
        raise UsageError(f"--json and --format {form} contradict each other", remedy="choose one of them")
    loaded = load_spec(spec)
    if destination is not None:
        loaded = only_for(loaded, destination_of(loaded, destination))
    found = run(console, partial(list_images, loaded, only=only))
    rows = [
        (f"{image.source}{f':{image.tag}' if image.tag else ''}", image.root.digest, f"to {image.target}")
        for image in found.images
    ]
    stamp = stamp_of(loaded, only)
    console.failed(found.failures, stamp)
    names = dict.fromkeys(str(image) if destination is not None else _name(image) for image in found.images)
    printed: dict[str, Callable[[], str | Table]] = {
        "text": lambda: "\n".join(names),
        "yaml": lambda: yaml_text(images_document(found, stamp)),
    }
    table = printed.get(form or "", lambda: Table(("image", "digest", "destination"), rows, {}))
    replace(console, as_json=console.as_json or form == "json").result(lambda: images_document(found, stamp), table())
    return exit_code(found.failures, landed=bool(found.images))


def _name(image: Image) -> str:
    """Return the name of an image at its source: with the ref that is followed, or else its digest."""
    return str(image.origin.reference(image.root.digest))
