"""The command `mirrorsync`: finds the verb, and turns every error into one clear line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from mirrorsync.errors import ExitCode, MirrorsyncError, SpecError
from mirrorsync.version import __version__

# The verbs, in the order in which they are used; their modules are imported when they are: a start costs what it needs.
_VERBS: Final = {
    "validate": "Check a spec; nothing is contacted.",
    "plan": "Show what would change; nothing is changed.",
    "apply": "Make the destinations hold what the spec wants.",
    "verify": "Ask the destinations for every blob and manifest.",
    "inventory": "List the images that the spec comes to now.",
    "serve": "Be a registry over an OCI layout directory.",
    "demo": "See all of it at work, without network or registry.",
}


class _Verbs(click.Group):
    """A group whose commands are loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"mirrorsync.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage or spec, 3 partly done, 4 integrity, 5 stale plan, 6 locked, "
    "10 plan --exit-code and there are changes, 130 and 143 interrupted.",
)
@click.version_option(__version__, message="mirrorsync %(version)s")
def cli() -> None:
    """Keep a mirror of container images as one YAML file says."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. arguments: without the program's name; None = those of the process."""
    try:
        code = cli.main(arguments, prog_name="mirrorsync", standalone_mode=False)
        _leave(code if isinstance(code, int) else ExitCode.DONE)
    except click.ClickException as error:
        error.show()
        _leave(ExitCode.USAGE)
    except MirrorsyncError as error:
        for line in error_lines(error):
            click.echo(line, err=True)
        _leave(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _leave(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output (head, less) has enough. Python must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(ExitCode.DONE)


def error_lines(error: MirrorsyncError) -> list[str]:
    """Return what a person is told about an error: where, what, and what to do."""
    if isinstance(error, SpecError):
        return error.lines()
    lines = [f"mirrorsync: {error}"]
    return [*lines, f"  {error.remedy}"] if error.remedy else lines


def _leave(code: int) -> NoReturn:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(int(code))


def command_named(name: str) -> Any:
    """Return the click command of a verb, for the demo, which runs the others."""
    return cli.get_command(click.Context(cli), name)
