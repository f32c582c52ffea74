"""The command `mirrorsync`: runs a verb, and turns every error into one line, a remedy and an exit code."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final, NoReturn

import click

from mirrorsync.cli.command import COMPLETION_VARIABLE, HELP_WIDTH, VerbGroup
from mirrorsync.cli.encoding import ensure_utf8
from mirrorsync.cli.output.stdio import LINE_LIMIT, prepare_streams, release_streams, write_stderr, write_stdout
from mirrorsync.errors import ExitCode, MirrorsyncError, UsageError
from mirrorsync.problems import SpecError
from mirrorsync.text import printable
from mirrorsync.version import __version__

# The verbs, in the order in which they are used. Their modules are imported on use, so that a start loads only one.
_VERBS: Final = {
    "init": "Write a spec to begin with, or from files that you have.",
    "validate": "Check a spec; with --online also its hosts.",
    "plan": "Show what would change, without changing it.",
    "apply": "Make the destinations match the spec.",
    "lock": "Write down the digest that each image of a spec has now.",
    "verify": "Check every blob and manifest at the destinations.",
    "images": "List the images that a spec resolves to.",
    "tags": "Show why each tag of a spec's sources is mirrored or not.",
    "snapshot": "Write down the images that a location has now.",
    "diff": "Show what differs between two runs, locks or snapshots.",
    "history": "Show the last runs of a spec.",
    "rollback": "Bring the destinations back to an earlier generation.",
    "impact": "Show what depends on a source.",
    "acknowledge": "Accept that a source has dropped tags that the mirror keeps.",
    "state": "Export or import what a mirror remembers.",
    "relocate": "Rewrite the images of manifests to the names at the mirror.",
    "compare": "Show which images of nodes the mirror lacks.",
    "inventory": "Write down what a location has, for `bundle create`.",
    "bundle": "Carry a part of a mirror across an air gap, in files.",
    "copy": "Copy one image from any store to any other.",
    "inspect": "Show an image without downloading its layers.",
    "list-tags": "List the tags of a repository, layout or archive.",
    "delete": "Delete a tag or an image.",
    "login": "Log in to a registry.",
    "logout": "Remove a login.",
    "serve": "Serve OCI layouts as a registry.",
    "client-config": "Write the files that make clusters pull from a destination.",
    "demo": "Try it all, without network or another registry.",
    "completion": "Print a script that completes commands in a shell.",
    "help": "Show the help of a verb.",
    "version": "Print the version.",
}


class _Verbs(VerbGroup):
    """The verbs, and the answers to those of other tools."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word == "sync" and len(args) > 1:
            from mirrorsync.cli.skopeo.sync import sync_command

            return word, sync_command, args[1:]
        return super().resolve_command(ctx, args)

    def unknown(self, word: str) -> str:
        from mirrorsync.cli.skopeo.sync import ANSWERS

        return f"No such command {printable(word, 60)!r}. {ANSWERS[word]}" if word in ANSWERS else super().unknown(word)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("--"):
            from mirrorsync.cli.skopeo.options import behind_the_verb

            args = behind_the_verb(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(f"{error.message} Options go after the verb: mirrorsync VERB ...", ctx) from error


@click.group(
    cls=_Verbs,
    verbs=_VERBS,
    package="mirrorsync.cli.commands",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH},
    epilog="\b\nExit codes: 0 done, 1 failed, 2 usage or spec, 3 partly done,\n"
    "4 integrity, 5 stale plan, 6 locked, 10 changes (--exit-code, lock --check),\n"
    "130 and 143 interrupted.",
)
@click.version_option(__version__, "-V", "--version", message="mirrorsync %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Mirror container images as one YAML file describes."""
    if ctx.invoked_subcommand is None:
        write_stdout(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. arguments: without the program's name; None = those of the process."""
    if arguments is None:
        ensure_utf8()
    prepare_streams()
    code = _complete() if COMPLETION_VARIABLE in os.environ else _run(arguments)
    release_streams()
    # Without this, the interpreter's last garbage collections walk all live objects before the process ends (35 ms).
    gc.freeze()
    raise SystemExit(code)


def _complete() -> int:
    """Answer the completion script of a shell. Nothing is reported: it would be in the middle of a command line."""
    from mirrorsync.cli.completion import answers

    try:
        write_stdout("\n".join(answers(cli, os.environ)))
    except (MirrorsyncError, click.ClickException, KeyboardInterrupt):
        return ExitCode.FAILED
    return ExitCode.DONE


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; report its error; return its exit code."""
    try:
        code = cli.main(arguments, prog_name="mirrorsync", standalone_mode=False)
        return int(code) if isinstance(code, int) else ExitCode.DONE
    except click.ClickException as error:
        return _usage_error(error, sys.argv[1:] if arguments is None else arguments)
    except MirrorsyncError as error:
        for line in error_lines(error):
            write_stderr(line)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except OSError as error:  # writing the help failed; other OSErrors are translated where they occur
        write_stderr(f"mirrorsync: {error.strerror}")
        return ExitCode.FAILED


def _usage_error(error: click.ClickException, arguments: Sequence[str]) -> int:
    """Report a wrong command line; return the exit code. Its --json and --log-format count as far as they are there."""
    if _wants_json_lines(arguments):
        from mirrorsync.cli.output.logs import log_error

        log_error("json", UsageError(error.format_message()))
    else:
        with suppress(OSError):
            error.show()
    if "--json" in arguments:
        from mirrorsync.documents.error import error_document

        with suppress(MirrorsyncError):
            write_stdout(json.dumps(error_document(UsageError(error.format_message())), indent=1))
    return ExitCode.USAGE


def _wants_json_lines(arguments: Sequence[str]) -> bool:
    pairs = pairwise(arguments)
    return "--log-format=json" in arguments or ("--log-format", "json") in pairs


def error_lines(error: MirrorsyncError) -> list[str]:
    """Return the lines that report an error: where, what, and the remedy."""
    if isinstance(error, SpecError):
        messages = zip(error.problems, error.lines(), strict=True)
        lines = [line for problem, text in messages for line in (text, *error.excerpts.get(problem, ()))]
    else:
        lines = [f"mirrorsync: {error}", *([f"  {error.remedy}"] if error.remedy else [])]
    return [printable(line, LINE_LIMIT) for line in lines]
