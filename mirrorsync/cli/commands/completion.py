"""`mirrorsync completion`."""

from __future__ import annotations

import click

from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completion import SCRIPTS
from mirrorsync.cli.output.stdio import write_stdout


@click.command(
    cls=VerbCommand,
    examples=[
        Example("In bash, for this session; in ~/.bashrc, for every one", 'eval "$(mirrorsync completion bash)"'),
        Example("In zsh, in a directory of $fpath", "mirrorsync completion zsh > ~/.zfunc/_mirrorsync"),
        Example("In fish", "mirrorsync completion fish > ~/.config/fish/completions/mirrorsync.fish"),
    ],
)
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def command(shell: str) -> None:
    """Print the script that completes mirrorsync's commands in bash, zsh or fish.

    Verbs, options, files, the sources in ./mirror.yaml and the images in layouts are completed. No registry is asked.
    """
    write_stdout(SCRIPTS[shell].rstrip("\n"))
