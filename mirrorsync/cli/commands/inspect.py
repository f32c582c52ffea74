"""`mirrorsync inspect`."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial

import click

from mirrorsync.app.images import inspect_image, read_manifest
from mirrorsync.app.reading import read_platform, read_reference
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_platform, complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.inspection import print_page
from mirrorsync.cli.sessions import run
from mirrorsync.cli.skopeo_codes import skopeo_codes
from mirrorsync.documents.inspection import inspection_document
from mirrorsync.errors import ExitCode, Malformed, UsageError, printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Show an image, its platforms and the tags of its repository",
            "mirrorsync inspect docker://docker.io/library/alpine:3.20",
        ),
        Example(
            "The config of the image for one platform",
            "mirrorsync inspect --config --platform linux/arm64 \\\n    docker://docker.io/library/alpine:3.20",
        ),
        Example("The manifest, byte for byte", "mirrorsync inspect --raw oci:/srv/mirror:team/app:1"),
    ],
)
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
@click.option("--raw", is_flag=True, help="Print the exact bytes of the manifest; with --config, of the config.")
@click.option("--config", is_flag=True, help="Print the image's config as JSON.")
@click.option(
    "--platform",
    "wanted",
    metavar="OS/ARCH[/VARIANT]",
    shell_complete=complete_platform,
    help="The image of an index to show (`host`: this machine's).",
)
@click.option("-n", "--no-tags", is_flag=True, help="Do not list the repository's tags.")
@access_options()
@retry_option
@verb
@skopeo_codes
def command(
    console: Console,
    reference: str,
    raw: bool,
    config: bool,
    wanted: str | None,
    no_tags: bool,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Show the image REF without downloading its layers.

    REF is written with its transport, such as docker://host/repository:tag or oci:DIR:NAME; a repository alone means
    its `latest`, with the list of its tags. For an index, all platforms are listed; the layers shown are those of
    --platform, or of its only image.
    """
    if raw and console.as_json:
        raise UsageError("--raw and --json contradict each other", remedy="choose one: --raw prints the exact bytes")
    image = read_reference(reference)
    platform = read_platform(wanted) if wanted is not None else None
    environment = environment_of(console, [(image.location, access)], retry_times)
    if raw or config:
        data = run(console, partial(read_manifest, image, platform=platform, config=config), environment)
        _print_bytes(data, raw=raw)
        return ExitCode.DONE
    found = run(console, partial(inspect_image, image, platform=platform, tags=not no_tags), environment)
    for notice in found.notices:
        console.notice(printable(f"note: {notice}"))
    if console.as_json:
        console.result(lambda: inspection_document(found))
    else:
        print_page(found)
    return ExitCode.DONE


def _print_bytes(data: bytes, *, raw: bool) -> None:
    """Print exact bytes, or JSON that is safe for a terminal. Raises: Malformed if they are not JSON."""
    if not raw:
        try:
            data = json.dumps(json.loads(data), indent=1, allow_nan=False).encode() + b"\n"
        except (ValueError, RecursionError) as error:
            raise Malformed("the config is not JSON", remedy="--config --raw prints its bytes") from error
    with suppress(BrokenPipeError):  # the reader (head, less) has closed the pipe
        click.echo(data, nl=False)
