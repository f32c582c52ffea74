"""`mirrorsync acknowledge`."""

from __future__ import annotations

import getpass
from functools import partial

import click

from mirrorsync.app.impact import acknowledge
from mirrorsync.app.process import process_environment
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.impact import acknowledged_line
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.impact import impact_document
from mirrorsync.errors import ExitCode


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Keep what this repository has dropped, without further reports",
            "mirrorsync acknowledge docker.io/library/alpine",
        ),
        Example(
            "All repositories below a name, with the reason",
            "mirrorsync acknowledge quay.io/team --why 'moved to ghcr.io'",
        ),
    ],
)
@click.argument("sources", nargs=-1, required=True, metavar="HOST[/REPO]...")
@click.option("--why", default="", metavar="TEXT", help="The reason, which `mirrorsync impact` shows.")
@click.option(
    "--spec", default=DEFAULT_SPEC, metavar="SPEC", show_default=True, help="The spec.", shell_complete=complete_file
)
@verb
def command(console: Console, sources: tuple[str, ...], why: str, spec: str) -> int:
    """Accept that a source has dropped tags, or all of a repository, which the destinations keep.

    Runs do not report them any more, and an exact tag that is missing for this reason is not a failure. What the source
    drops later is reported again; so is what it has again, and drops once more. The same holds for a repository that
    refuses access, which it gave before, as Docker Hub does if it was deleted or made private.
    """
    loaded = load_spec(spec)
    found = acknowledge(loaded, sources, by=_user(), why=why, environment=process_environment())
    lines = () if console.level < 0 else tuple(map(acknowledged_line, found))
    console.result(partial(impact_document, loaded.source, found), *lines)
    return ExitCode.DONE


def _user() -> str:
    """Return the name of the user, "" in a container that has none for its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
