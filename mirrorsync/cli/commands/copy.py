"""`mirrorsync copy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from mirrorsync.app.copying import Copy, read_copy
from mirrorsync.app.image_lists import write_image_list
from mirrorsync.app.outputs import write_output
from mirrorsync.app.runs import run_copy
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_reference
from mirrorsync.cli.options.access import (
    DESTINATION,
    SOURCE,
    AccessOptions,
    access_options,
    both_ends_options,
    environment_of,
    retry_option,
)
from mirrorsync.cli.options.deadline import deadline_option
from mirrorsync.cli.options.platforms import platforms_options
from mirrorsync.cli.options.selection import failed_option, takes_stdout
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.plans import changes_listing, last_line, totals_lines
from mirrorsync.cli.output.reports import report_parts
from mirrorsync.cli.output.tables import Listing
from mirrorsync.cli.sessions import run
from mirrorsync.cli.skopeo.codes import NOT_FOUND, skopeo_option
from mirrorsync.cli.skopeo.options import COPY, skopeo_options
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.plan import plan_document
from mirrorsync.documents.report import report_document
from mirrorsync.environment import Environment
from mirrorsync.errors import ExitCode, NotFound, UsageError
from mirrorsync.oci.platform import Platform
from mirrorsync.plan.model import Failure, Plan
from mirrorsync.sync.run.report import Report, lost_images
from mirrorsync.sync.run.report import exit_code as code_of
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "From one registry to another, with all platforms",
            "mirrorsync copy docker://docker.io/library/alpine:3.20 \\\n    docker://harbor.corp.example/base/alpine:3.20",
        ),
        Example(
            "Into a directory that can hold many images, with signatures and SBOMs",
            "mirrorsync copy --referrers docker://quay.io/team/app:1 oci:/srv/mirror",
        ),
        Example(
            "An image for `docker load`, for this machine's platform",
            "mirrorsync copy --platform host docker://docker.io/library/alpine:3.20 \\\n"
            "    docker-archive:alpine.tar:alpine:3.20",
        ),
        Example(
            "Show what would be copied; ask for the password of ci",
            "mirrorsync copy --dry-run --dest-creds ci oci:/srv/mirror:team/app:1 \\\n    docker://harbor.corp.example/team/app:1",
        ),
    ],
)
@click.argument("source", metavar="SRC", shell_complete=complete_reference)
@click.argument("destination", metavar="DST", shell_complete=complete_reference)
@platforms_options
@click.option("--referrers", is_flag=True, help="Also copy its signatures, SBOMs and attestations.")
@click.option("--additional-tag", multiple=True, metavar="TAG", help="Also set this tag (or NAME:TAG). Repeatable.")
@click.option(
    "--digestfile", type=click.Path(dir_okay=False), metavar="FILE", help="Write the digest to FILE (`-`: stdout)."
)
@click.option(
    "--preserve-digests/--no-preserve-digests",
    "preserve",
    default=None,
    help="Reject options that would change a digest. Images are never converted between registries and OCI layouts.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be copied.")
@access_options(DESTINATION, "destination_access")
@access_options(SOURCE, "source_access")
@retry_option
@both_ends_options
@failed_option
@deadline_option
@skopeo_option
@skopeo_options(COPY)
@verb
def command(
    console: Console,
    source: str,
    destination: str,
    platforms: tuple[Platform, ...],
    referrers: bool,
    additional_tag: tuple[str, ...],
    digestfile: str | None,
    preserve: bool | None,
    dry_run: bool,
    source_access: AccessOptions,
    destination_access: AccessOptions,
    retry_times: int | None,
    both: AccessOptions,
    skopeo_exit_codes: bool,
    failed_file: str | None,
    deadline: float | None,
) -> int:
    """Copy the image SRC to DST: only content that DST lacks, byte for byte, with all its platforms.

    Both are written with their transport:

    \b
      docker://host/repository:tag    docker-archive:FILE:NAME:TAG
      oci:DIR:NAME                    docker-daemon:NAME:TAG
      oci-archive:FILE:NAME           dir:DIR
    """
    silent = takes_stdout(console, failed_file)
    wanted = read_copy(source, destination, additional_tag, platforms=platforms, referrers=referrers)
    _check_preserving(wanted, preserve)
    ends = [(wanted.source, source_access), *((target, destination_access) for target in wanted.targets)]
    locations = [(end.location, access.filled(both, end.location)) for end, access in ends]
    environment = environment_of(console, locations, retry_times)
    done = _copy(console, wanted, environment, deadline, dry_run=dry_run)
    code = done.code
    if skopeo_exit_codes and done.failures and all(isinstance(one.error, NotFound) for one in done.failures):
        code = NOT_FOUND
    quiet = console.level < 0 and not done.failures
    console.failed(done.failures)
    console.result(lambda: done.document(code), *(() if quiet or silent else done.parts()))
    if failed_file is not None:
        write_image_list(failed_file, lost_images(done.failures, done.report.results if done.report else ()))
    if digestfile is not None and done.report is not None and code == ExitCode.DONE:
        write_output(digestfile, [str(done.plan.changes[0].digest)])
    return code


@dataclass(frozen=True, slots=True)
class _Done:
    """The result of a copy. report: None if it was only planned; `applied`, its exit code, is unused then."""

    plan: Plan
    report: Report | None
    applied: ExitCode

    @property
    def failures(self) -> Sequence[Failure]:
        return self.report.failures if self.report else self.plan.failures

    @property
    def code(self) -> int:
        if self.report is None:
            return code_of(self.plan.failures, landed=bool(self.plan.changes))
        return self.applied

    def parts(self) -> tuple[str | Listing, ...]:
        """Return the output for people: the changes, their amount, and their outcome."""
        planned = changes_listing(self.plan.changes), *totals_lines(self.plan)
        return *planned, *(report_parts(self.report) if self.report else [last_line(self.plan)])

    def document(self, code: int) -> dict[str, Any]:
        """Return the report document, or the plan document of a dry run."""
        return report_document(self.report, code) if self.report else plan_document(self.plan)


def _copy(console: Console, wanted: Copy, environment: Environment, deadline: float | None, *, dry_run: bool) -> _Done:
    """Plan, and apply unless it is a dry run."""
    stop = Stop(console.notice, deadline)
    copied = run(console, partial(run_copy, wanted, dry_run=dry_run), environment, stop)
    code = stop.code_of(copied.report) if copied.report else ExitCode.DONE
    return _Done(copied.plan, copied.report, code)


def _check_preserving(wanted: Copy, preserve: bool | None) -> None:
    """Reject options that would change digests. Raises: UsageError."""
    if preserve is False:
        raise UsageError("images are never converted", remedy="leave out --no-preserve-digests")
    if not preserve:
        return
    if len(wanted.platforms) > 1:
        raise UsageError(
            "several platforms of an index make a new index with another digest",
            remedy="leave out --preserve-digests, or choose one platform or all",
        )
    for end in (wanted.source, wanted.targets[0]):
        if not end.location.transport.keeps_manifests:
            raise UsageError(
                f"{printable(str(end))} does not keep manifests, and so not their digests",
                remedy="leave out --preserve-digests",
            )
