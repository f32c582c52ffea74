"""`mirrorsync plan`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from mirrorsync.app.image_lists import read_image_list, write_image_list
from mirrorsync.app.outputs import is_standard_output
from mirrorsync.app.runs import make_plan
from mirrorsync.app.specs import find_plan, load_spec, save_plan
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.options.bundle import BundleChoice, bundle_options
from mirrorsync.cli.options.locked import LockChoice, locked_options
from mirrorsync.cli.options.selection import failed_option, only_from_option, only_option, takes_stdout
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.made_bundles import planned_bundle
from mirrorsync.cli.output.plans import Detail, is_explained, plan_parts, saved_plan_line
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.plan import plan_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.plan.model import Plan
from mirrorsync.sync.run.report import exit_code, lost_images
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Show what `mirrorsync apply` would change", "mirrorsync plan"),
        Example(
            "Of one repository, what wants each image and what holds it back",
            "mirrorsync plan --explain --only '*/library/alpine'",
        ),
        Example("Save the plan, to apply exactly that later", "mirrorsync plan --output today.plan"),
        Example(
            "In a script: exit code 10 if anything would change",
            "mirrorsync plan --quiet --exit-code || echo 'not up to date'",
        ),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC|PLAN]", shell_complete=complete_file)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False), help="Save the plan, for `mirrorsync apply FILE` (`-`: stdout)."
)
@click.option("--all", "detail", flag_value="images", help="Show each image, also of more than 50 changes.")
@click.option("--summary", "detail", flag_value="totals", help="Show only the totals.")
@click.option(
    "--explain", is_flag=True, help="Show each image, also unchanged ones, with the filters that want its tag."
)
@click.option("--exit-code", "exit_on_changes", is_flag=True, help="Exit with 10 if anything would change.")
@click.option("--deep", is_flag=True, help="Check every blob and manifest, not only the tags.")
@only_option
@only_from_option
@locked_options
@failed_option
@bundle_options
@verb
def command(
    console: Console,
    spec: str,
    output: str | None,
    detail: Detail | None,
    explain: bool,
    exit_on_changes: bool,
    deep: bool,
    only: tuple[str, ...],
    only_from: str | None,
    lock: LockChoice,
    failed_file: str | None,
    bundle: BundleChoice | None,
) -> int:
    """Show what would change at each destination of SPEC (mirror.yaml), without changing it.

    More than 50 changes are shown as one line for each repository. Tags of the mirrored repositories that SPEC does not
    want any more are named; only a spec with prune: deletes those that this mirror has set. A saved PLAN is shown as it
    was made, without contacting anything.
    """
    if bundle is not None:
        return planned_bundle(console, bundle, lock.of(load_spec(spec)), only)
    silent = takes_stdout(console, failed_file)
    saved = find_plan(spec) if Path(spec).is_file() else None  # a pipe can be read only once
    restricted = Restriction(only, only_from, deep, lock)
    if saved is not None and (output is not None or restricted.words):
        raise UsageError(
            f"{printable(spec)} is a saved plan, which is shown as it is",
            remedy="give the spec to make another plan with --output, --deep, --only, --only-from or --locked",
        )
    if explain and detail == "totals":
        raise UsageError("--explain and --summary contradict each other")
    if explain and saved is not None and not is_explained(saved):
        raise UsageError(f"{printable(spec)} was saved without --explain", remedy="make a plan with --explain --output")
    plan = saved or _made(console, spec, restricted, explain=explain)
    if output is not None:
        save_plan(plan, output)
        silent = silent or is_standard_output(output)  # that program's input must stay readable
    if output is not None and not silent:
        console.notice(f"saved to {output}")
    console.failed(plan.failures, plan.spec)
    console.vanished(plan.vanished, plan.spec)
    if not silent:
        quiet = console.level < 0 and not any(plan.changed())
        applied = [output or spec] if output or saved else restricted.arguments(spec)
        head = [saved_plan_line(plan)] * (saved is not None)
        parts = [*head, *plan_parts(plan, detail, shlex.join(["mirrorsync", "apply", *applied]), explain=explain)]
        console.result(lambda: plan_document(plan), *(() if quiet else parts))
    if failed_file is not None:
        write_image_list(failed_file, lost_images(plan.failures))
    if plan.failures:
        return exit_code(plan.failures, landed=bool(plan.changes))
    return ExitCode.CHANGES if exit_on_changes and any(plan.changed()) else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Restriction:
    """The part of a spec that a plan is made of: globs, a list of images, a lock; and whether it is deep."""

    only: tuple[str, ...] = ()
    only_from: str | None = None
    deep: bool = False
    lock: LockChoice = field(default_factory=LockChoice)

    @property
    def words(self) -> list[str]:
        """The options, as they are written for `apply` too."""
        listed = [] if self.only_from is None else ["--only-from", self.only_from]
        return [
            *self.lock.words,
            *["--deep"] * self.deep,
            *(word for glob in self.only for word in ("--only", glob)),
            *listed,
        ]

    def arguments(self, spec: str) -> list[str]:
        """Return the arguments of `apply` for the same."""
        return [*([] if spec == DEFAULT_SPEC else [spec]), *self.words]


def _made(console: Console, spec: str, restricted: Restriction, *, explain: bool) -> Plan:
    listed = None if restricted.only_from is None else read_image_list(restricted.only_from)
    return run(
        console,
        partial(
            make_plan,
            restricted.lock.of(load_spec(spec)),
            only=restricted.only,
            only_from=listed,
            deep=restricted.deep,
            explain=explain,
        ),
    )
