"""`mirrorsync version`."""

from __future__ import annotations

import click

from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.output.stdio import write_stdout
from mirrorsync.version import __version__


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Print the version", "mirrorsync version"),
        Example("The same", "mirrorsync -V"),
    ],
)
def command() -> None:
    """Print the version."""
    write_stdout(f"mirrorsync {__version__}")
