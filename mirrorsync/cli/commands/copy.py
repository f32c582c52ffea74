"""`mirrorsync copy`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mirrorsync.cli.access import DESTINATION, SOURCE, AccessOptions, access_options, reach, retry_option
from mirrorsync.cli.console import Console, verb
from mirrorsync.cli.copying import Copy, read_copy, spec_of
from mirrorsync.cli.platforms import read_platform
from mirrorsync.cli.render import changes_table, failure_lines, plan_summary, report_summary
from mirrorsync.cli.sessions import opened
from mirrorsync.cli.stop import Stop
from mirrorsync.cli.streams import tell
from mirrorsync.errors import ExitCode, NotFound, StorageError, UsageError, printable
from mirrorsync.library import absolute
from mirrorsync.oci.reference import Location
from mirrorsync.oci.transports import transport_of
from mirrorsync.plan import document
from mirrorsync.plan.model import Plan
from mirrorsync.sync.apply import apply
from mirrorsync.sync.planning import make_plan
from mirrorsync.sync.report import Report, to_json
from mirrorsync.sync.report import exit_code as code_of


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]",
    help="Only this platform of an index (`host`: this machine's). Repeatable; everything without it.",
)
@click.option("-a", "--all", "everything", is_flag=True, help="All platforms: what happens anyway.")
@click.option("--referrers", is_flag=True, help="Also signatures, SBOMs and attestations that refer to it.")
@click.option("--additional-tag", multiple=True, metavar="TAG", help="One more tag (or NAME:TAG). Repeatable.")
@click.option("--digestfile", type=click.Path(dir_okay=False), metavar="FILE", help="Write the digest there.")
@click.option(
    "--preserve-digests/--no-preserve-digests",
    "preserve",
    default=None,
    help="Refuse what would change a digest; nothing is ever converted between registries and OCI layouts.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be copied.")
@access_options(DESTINATION, "destination_access")
@access_options(SOURCE, "source_access")
@retry_option
@click.option("--skopeo-exit-codes", "skopeo_codes", is_flag=True, help="Exit with 2 when SRC is not there.")
@verb
def command(
    console: Console,
    source: str,
    destination: str,
    platforms: tuple[str, ...],
    everything: bool,
    referrers: bool,
    additional_tag: tuple[str, ...],
    digestfile: str | None,
    preserve: bool | None,
    dry_run: bool,
    source_access: AccessOptions,
    destination_access: AccessOptions,
    retry_times: int | None,
    skopeo_codes: bool,
) -> int:
    """Copy the image SRC to DST: what is missing there, byte for byte, with all its platforms.

    Both are a transport and a name: docker://host/repository:tag, oci:DIR:NAME, oci-archive:FILE:NAME,
    docker-archive:FILE:NAME:TAG, docker-daemon:NAME:TAG, dir:DIR.
    """
    if everything and platforms:
        raise UsageError("--all and --platform contradict each other")
    wanted = read_copy(source, destination, additional_tag, str(absolute(".")))
    wanted = replace(wanted, platforms=tuple(dict.fromkeys(map(read_platform, platforms))), referrers=referrers)
    _check_preserving(wanted, preserve)
    places = [(wanted.source.location, source_access)]
    places += [(target.location, destination_access) for target in wanted.targets]
    plan, report = _copied(console, wanted, places, retry_times, dry_run=dry_run)
    failures = report.failures if report else plan.failures
    code = int(report.exit_code if report else code_of(plan.failures, landed=bool(plan.changes)))
    if skopeo_codes and failures and all(isinstance(failure.error, NotFound) for failure in failures):
        code = ExitCode.USAGE
    if console.level >= 0 or failures:
        moved = report_summary(report) if report else ""
        nothing = report is not None and not any(plan.changed())
        shown = "" if nothing else plan_summary(plan)
        console.result(
            lambda: to_json(report, code) if report else document.to_json(plan),
            changes_table(plan.changes),
            shown,
            moved,
        )
    for line in failure_lines(failures):
        tell(line)
    if digestfile is not None and plan.changes and code == ExitCode.DONE:
        _write_digest(digestfile, plan)
    return code


def _document(plan: Plan, report: Report | None, code: int) -> dict[str, Any]:
    return to_json(report, code) if report else document.to_json(plan)


def _copied(
    console: Console,
    wanted: Copy,
    places: Sequence[tuple[Location, AccessOptions]],
    retry_times: int | None,
    *,
    dry_run: bool,
) -> tuple[Plan, Report | None]:
    """Plan and, unless it is a dry run, apply; return both."""
    ways = reach(console, places, os.environ)
    spec = spec_of(wanted, ways.registries)
    stop = Stop(console.say)
    with console.watching() as observer:

        async def work() -> tuple[Plan, Report | None]:
            async with opened(spec, stop, observer, ways, retry_times) as session:
                plan = await stop.unless(make_plan(spec, session))
                if dry_run:
                    return plan, None
                return plan, await apply(plan, session, stop=stop.event, sleep=stop.asleep)

        return stop.run(work)


def _check_preserving(wanted: Copy, preserve: bool | None) -> None:
    """See that what was asked for digests can be held. Raises: UsageError."""
    if preserve is False:
        raise UsageError("images are never converted", remedy="leave out --no-preserve-digests")
    if not preserve:
        return
    if len(wanted.platforms) > 1:
        raise UsageError(
            "several platforms of an index are a new index, whose digest is another",
            remedy="leave out --preserve-digests, or name one platform or none",
        )
    for end in (wanted.source, wanted.targets[0]):
        transport = transport_of(end.location.store)
        if transport is not None and not transport.keeps_manifests:
            raise UsageError(
                f"{printable(str(end))} is in a form without manifests", remedy="leave out --preserve-digests"
            )


def _write_digest(name: str, plan: Plan) -> None:
    try:
        Path(name).write_text(str(plan.changes[0].image.root.digest), "utf-8")
    except OSError as error:
        raise StorageError(f"{printable(name)} cannot be written: {error.strerror}") from error
