"""`mirrorsync compare`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.node_images import Comparison, compare_nodes
from mirrorsync.app.relocating import place_of, read_files
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.tables import Listing
from mirrorsync.cli.sessions import run
from mirrorsync.documents.comparison import comparison_document
from mirrorsync.errors import ExitCode
from mirrorsync.sync.run.report import exit_code
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "What do the nodes have that the mirror lacks?",
            "mirrorsync compare --destination corp node.json mirror.yaml",
        ),
        Example(
            "In a script: exit code 10 if an image is missing, or differs",
            "mirrorsync compare --exit-code --destination corp node.json mirror.yaml || :",
        ),
    ],
)
@click.argument("nodes", nargs=-1, required=True, metavar="NODES...", shell_complete=complete_file)
@click.argument("spec", metavar="SPEC", shell_complete=complete_file)
@click.option("--destination", default="", metavar="NAME", help="The destination to compare with, if SPEC has several.")
@click.option("--exit-code", "exit_on_findings", is_flag=True, help="Exit with 10 if images are missing or differ.")
@verb
def command(console: Console, nodes: tuple[str, ...], spec: str, destination: str, exit_on_findings: bool) -> int:
    """Compare the images that nodes have with those that a destination of SPEC has now.

    NODES are files with the output of `kubectl get pods -A -o json`, `crictl images -o json`, or `docker images
    --digests --format json` (podman's too); `-` is stdin. Images are named as the sources name them, or as the mirror
    does.

    missing: the mirror lacks it, or no mirror of SPEC has it. drifted: the mirror has another image under this name.
    unused: no node has this tag of a repository that SPEC fills.
    """
    loaded = load_spec(spec)
    place = place_of(loaded, destination)
    found, unread = run(console, partial(compare_nodes, read_files(nodes), loaded, place))
    console.failed(found.failures)
    if unread:
        console.notice(f"not references: {printable(', '.join(unread[:5]), 300)}{' ...' if len(unread) > 5 else ''}")
    console.result(partial(comparison_document, found), *_parts(found, quiet=console.level < 0))
    if found.failures:
        return exit_code(found.failures, landed=bool(found.images))
    different = found.of("missing") or found.of("drifted")
    return ExitCode.CHANGES if exit_on_findings and different else ExitCode.DONE


def _parts(found: Comparison, *, quiet: bool) -> list[str | Listing]:
    different = [one for one in found.images if one.finding != "present"]
    rows = [((str(one.finding), str(one.used.reference)), one.used.at) for one in different]
    unused = [(("unused", str(one)), "") for one in found.unused]
    counts = (
        (len(found.of("present")), "present"),
        (len(found.of("missing")), "missing"),
        (len(found.of("drifted")), "drifted"),
        (len(found.unused), "unused"),
    )
    totals = ", ".join(f"{number} {word}" for number, word in counts if number) or "no images"
    styles = {"missing": "red", "drifted": "yellow", "unused": "dim"}
    return [] if quiet else [Listing([*rows, *unused], styles), totals]
