"""`mirrorsync impact`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.impact import read_impact
from mirrorsync.app.process import process_environment
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.impact import impact_parts
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.impact import impact_document
from mirrorsync.errors import ExitCode


@click.command(
    cls=VerbCommand,
    examples=[
        Example("What would be lost with this repository?", "mirrorsync impact docker.io/library/alpine"),
        Example("With a whole registry, as JSON", "mirrorsync impact --json quay.io nightly.yaml"),
    ],
)
@click.argument("source", metavar="HOST[/REPO]")
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@verb
def command(console: Console, source: str, spec: str) -> int:
    """Show what depends on a source: the mirrors of SPEC (mirror.yaml) that read it, and the tags that came from it.

    HOST/REPO also stands for all repositories below it. Nothing is contacted: it is what the runs of `apply` remember,
    with the tags that a run has missed at their source.
    """
    loaded = load_spec(spec)
    found = read_impact(loaded, source, environment=process_environment())
    console.result(partial(impact_document, loaded.source, [found]), *impact_parts(found, loaded.source))
    return ExitCode.DONE
