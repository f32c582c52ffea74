"""`mirrorsync relocate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import click

from mirrorsync.app.locking import load_lock
from mirrorsync.app.relocating import Relocated, place_of, read_files, relocate_files, write_files
from mirrorsync.app.specs import FROM_STDIN, load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.locks import images
from mirrorsync.cli.output.stdio import write_stderr, write_stdout
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.relocation import relocation_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.text import printable


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Show a manifest with the images of the mirror", "mirrorsync relocate --destination corp app.yaml"),
        Example(
            "Change files in their place, with digests",
            "mirrorsync relocate --destination corp --pin --in-place app.yaml compose.yaml",
        ),
        Example(
            "In a pipe, with the digests of the lock",
            "cat app.yaml | mirrorsync relocate --destination corp --lock mirror.lock -",
        ),
    ],
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=complete_file)
@click.option(
    "--spec", default=DEFAULT_SPEC, metavar="SPEC", show_default=True, help="The spec.", shell_complete=complete_file
)
@click.option(
    "--destination", default="", metavar="NAME", help="The destination whose names are written, if SPEC has several."
)
@click.option("--address", default="", metavar="HOST[/PREFIX]", help="How clients name the destination.")
@click.option("--pin", is_flag=True, help="Add the digest that the mirror has now.")
@click.option("--lock", metavar="FILE", help="Add the digest that a lock has.", shell_complete=complete_file)
@click.option("--in-place", "-i", is_flag=True, help="Change the files, instead of printing them.")
@verb
def command(
    console: Console, files: tuple[str, ...], spec: str, destination: str, address: str, pin: bool, lock: str | None,
    in_place: bool,
) -> int:  # fmt: skip
    """Rewrite the images in FILEs to the names that they have at a destination of SPEC.

    FILE is Kubernetes YAML, a kustomization, an Application of Argo CD, a values.yaml or a compose file, `-` for stdin.
    Only the references change: comments, quotes and line breaks stay. Nothing is contacted without --pin.

    Images that no mirror has stay as they are: they are named, and the exit code is 3.
    """
    if in_place and FROM_STDIN in files:
        raise UsageError("standard input cannot be changed in place", remedy="leave out --in-place")
    if len(set(files)) < len(files):
        raise UsageError("a file is named twice")
    loaded = load_spec(spec)
    place = place_of(loaded, destination, address)
    place.check_pullable()
    known = load_lock(lock) if lock else None
    found = run(console, partial(relocate_files, read_files(files), loaded, place, pin=pin, lock=known))
    if in_place:
        write_files(found)
    _report(console, found)
    if console.as_json:
        console.result(partial(relocation_document, found))
    elif not in_place:
        write_stdout(_text(found))
    counts = Counter(one.fate for file in found for one in file.images)
    return ExitCode.DONE if not counts["failed"] else ExitCode.PARTLY if counts["rewritten"] else ExitCode.FAILED


def _text(found: Sequence[Relocated]) -> str:
    """Return all files as one stream of YAML documents."""
    whole = ""
    for file in found:
        text = file.data.decode("utf-8-sig")
        start = "---\n" if whole and not text.startswith("---") else ""
        whole += start + text + ("" if text.endswith("\n") else "\n")
    return whole.removesuffix("\n")


def _report(console: Console, found: Sequence[Relocated]) -> None:
    for file in found:
        for one in file.images:
            line = printable(f"{file.name}:{one.use.line}: {one.use.image}: {one.trouble}", 400)
            if one.fate == "failed":
                write_stderr(line)
            elif one.trouble:
                console.notice(line)
        counts = Counter[str](one.fate for one in file.images)
        words = [f"{images(counts[fate])} {text}" for fate, text in _WORDS if counts[fate]]
        console.notice(f"{'stdin' if file.name == FROM_STDIN else file.name}: {', '.join(words) or 'no images'}")


_WORDS = (("rewritten", "rewritten"), ("unchanged", "unchanged"), ("failed", "not rewritten"))
