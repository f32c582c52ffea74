"""`mirrorsync inspect`."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial

import click

from mirrorsync.app.images import inspect_image, read_manifest
from mirrorsync.app.reading import read_reference
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.options.platforms import platform_options
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.inspection import print_page
from mirrorsync.cli.sessions import run
from mirrorsync.cli.skopeo.codes import skopeo_codes
from mirrorsync.cli.skopeo.inspection import JSON, print_formatted
from mirrorsync.cli.skopeo.options import INSPECT, skopeo_options
from mirrorsync.documents.inspection import inspection_document
from mirrorsync.errors import ExitCode, Malformed, UsageError
from mirrorsync.oci.platform import Platform
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Show an image, its platforms and the tags of its repository",
            "mirrorsync inspect docker://docker.io/library/alpine:3.20",
        ),
        Example(
            "The digest alone, for a script",
            "mirrorsync inspect --format '{{.Digest}}' \\\n    docker://docker.io/library/alpine:3.20",
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
@platform_options
@click.option("-n", "--no-tags", is_flag=True, help="Do not list the repository's tags.")
@click.option(
    "-f",
    "--format",
    "form",
    metavar="TEMPLATE|json",
    help="Print values as skopeo does, such as {{.Digest}}; or skopeo's JSON.",
)
@access_options()
@retry_option
@skopeo_options(INSPECT)
@verb
@skopeo_codes
def command(
    console: Console,
    reference: str,
    raw: bool,
    config: bool,
    platform: Platform | None,
    no_tags: bool,
    form: str | None,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Show the image REF without downloading its layers.

    REF is written with its transport, such as docker://host/repository:tag or oci:DIR:NAME; a repository alone means
    its `latest`, with the list of its tags. For an index, all platforms are listed; the layers shown are those of
    --platform, or of its only image.
    """
    _check_output(console, form, raw=raw, config=config)
    image = read_reference(reference)
    environment = environment_of(console, [(image.location, access)], retry_times)
    if raw or config:
        data = run(console, partial(read_manifest, image, platform=platform, config=config), environment)
        _print_bytes(data, raw=raw)
        return ExitCode.DONE
    if form is not None:
        print_formatted(console, image, form, platform, environment, tags=not no_tags)
        return ExitCode.DONE
    found = run(console, partial(inspect_image, image, platform=platform, tags=not no_tags), environment)
    for notice in found.notices:
        console.notice(printable(f"note: {notice}"))
    if console.as_json:
        console.result(lambda: inspection_document(found))
    else:
        print_page(found)
    return ExitCode.DONE


def _check_output(console: Console, form: str | None, *, raw: bool, config: bool) -> None:
    """Reject forms of output that contradict each other. Raises: UsageError."""
    if raw and console.as_json:
        raise UsageError("--raw and --json contradict each other", remedy="choose one: --raw prints the exact bytes")
    if form is None:
        return
    if raw or console.as_json:
        other = "--raw" if raw else "--json"
        raise UsageError(f"{other} and --format contradict each other", remedy="choose one")
    if config and form != JSON:
        raise UsageError(
            "--format has no values of a config", remedy="leave out --format, and read what --config prints with jq"
        )


def _print_bytes(data: bytes, *, raw: bool) -> None:
    """Print exact bytes, or JSON that is safe for a terminal. Raises: Malformed if they are not JSON."""
    if not raw:
        try:
            data = json.dumps(json.loads(data), indent=1, allow_nan=False).encode() + b"\n"
        except (ValueError, RecursionError) as error:
            raise Malformed("the config is not JSON", remedy="--config --raw prints its bytes") from error
    with suppress(BrokenPipeError):  # the reader (head, less) has closed the pipe
        click.echo(data, nl=False)
