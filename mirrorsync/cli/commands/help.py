"""`mirrorsync help`."""

from __future__ import annotations

import click

from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.output.stdio import write_stdout


def _complete_verb(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    group = ctx.find_root().command
    verbs = group.list_commands(ctx) if isinstance(group, click.Group) else []
    return [verb for verb in verbs if verb.startswith(incomplete)]


@click.command(
    cls=VerbCommand,
    examples=[
        Example("List the verbs", "mirrorsync help"),
        Example("Show the options of a verb, with examples", "mirrorsync help copy"),
    ],
)
@click.argument("verb", required=False, metavar="[VERB]", shell_complete=_complete_verb)
@click.pass_context
def command(ctx: click.Context, verb: str | None) -> None:
    """Show the help of VERB, or the list of verbs."""
    group = ctx.find_root()
    if verb is None:
        write_stdout(group.get_help())
        return
    assert isinstance(group.command, click.Group)  # noqa: S101 - for mypy
    name, found, _ = group.command.resolve_command(group, [verb])
    if found is not None:
        with found.make_context(name, [], parent=group, resilient_parsing=True) as context:
            write_stdout(context.get_help())
