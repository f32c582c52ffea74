"""`mirrorsync snapshot`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.locking import make_snapshot, save_lock
from mirrorsync.app.outputs import is_standard_output
from mirrorsync.app.reading import read_scope
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.locks import images
from mirrorsync.cli.sessions import run
from mirrorsync.documents.lock import lock_document
from mirrorsync.errors import UsageError
from mirrorsync.sync.run.report import exit_code
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Write down the images in a directory", "mirrorsync snapshot oci:/srv/mirror --output before.lock"),
        Example("The tags of one repository, with their digests", "mirrorsync snapshot docker.io/library/alpine"),
    ],
)
@click.argument("location", metavar="LOCATION", shell_complete=complete_reference)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    metavar="FILE",
    help="Write this file, instead of stdout.",
)
@access_options()
@retry_option
@verb
def command(console: Console, location: str, output: str, access: AccessOptions, retry_times: int | None) -> int:
    """Write down the images that LOCATION has now, each with its digest, in the form of a lock.

    LOCATION is HOST/REPOSITORY, HOST/PREFIX/ if the registry lists its repositories, oci:DIR, oci-archive:FILE,
    docker-archive:FILE or dir:DIR. `mirrorsync diff` shows what differs between two of them. Exits with 3 if some
    images could not be resolved: these are named, and are not in the snapshot.
    """
    scope = read_scope(location)
    if scope is None:
        raise UsageError(
            f"{printable(location)} is not a location",
            remedy="write HOST/REPOSITORY, HOST/PREFIX/ or oci:DIR; `mirrorsync lock` takes a spec",
        )
    environment = environment_of(console, [(scope.location, access)], retry_times)
    found = run(console, partial(make_snapshot, scope), environment)
    console.failed(found.failures)
    to_stdout = is_standard_output(output)
    if found.lock.images and not (to_stdout and console.as_json):
        save_lock(found.lock, output, "snapshot")
    if console.as_json:
        console.result(lambda: lock_document(found.lock, found.changes, found.failures))
    elif not to_stdout:
        console.notice(f"{output}: {images(len(found.lock.images))}")
    return exit_code(found.failures, landed=bool(found.lock.images))
