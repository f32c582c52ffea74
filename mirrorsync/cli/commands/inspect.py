"""`mirrorsync inspect`."""

from __future__ import annotations

import json
from contextlib import suppress

import click

from mirrorsync.cli.options.access import AccessOptions, access_options, retry_option
from mirrorsync.cli.options.platforms import read_platform
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.inspection import print_page
from mirrorsync.cli.skopeo_codes import skopeo_codes
from mirrorsync.cli.visits import Visit
from mirrorsync.documents.inspection import inspection_document
from mirrorsync.errors import ExitCode, IntegrityError, UsageError, printable
from mirrorsync.library import absolute
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Reference, parse_image
from mirrorsync.sync.session import Session
from mirrorsync.sync.single.inspect import examine, find, members_of, read_config, select


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--raw", is_flag=True, help="Print the manifest's bytes, exactly; with --config those of the config.")
@click.option("--config", is_flag=True, help="Print the image's config as JSON.")
@click.option(
    "--platform", "wanted", metavar="OS/ARCH[/VARIANT]", help="Which image of an index (`host`: this machine's)."
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
    """Look into the image REF where it is; no layer is fetched.

    REF is a transport and a name, such as docker://host/repository:tag or oci:DIR:NAME; a repository alone is its
    `latest` and its tags. Of an index every platform is shown; the layers are those of --platform, or of its only
    image.
    """
    if raw and console.as_json:
        raise UsageError("--raw and --json contradict each other", remedy="--raw gives the bytes as they are")
    image = parse_image(reference, str(absolute(".")))
    platform = read_platform(wanted) if wanted is not None else None
    visit = Visit.to(console, image.location, access, retry_times)
    if raw or config:
        _print_bytes(visit.run(lambda session: _bytes(session, image, platform, config=config)), raw=raw)
        return ExitCode.DONE
    found = visit.run(lambda session: examine(session, image, platform=platform, tags=not no_tags))
    for notice in found.notices:
        console.say(printable(f"note: {notice}"))
    if console.as_json:
        console.result(lambda: inspection_document(found))
    else:
        print_page(found)
    return ExitCode.DONE


async def _bytes(session: Session, reference: Reference, platform: Platform | None, *, config: bool) -> bytes:
    """Return the bytes of a manifest or of an image's config. Raises: NotFound, UsageError."""
    root = await find(session, reference)
    if not config and platform is None:
        return root.raw
    image = await select(session, reference, root, platform)
    if image is None:
        raise UsageError(f"{reference} is an index of several images", remedy=f"--platform {_platforms(root)}")
    return await read_config(session, reference.location, image) if config else image.raw


def _platforms(root: Manifest) -> str:
    names = [str(member.content.platform) for member in members_of(root) if member.kind == "image"]
    return printable(", or ".join(dict.fromkeys(names)))


def _print_bytes(data: bytes, *, raw: bool) -> None:
    """Print bytes exactly, or as JSON that is fit for a terminal. Raises: IntegrityError when they are no JSON."""
    if not raw:
        try:
            data = json.dumps(json.loads(data), indent=1, allow_nan=False).encode() + b"\n"
        except (ValueError, RecursionError) as error:
            raise IntegrityError("the config is not JSON", remedy="--config --raw prints its bytes") from error
    with suppress(BrokenPipeError):  # whoever read it has enough
        click.echo(data, nl=False)
