"""`mirrorsync client-config`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mirrorsync.app.clients import NAMES, ClientConfig, File, client_config, lost_text, write_files
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_directory, complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.stdio import LINE_LIMIT, write_stderr
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.configuration import configuration_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Show what podman needs", "mirrorsync client-config --for podman --destination corp"),
        Example(
            "Write the files of a node of a cluster with containerd",
            "mirrorsync client-config --for containerd --destination corp --output node",
        ),
        Example(
            "For a layout that is served at this address, and no other registry",
            "mirrorsync client-config --for k3s --destination disk --no-fallback \\\n    --address http://mirror.lan:5000",
        ),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option("--for", "client", required=True, type=click.Choice(NAMES), metavar="CLIENT", help=", ".join(NAMES) + ".")
@click.option("--destination", default="", metavar="NAME", help="Where clients pull from, if SPEC has several.")
@click.option(
    "--address",
    default="",
    metavar="HOST[/PREFIX]",
    help="Where clients find it, if not there; http:// in front: no TLS.",
)
@click.option("--no-fallback", is_flag=True, help="Clients never pull from the sources.")
@click.option("--output", "-o", metavar="DIR", help="Write the files below DIR.", shell_complete=complete_directory)
@click.option("--force", is_flag=True, help="Replace files that differ.")
@verb
def command(
    console: Console,
    spec: str,
    client: str,
    destination: str,
    address: str,
    no_fallback: bool,
    output: str | None,
    force: bool,
) -> int:
    """Write the files that make a client pull from a destination by the names of the sources: manifests stay as they
    are.

    They follow from the names (`name:`) that SPEC (mirror.yaml) gives to repositories, and from the settings of the
    destination's host. The head of each says where it belongs, and how it is put to use, checked and undone. Nothing is
    contacted, and no secret is written.

    What a client cannot express is named: the exit code is 3 then, or 1 if that is everything.
    """
    if force and output is None:
        raise UsageError("--force has no effect without --output", remedy="name a directory: --output DIR")
    found = client_config(load_spec(spec), client, destination, address=address, fallback=not no_fallback)
    files, lost = found.written.files, found.written.lost
    paths = write_files(output, files, force=force) if output is not None else []
    for note in found.written.notes:
        console.notice(f"note: {note}")
    _report_lost(console, client, found)
    parts = _texts(files) if output is None else [f"wrote {path}" for path in paths] if console.level >= 0 else []
    console.result(lambda: configuration_document(client, found.site, found.written, paths), *parts)
    return ExitCode.PARTLY if lost else ExitCode.DONE


def _texts(files: Sequence[File]) -> list[str]:
    """Return files one after another, each behind its path, as head and tail write them."""
    gaps = ["", *["\n"] * (len(files) - 1)]
    pairs = zip(gaps, files, strict=True)
    return [f"{gap}==> {file.path} <==\n{file.text}".rstrip("\n") for gap, file in pairs]


def _report_lost(console: Console, client: str, found: ClientConfig) -> None:
    """Report what a client cannot express, even if the command is quiet."""
    for one in found.written.lost:
        text = f"{client} cannot express {', '.join(one.rule.mirrors)}: {lost_text(found.site.registry, one)}"
        if console.log_format == "json":
            from mirrorsync.cli.output.logs import log

            log("json", "error", text)
        else:
            write_stderr(printable(text, LINE_LIMIT))
