"""`mirrorsync inventory`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.bundle.inventories import make_inventory, make_inventory_of, save_inventory, save_signed_inventory
from mirrorsync.app.outputs import is_standard_output
from mirrorsync.app.reading import read_store
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import count
from mirrorsync.cli.sessions import run
from mirrorsync.documents.inventory import inventory_document
from mirrorsync.errors import UsageError
from mirrorsync.sync.run.report import exit_code


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Write down what a mirror has, for `bundle create --have`",
            "mirrorsync inventory oci:/srv/mirror --output far.json",
        ),
        Example(
            "Of a registry that does not list its repositories, those of a spec",
            "mirrorsync inventory --spec mirror.yaml --output far.json.gz",
        ),
    ],
)
@click.argument("location", required=False, metavar="[LOCATION]", shell_complete=complete_reference)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    metavar="FILE",
    help="Write this file, instead of stdout; .gz is compressed.",
)
@click.option(
    "--spec", metavar="SPEC", shell_complete=complete_file, help="The repositories that this spec mirrors to LOCATION."
)
@click.option("--destination", metavar="NAME", help="The destination of the spec, if it has several.")
@click.option(
    "--sign",
    multiple=True,
    metavar="KEY",
    shell_complete=complete_file,
    help="Sign with this SSH key: FILE.sig. Repeatable.",
)
@access_options()
@retry_option
@verb
def command(
    console: Console,
    location: str | None,
    output: str,
    spec: str | None,
    destination: str | None,
    sign: tuple[str, ...],
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Write down the tags, manifests and blobs that LOCATION has, for the other side of an air gap.

    LOCATION is HOST/PREFIX if the registry lists its repositories, or oci:DIR[:PREFIX]. Manifests are read, blobs are
    not. Exits with 3 if something could not be read: it is named, counts as absent, and is sent again.
    """
    if (location is None) == (spec is None):
        raise UsageError("give a location, or --spec with a spec", remedy="mirrorsync inventory oci:DIR --output FILE")
    to_stdout = is_standard_output(output)
    if sign and to_stdout:
        raise UsageError("a signature needs a file next to it", remedy="name the inventory: --output FILE")
    if spec is not None:
        found, failures = run(console, partial(make_inventory_of, load_spec(spec), destination))
    else:
        if destination is not None:
            raise UsageError("--destination is one of --spec", remedy="write HOST/PREFIX or oci:DIR[:PREFIX]")
        place = read_store(str(location))
        environment = environment_of(console, [(place, access)], retry_times)
        found, failures = run(console, partial(make_inventory, place), environment)
    console.failed(failures)
    if sign:
        save_signed_inventory(found, output, sign)
    elif not (to_stdout and console.as_json):
        save_inventory(found, output)
    if console.as_json:
        console.result(lambda: inventory_document(found))
    elif not to_stdout:
        repositories = found.held.repositories.values()
        tags = count(sum(len(one.tags) for one in repositories), "tag")
        manifests = count(sum(len(one.manifests) for one in repositories), "manifest")
        console.notice(f"{output}: {count(len(repositories), 'repository', 'repositories')}, {tags}, {manifests}")
    return exit_code(failures, landed=True)
