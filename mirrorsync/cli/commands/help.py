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
@click.argument("verb", nargs=-1, metavar="[VERB]", shell_complete=_complete_verb)
@click.pass_context
def command(ctx: click.Context, verb: tuple[str, ...]) -> None:
    """Show the help of VERB, or the list of verbs."""
    context = ctx.find_root()
    for word in verb:
        if not isinstance(context.command, click.Group):
            raise click.UsageError(f"Got unexpected extra argument ({word})", ctx)
        name, found, _ = context.command.resolve_command(context, [word])
        if found is not None:
            context = found.make_context(name, [], parent=context, resilient_parsing=True)
    write_stdout(context.get_help())
