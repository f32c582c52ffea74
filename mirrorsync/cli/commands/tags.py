"""`mirrorsync tags`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.runs import explain_tags
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_source
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.tags import explained_parts
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.explanation import explanation_document
from mirrorsync.errors import UsageError
from mirrorsync.sync.run.report import exit_code


@click.command(
    cls=VerbCommand,
    examples=[
        Example("What becomes of each tag of one source, and why", "mirrorsync tags --mirror '*/library/alpine'"),
        Example("All tags of all sources, as JSON", "mirrorsync tags --json nightly.yaml"),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option(
    "--mirror",
    "only",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_source,
    help="Only mirrors whose source matches: its whole name, its end, or a pattern. Repeatable.",
)
@click.option("--all", "everything", is_flag=True, help="Show every dropped tag, also more than 20 of a source.")
@verb
def command(console: Console, spec: str, only: tuple[str, ...], everything: bool) -> int:
    """Show every tag of the sources of SPEC (mirror.yaml), and the filter or policy that decided on it.

    A tag is wanted, dropped by a filter, frozen (immutable, on_change: keep), delayed (min_age) or refused by a policy.
    Policies and a budget decide as in `mirrorsync plan`, which asks the destinations; without them only the sources are
    asked. A mirror of exact tags does not list its source, so only these are shown. Nothing is changed.
    """
    try:
        loaded = load_spec(spec)
    except UsageError as error:
        if spec == DEFAULT_SPEC:
            raise
        remedy = f"{error.remedy}; " if error.remedy else ""
        raise error.with_(remedy=f"{remedy}`mirrorsync list-tags` lists the tags of a repository") from error
    found = run(console, partial(explain_tags, loaded, only=only))
    console.failed(found.failures, found.spec)
    console.result(lambda: explanation_document(found), *explained_parts(found, everything=everything))
    return exit_code(found.failures, landed=bool(found.sources))
