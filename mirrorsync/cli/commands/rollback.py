"""`mirrorsync rollback`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.rollback import roll_back
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.plans import plan_parts
from mirrorsync.cli.output.reports import report_parts
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.plan import plan_document
from mirrorsync.documents.report import report_document
from mirrorsync.sync.run.report import exit_code


@click.command(
    cls=VerbCommand,
    examples=[
        Example("What would change on the way back?", "mirrorsync rollback --dry-run 1"),
        Example("Let every tag name again what it named then", "mirrorsync rollback 1"),
    ],
)
@click.argument("generation", type=click.IntRange(1))
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@verb
def command(console: Console, generation: int, spec: str, dry_run: bool) -> int:
    """Bring the destinations of SPEC (mirror.yaml) back to a GENERATION, as `mirrorsync history` numbers them.

    Each tag names again what it named then; blobs that are still there are not sent again. Tags that are newer than the
    generation stay. The next `apply` of the spec goes forward again: stop its timer, or change the spec.
    """
    stop = Stop(console.notice)
    loaded = load_spec(spec)
    done = run(console, partial(roll_back, loaded, generation, dry_run=dry_run), stop=stop)
    if done.report is None:
        plan = done.plan
        console.failed(plan.failures, plan.spec)
        quiet = console.level < 0 and not any(plan.changed())
        command_line = f"mirrorsync rollback {generation} {spec}"
        console.result(lambda: plan_document(plan), *(() if quiet else plan_parts(plan, None, command_line)))
        return exit_code(plan.failures, landed=bool(plan.changes))
    report, code = done.report, stop.code_of(done.report)
    console.failed(report.failures, report.spec)
    quiet = console.level < 0 and not (report.failures or report.interrupted)
    console.result(lambda: report_document(report, code), *(() if quiet else report_parts(report)))
    return code
