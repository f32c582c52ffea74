"""`mirrorsync bundle export`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.bundle.applying import Rules
from mirrorsync.app.bundle.exporting import RUNTIMES, Exported, export_bundle
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_directory, complete_file
from mirrorsync.cli.options.signers import SignerOptions, signer_options
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.render import count
from mirrorsync.cli.sessions import run
from mirrorsync.documents.export import export_document
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Write what a node of a k3s cluster imports at its start, below a directory",
            "mirrorsync bundle export /media/usb --for k3s --output node",
        ),
        Example(
            "For a cluster with containerd, as ctr imports it",
            "mirrorsync bundle export /media/usb --for containerd --output node",
        ),
    ],
)
@click.argument("path", shell_complete=complete_file)
@click.option(
    "--for",
    "runtime",
    required=True,
    type=click.Choice(tuple(RUNTIMES)),
    metavar="RUNTIME",
    help=", ".join(RUNTIMES) + ".",
)
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="DIR",
    help="Write below DIR, as `mirrorsync client-config` does; / is this node.",
    shell_complete=complete_directory,
)
@signer_options
@verb
def command(console: Console, path: str, runtime: str, output: str, signers: SignerOptions) -> int:
    """Write each image of a bundle as an archive that a container runtime imports at its start, without a registry.

    PATH is a directory (its newest bundle), the .json file of a bundle, or one of its parts. Every image gets a file of
    its own, with the name that it has at its source: manifests stay as they are. A file that has its image already
    stays untouched, and so nothing is imported again. Signatures, charts and images that the bundle does not carry get
    no file (-v names them); the files of earlier bundles stay. For talos the images are written into one image cache.

    Exits with 0 if all images that the bundle carries have a file, 3 if some of them are not whole or have layers that
    are deltas, 4 if bytes are damaged.
    """
    rules = Rules(signers=signers.required, unsigned=signers.allow_unsigned)
    done = run(console, partial(export_bundle, path, runtime, output, rules=rules))
    for one in done.unwritten:
        line = printable(f"no file for {one.name}: {one.reason}", 1000)
        if one.error is not None:
            console.problem(line)
        elif console.level > 0:
            console.notice(line)
    quiet = console.level < 0 and not done.exit_code
    hidden = console.level == 0 and any(one.error is None for one in done.unwritten)
    summary = _summary(done, runtime, output, " (-v says why)" if hidden else "")
    console.result(lambda: export_document(runtime, done), "" if quiet else summary)
    return done.exit_code


def _summary(done: Exported, runtime: str, output: str, why: str) -> str:
    chosen = RUNTIMES[runtime]
    new = sum(one.written for one in done.archives)
    left = [f"{len(done.archives) - new} unchanged", f"{len(done.unwritten)} without a file{why}"]
    left = [text for text in left if not text.startswith("0 ")]
    where = f"{output.rstrip('/')}/{chosen.directory}"
    text = f"wrote {count(new, chosen.noun)} to {printable(where)}{''.join(f', {one}' for one in left)}"
    return f"{text}; {chosen.use}" if done.archives else text
