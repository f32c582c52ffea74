"""`mirrorsync apply`."""

from __future__ import annotations

from pathlib import Path

import click

from mirrorsync.cli.options.deadline import deadline_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import failure_lines, report_summary
from mirrorsync.cli.output.stdio import tell
from mirrorsync.cli.sessions import DEFAULT_SPEC, environment_for, in_session, read_spec
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.plan import read_plan
from mirrorsync.documents.report import report_document
from mirrorsync.errors import UsageError
from mirrorsync.files.locks import FileLock
from mirrorsync.library import read_file
from mirrorsync.plan.model import Plan
from mirrorsync.spec.model import Spec
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.saved import check_against, check_fresh
from mirrorsync.sync.session import Session

_MAX_BYTES = 1024 * 1024 * 1024


@click.command()
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC|PLAN]")
@click.option("--spec", "spec_of_plan", type=click.Path(), help="The spec of PLAN, where it is not at its old place.")
@click.option("--deep", is_flag=True, help="Ask for every blob and manifest, and repair what is missing.")
@click.option("--only", multiple=True, metavar="GLOB", help="Only mirrors whose source matches. Repeatable.")
@deadline_option
@verb
def command(
    console: Console, spec: str, spec_of_plan: str | None, deep: bool, only: tuple[str, ...], deadline: float | None
) -> int:
    """Make the destinations hold what SPEC (mirror.yaml) wants, or do exactly what a saved PLAN says.

    A saved plan is refused with exit code 5 when a tag of the source or the destination has moved since.
    """
    plan = read_plan(read_file(Path(spec), _MAX_BYTES, "spec"), spec)
    if plan is not None:
        if only or deep:
            raise UsageError("a saved plan is done as it is", remedy="leave --only and --deep to `mirrorsync plan`")
        spec = spec_of_plan or plan.spec.path
    elif spec_of_plan is not None:
        raise UsageError("--spec goes with a saved plan", remedy="name the spec alone")
    report, code = _applied(console, read_spec(spec), plan, only, deep, deadline)
    quiet = console.level < 0 and not (report.failures or report.interrupted)
    console.result(lambda: report_document(report, code), "" if quiet else report_summary(report))
    for line in failure_lines(report.failures):
        tell(line)
    return code


def _applied(
    console: Console, spec: Spec, plan: Plan | None, only: tuple[str, ...], deep: bool, deadline: float | None
) -> tuple[Report, int]:
    """Plan, unless there is a plan, and apply; return the report and the exit code."""

    async def work(session: Session, stop: Stop) -> Report:
        ready = await stop.unless(_ready(spec, session, plan, only, deep))
        return await apply(ready, session, stop=stop.event, sleep=stop.asleep)

    with FileLock(Path(spec.source), spec.source):
        report, stop = in_session(console, environment_for(spec), work, deadline)
    return stop.ended(report)


async def _ready(spec: Spec, session: Session, plan: Plan | None, only: tuple[str, ...], deep: bool) -> Plan:
    if plan is None:
        return await make_plan(spec, session, only=only, deep=deep)
    check_against(plan, spec)
    await check_fresh(plan, session)
    return plan
