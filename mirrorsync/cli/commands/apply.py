"""`mirrorsync apply`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.image_lists import read_image_list, write_image_list
from mirrorsync.app.runs import apply_plan, apply_spec
from mirrorsync.app.specs import find_plan, given, load_spec, load_spec_of
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.options.deadline import deadline_option
from mirrorsync.cli.options.locked import LockChoice, locked_options
from mirrorsync.cli.options.selection import failed_option, only_from_option, only_option, takes_stdout
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.reports import report_parts
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.report import report_document
from mirrorsync.errors import UsageError
from mirrorsync.sync.run.report import lost_images


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Make the destinations match mirror.yaml", "mirrorsync apply"),
        Example(
            "From cron: another spec, quiet if all is well, for at most two hours",
            "mirrorsync apply --quiet --deadline 2h nightly.yaml",
        ),
        Example("Do exactly what a saved plan says", "mirrorsync apply today.plan"),
        Example(
            "Look for lost blobs in one repository, and repair it", "mirrorsync apply --deep --only '*/library/alpine'"
        ),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC|PLAN]", shell_complete=complete_file)
@click.option("--spec", "spec_of_plan", type=click.Path(), help="The spec of PLAN, if it has been moved since.")
@click.option("--deep", is_flag=True, help="Check every blob and manifest, and repair what is missing.")
@only_option
@only_from_option
@locked_options
@failed_option
@deadline_option
@verb
def command(
    console: Console,
    spec: str,
    spec_of_plan: str | None,
    deep: bool,
    only: tuple[str, ...],
    only_from: str | None,
    lock: LockChoice,
    failed_file: str | None,
    deadline: float | None,
) -> int:
    """Make the destinations match SPEC (mirror.yaml), or apply a saved PLAN exactly.

    A saved plan goes on where an earlier run of it ended. It is rejected with exit code 5 if a tag has moved since.

    What failed can be repeated: mirrorsync apply --failed failed.txt || mirrorsync apply --only-from failed.txt
    """
    silent = takes_stdout(console, failed_file)
    read = given(spec)
    plan = find_plan(read)
    if plan is not None and (only or deep or only_from is not None or lock.locked):
        remedy = "pass --only, --only-from, --deep and --locked to `mirrorsync plan`"
        raise UsageError("a saved plan is applied as it is", remedy=remedy)
    if plan is None and spec_of_plan is not None:
        raise UsageError(
            f"--spec needs a saved plan, and {spec} is not one", remedy="pass only the spec, without --spec"
        )
    stop = Stop(console.notice, deadline)
    if plan is None:
        listed = None if only_from is None else read_image_list(only_from)
        loaded = lock.of(load_spec(read))
        report = run(console, partial(apply_spec, loaded, only=only, only_from=listed, deep=deep), stop=stop)
    else:
        loaded = lock.of_plan(plan, load_spec_of(plan, spec_of_plan))
        report = run(console, partial(apply_plan, plan, loaded), stop=stop)
    code = stop.code_of(report)
    console.failed(report.failures, report.spec)
    console.vanished(report.vanished, report.spec)
    quiet = silent or (console.level < 0 and not (report.failures or report.interrupted))
    console.result(lambda: report_document(report, code), *(() if quiet else report_parts(report)))
    if failed_file is not None:
        write_image_list(failed_file, lost_images(report.failures, report.results))
    return code
