"""`mirrorsync lock`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from mirrorsync.app.locking import NO_LOCK, Locking, load_lock, lock_path, make_lock, save_lock
from mirrorsync.app.outputs import is_standard_output
from mirrorsync.app.runs import stamp_of
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_source
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.locks import change_lines, images, totals
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.lock import lock_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.oci.reference import Reference
from mirrorsync.spec.lock import Lock
from mirrorsync.spec.model import Spec
from mirrorsync.sync.run.report import exit_code


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Write mirror.lock: the digest that each image has now", "mirrorsync lock"),
        Example("Take what one source has now, and leave the rest", "mirrorsync lock --update '*/library/alpine'"),
        Example("In CI: fail if the lock is not what the spec wants now", "mirrorsync lock --check"),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write this file (`-`: stdout), instead of mirror.lock next to SPEC.",
)
@click.option(
    "--update",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_source,
    help="Update only images whose source matches; the rest stays. Repeatable.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 10 if the lock is not what SPEC wants now.")
@verb
def command(console: Console, spec: str, output: str | None, update: tuple[str, ...], check: bool) -> int:
    """Write mirror.lock, the digest that each image of SPEC (mirror.yaml) has at its source now.

    It is YAML, sorted, with one line for each image, to be reviewed and merged. `mirrorsync apply --locked` mirrors
    exactly these images, whatever becomes of the tags at their sources. What cannot be resolved is named, and stays in
    the lock as it was. An image that min_age lets wait is locked when it is old enough; one in the lock does not wait.

    Exits with 0 if the lock is written, 3 if images of it could not be resolved; with --check 10 if it differs.
    """
    if check and output is not None and is_standard_output(output):
        raise UsageError("--check writes nothing", remedy="name the lock to compare: --output FILE")
    loaded = load_spec(spec)
    path = _path(loaded, output)
    silent = output is not None and is_standard_output(output)
    if silent and console.as_json:
        raise UsageError("--json and --output - both write to stdout", remedy="name a file: --output FILE")
    old = _old(loaded, path, silent=silent, needed=check)
    found = run(console, partial(make_lock, loaded, old, update=update, check=check))
    is_new = bool(found.lock.images or not found.failures) and (bool(found.changes) or not Path(path).exists())
    if silent or (is_new and not check):
        save_lock(found.lock, path, "spec")
    stamp = stamp_of(loaded, update)
    _notices(console, found)
    console.failed(found.failures, stamp)
    if not silent:
        quiet = console.level < 0 and not (check and found.changes)
        text = [change_lines(found.changes), _summary(found, Path(path).name)]
        console.result(
            lambda: lock_document(found.lock, found.changes, found.failures, stamp, found.waiting),
            *([] if quiet else text),
        )
    if found.failures:
        return exit_code(found.failures, landed=bool(found.lock.images))
    return ExitCode.CHANGES if check and found.changes else ExitCode.DONE


def _path(spec: Spec, output: str | None) -> str:
    try:
        return output or str(lock_path(spec))
    except UsageError as error:
        raise error.with_(remedy="name the file of the lock: --output FILE") from error


def _old(spec: Spec, path: str, *, silent: bool, needed: bool) -> Lock:
    """Return the lock until now; that next to the spec, if the new one goes to stdout. Raises: as `load_lock`."""
    if silent:
        try:
            path = str(lock_path(spec))
        except UsageError:
            return NO_LOCK
    return load_lock(path) if needed or Path(path).is_file() else NO_LOCK


def _notices(console: Console, found: Locking) -> None:
    for name, reason in (found.waiting or {}).items():
        console.notice(f"{Reference.of(*name)}: {reason}")
    if found.kept:
        console.notice(f"{images(found.kept)} of what failed: kept in the lock as before")


def _summary(found: Locking, name: str) -> str:
    failed = f", {len(found.failures)} failed" if found.failures else ""
    if failed and not found.lock.images:
        return f"{name}: not written{failed}"  # it would lock that the spec wants nothing
    return f"{name}: {images(len(found.lock.images))}, {totals(found.changes)}{failed}"
