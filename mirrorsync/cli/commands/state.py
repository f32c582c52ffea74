"""`mirrorsync state`."""

from __future__ import annotations

import json

import click

from mirrorsync.app.history import export_state, import_state
from mirrorsync.app.outputs import is_standard_output, write_output
from mirrorsync.app.process import process_environment
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import count
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.state import state_document
from mirrorsync.errors import ExitCode


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Save what the mirror of mirror.yaml remembers", "mirrorsync state export state.json"),
        Example("Restore it, also on another machine", "mirrorsync state import state.json"),
    ],
)
@click.argument("action", type=click.Choice(["export", "import"]))
@click.argument("file", default="-", metavar="[FILE]", shell_complete=complete_file)
@click.option(
    "--spec", default=DEFAULT_SPEC, metavar="SPEC", show_default=True, help="The spec.", shell_complete=complete_file
)
@verb
def command(console: Console, action: str, file: str, spec: str) -> int:
    """Export to FILE (`-`: stdout), or import from it, what the mirror of a spec remembers.

    That is when images and tags were first seen, for min_age and max_age, and which tags the mirror owns, for prune.
    An import is added to what the mirror remembers: the earlier sighting counts, and owned tags stay as they are.
    """
    loaded, environment = load_spec(spec), process_environment()
    if action == "export":
        remembered = export_state(loaded, environment=environment)
        document = state_document(loaded.source, remembered)
        write_output(file, [json.dumps(document, indent=1), "\n"])
        if is_standard_output(file):
            return ExitCode.DONE
    else:
        remembered = import_state(loaded, file, environment=environment)
        document = state_document(loaded.source, remembered)
    owned, seen = count(len(remembered.owned), "tag"), count(len(remembered.seen), "image")
    word = "exported" if action == "export" else "imported"
    console.result(lambda: document, "" if console.level < 0 else f"{word}: {owned}, and when {seen} were first seen")
    return ExitCode.DONE
