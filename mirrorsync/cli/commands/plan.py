"""`mirrorsync plan`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.outputs import is_standard_output
from mirrorsync.app.runs import make_plan
from mirrorsync.app.specs import load_spec, save_plan
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import changes_table, failure_lines, plan_summary
from mirrorsync.cli.output.stdio import write_stderr
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.plan import plan_document
from mirrorsync.errors import ExitCode
from mirrorsync.sync.run.report import exit_code


@click.command()
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False), help="Save the plan, for `mirrorsync apply FILE` (`-`: stdout)."
)
@click.option("--exit-code", "exit_on_changes", is_flag=True, help="Exit with 10 if anything would change.")
@click.option("--deep", is_flag=True, help="Check every blob and manifest, not only the tags.")
@click.option("--only", multiple=True, metavar="GLOB", help="Only mirrors whose source matches. Repeatable.")
@verb
def command(
    console: Console, spec: str, output: str | None, exit_on_changes: bool, deep: bool, only: tuple[str, ...]
) -> int:
    """Show what would change at each destination of SPEC (mirror.yaml), without changing it."""
    made = run(console, partial(make_plan, load_spec(spec), only=only, deep=deep))
    if output is not None:
        save_plan(made, output)
    if output is not None and not is_standard_output(output):
        console.notice(f"saved to {output}; apply it with: mirrorsync apply {output}")
    if output is None or not is_standard_output(output):  # otherwise the plan is there, and must stay readable
        quiet = console.level < 0 and not any(made.changed())
        console.result(lambda: plan_document(made), changes_table(made.changes), "" if quiet else plan_summary(made))
    for line in failure_lines(made.failures):
        write_stderr(line)
    if made.failures:
        return exit_code(made.failures, landed=bool(made.changes))
    return ExitCode.CHANGES if exit_on_changes and any(made.changed()) else ExitCode.DONE
