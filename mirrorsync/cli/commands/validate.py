"""`mirrorsync validate`."""

from __future__ import annotations

import json

import click

from mirrorsync.app.specs import load_spec
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import spec_summary
from mirrorsync.cli.output.stdio import write_stdout
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.error import validation_document
from mirrorsync.errors import SpecError


@click.command()
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]")
@verb
def command(console: Console, spec: str) -> None:
    """Check SPEC (mirror.yaml) without contacting anything; report every problem with its line and a remedy."""
    try:
        found = load_spec(spec)
    except SpecError as error:
        if not console.as_json:
            raise
        write_stdout(json.dumps(validation_document(error.source, error.problems), indent=1))
        raise SystemExit(error.exit_code) from error
    if console.level < 0 and not console.as_json:
        return
    console.result(lambda: validation_document(found.source), spec_summary(found))
