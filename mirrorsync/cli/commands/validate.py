"""`mirrorsync validate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import click

from mirrorsync.app.online import HostAnswer, check_hosts
from mirrorsync.app.specs import check_spec, load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import spec_summary
from mirrorsync.cli.output.stdio import LINE_LIMIT, write_stderr, write_stdout
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.error import host_json, validation_document
from mirrorsync.errors import ExitCode
from mirrorsync.problems import SpecError
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Check mirror.yaml in this directory", "mirrorsync validate"),
        Example("Check another spec, for a script or an editor", "mirrorsync validate --json nightly.yaml"),
        Example("Also ask every host once, with its login", "mirrorsync validate --online"),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option("--online", is_flag=True, help="Also ask every host once, with its login.")
@click.option("--no-files", is_flag=True, help="Do not check the files that it names: it is for another machine.")
@verb
def command(console: Console, spec: str, online: bool, no_files: bool) -> int:
    """Check SPEC (mirror.yaml; `-` is stdin) and the files that it names.

    Every problem is reported with its line and a remedy. Nothing is contacted without --online, which exits with 3 if a
    host fails, and with 1 if all do.
    """
    try:
        found = load_spec(spec) if no_files else check_spec(spec)
    except SpecError as error:
        if not console.as_json:
            raise
        write_stdout(json.dumps(validation_document(error.source, error.problems), indent=1))
        raise SystemExit(error.exit_code) from error
    answers = run(console, partial(check_hosts, found)) if online else ()
    if console.level >= 0 or console.as_json:
        console.result(
            lambda: validation_document(found.source, hosts=[_json(answer) for answer in answers] if online else None),
            spec_summary(found),
            *(f"{_host(answer)}: {answer.answer}" for answer in answers if answer.error is None),
        )
    return _report_failures(answers)


def _host(answer: HostAnswer) -> str:
    return f"{answer.host} ({' and '.join(answer.sides)})"


def _json(answer: HostAnswer) -> dict[str, object]:
    return host_json(answer.host, answer.sides, answer.answer, answer.error)


def _report_failures(answers: Sequence[HostAnswer]) -> int:
    """Report the hosts that failed, and return the exit code."""
    failed = 0
    for answer in answers:
        if answer.error is not None:
            failed += 1
            message = f"failed: {_host(answer)}: {answer.error.message.removeprefix(f'{answer.host}: ')}"
            write_stderr(printable(message, LINE_LIMIT))
            write_stderr(printable(f"  {answer.error.remedy}", LINE_LIMIT))
    if not failed:
        return ExitCode.DONE
    return ExitCode.FAILED if failed == len(answers) else ExitCode.PARTLY
