"""`mirrorsync delete`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import partial

import click
from rich.filesize import decimal

from mirrorsync.app.images import check_reference, delete_image, plan_delete
from mirrorsync.app.reading import read_reference
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import count
from mirrorsync.cli.output.stdio import write_stderr
from mirrorsync.cli.sessions import run
from mirrorsync.cli.skopeo.codes import skopeo_codes
from mirrorsync.cli.skopeo.options import DELETE, skopeo_options
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.plan import plan_document
from mirrorsync.documents.report import report_document
from mirrorsync.environment import Environment
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.oci.reference import Reference
from mirrorsync.plan.model import Change, Plan, Related
from mirrorsync.plan.steps import DeleteManifest
from mirrorsync.sync.run.report import Report
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Show what would be deleted, and what stays",
            "mirrorsync delete --dry-run docker://harbor.corp.example/team/app:dev",
        ),
        Example("Delete one tag without asking", "mirrorsync delete --yes docker://harbor.corp.example/team/app:dev"),
        Example(
            "Delete the image with all of its tags",
            "mirrorsync delete --yes --all-tags-of-digest \\\n    docker://harbor.corp.example/team/app:dev",
        ),
    ],
)
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation. Needed if stdin is not a terminal.")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option("--all-tags-of-digest", "all_tags", is_flag=True, help="Delete the image with all of its tags.")
@access_options()
@retry_option
@skopeo_options(DELETE)
@verb
@skopeo_codes
def command(
    console: Console,
    reference: str,
    yes: bool,
    dry_run: bool,
    all_tags: bool,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Delete REF: one tag, or an image by its digest.

    If a registry deletes only by digest and other tags have the same digest, they are reported and nothing is deleted,
    unless --all-tags-of-digest is given. In a layout, blobs that no image needs any more are deleted too. Signatures
    and other referrers of the image stay.
    """
    image = read_reference(reference)
    check_reference(image)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UsageError(
            "refusing to delete without confirmation: stdin is not a terminal",
            remedy="pass --yes to delete without asking, or --dry-run to see what would be deleted",
        )
    environment = environment_of(console, [(image.location, access)], retry_times)
    if dry_run:
        planned = run(console, partial(plan_delete, image, all_tags=all_tags, look_around=True), environment)
        console.result(lambda: plan_document(planned), "\n".join(_plan_lines(planned)))
        return ExitCode.DONE
    agreed = None if yes else _confirm(console, environment, image, all_tags=all_tags)
    stop = Stop(console.notice)
    done = run(console, partial(delete_image, image, all_tags=all_tags, agreed=agreed), environment, stop)
    plan, report = done.plan, done.report
    if report is None or report.interrupted:
        raise stop.interrupted()
    if report.failures:
        raise report.failures[0].error
    lines = "" if console.level < 0 else "\n".join(_done_lines(plan, report))
    console.result(lambda: report_document(report), lines)
    return ExitCode.DONE


def _confirm(console: Console, environment: Environment, image: Reference, *, all_tags: bool) -> Plan:
    """Show the plan and ask for confirmation. Raises: UsageError if it is declined."""
    planned = run(console, partial(plan_delete, image, all_tags=all_tags), environment)
    for line in _plan_lines(planned):
        write_stderr(line)
    if not click.confirm("Delete this?", err=True):
        # Declining the prompt is not a usage error.
        raise UsageError("nothing was deleted").with_(exit_code=ExitCode.FAILED)
    return planned


def _plan_lines(plan: Plan) -> Iterator[str]:
    """Yield what will be deleted and what stays."""
    for change in plan.changes:
        yield printable(f"to be deleted: {_what(plan, change)}")
        users = [one.name for one in change.stays if one.kind in ("tag", "index")]
        if users:
            yield printable(f"stays: the image, which is also in {', '.join(users)}")
            if change.target.transport.is_registry:
                yield "if the registry deletes only by digest, it therefore deletes nothing"
        yield from _left_lines(change.stays)


def _what(plan: Plan, change: Change) -> str:
    if change.tag is not None:
        return f"the tag {change.tag} of {change.target} ({change.digest})"
    tags = [tag for step in plan.steps if isinstance(step, DeleteManifest) for tag in step.tags]
    return f"{change}, with the tags {', '.join(tags)}" if tags else str(change)


def _left_lines(stays: Iterable[Related]) -> Iterator[str]:
    parts = 0
    for one in stays:
        if one.kind == "image":
            parts += 1
        elif one.kind not in ("tag", "index"):
            yield printable(f"stays: {one.kind} {one.name}, which refers to it")
    if parts:
        yield f"stays: {count(parts, 'image')} of the index, until the registry's garbage collection"


def _done_lines(plan: Plan, report: Report) -> Iterator[str]:
    for change in plan.changes:
        yield printable(f"deleted: {_what(plan, change)}")
        yield from _left_lines(change.stays)
    for notice in report.notices:
        yield printable(notice.message)
    freed = report.counts.freed
    if freed is not None and freed.blobs:
        yield f"freed: {count(freed.blobs, 'blob')}, {decimal(freed.size)}"
