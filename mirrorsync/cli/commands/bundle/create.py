"""`mirrorsync bundle create`."""

from __future__ import annotations

import sys
from fractions import Fraction
from functools import partial

import click

from mirrorsync.app.bundle.creating import Bundled, Wanted, create_bundle
from mirrorsync.app.bundle.parts import write_parts_again
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.options.bundle import have_option
from mirrorsync.cli.options.locked import LockChoice, locked_options
from mirrorsync.cli.options.selection import only_option
from mirrorsync.cli.options.signers import SignerOptions, signer_options
from mirrorsync.cli.options.sizes import PERCENT
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.made_bundles import bundle_summary
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.bundle_creation import bundle_creation_document
from mirrorsync.errors import UsageError
from mirrorsync.sync.run.report import exit_code


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Write all images of mirror.yaml, for a far side without any", "mirrorsync bundle create --output out"),
        Example(
            "Only what the far side lacks, by its inventory, in parts for a stick",
            "mirrorsync bundle create --have far.json --part-size 16GiB --output usb",
        ),
        Example(
            "Signed, and with parity files that repair damage to a tenth of it",
            "mirrorsync bundle create --sign signing_key --parity 10% --output dvd",
        ),
        Example(
            "Write a part of a bundle once more, with the same bytes",
            "mirrorsync bundle create --only-parts 1 --of out --output again",
        ),
    ],
)
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=complete_file)
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(file_okay=False, allow_dash=True),
    metavar="DIR",
    help="Write the files of the bundle there (`-`: one part to stdout).",
)
@have_option
@click.option(
    "--answer",
    metavar="CODE",
    help="What the far side lacks, as `bundle apply` or `bundle answer` printed it there; instead of --have.",
)
@click.option(
    "--sign",
    multiple=True,
    metavar="KEY",
    shell_complete=complete_file,
    help="Sign with this SSH key, as ssh-keygen does. Repeatable.",
)
@click.option(
    "--parity",
    type=PERCENT,
    metavar="PERCENT",
    help="Add parity files of this share, such as 10%, for `bundle repair`.",
)
@click.option(
    "--deltas",
    type=click.Choice(["on", "off"]),
    help="Carry layers as deltas of what --have names, if smaller, or whole. Default: on with --have.",
)
@click.option("--name", metavar="NAME", help="The beginning of the names of the files, instead of SPEC's.")
@only_option
@click.option("--only-parts", metavar="N,N", help="Write only these parts of the bundle --of, as they were.")
@click.option(
    "--of", metavar="FILE", shell_complete=complete_file, help="The document of that bundle, or one of its parts."
)
@signer_options
@locked_options
@verb
def command(
    console: Console,
    spec: str,
    output: str,
    have: tuple[str, ...],
    answer: str | None,
    part_size: int | None,
    sign: tuple[str, ...],
    parity: Fraction | None,
    deltas: str | None,
    name: str | None,
    destination: str | None,
    only: tuple[str, ...],
    only_parts: str | None,
    of: str | None,
    signers: SignerOptions,
    lock: LockChoice,
) -> int:
    """Write what the far side of an air gap lacks of the images of SPEC (mirror.yaml), as files to carry there.

    Without --have all images are written. The policies of SPEC hold as for apply; images that fail are named, and the
    bundle has the others. The files appear when all of them are whole. Nothing is written if the far side has all.
    Through a one-way network, --have sent counts on what was sent; --answer sends again what of it did not arrive.
    """
    if output == "-":
        _check_stream(part_size, only_parts, parity)
    loaded = lock.of(load_spec(spec))
    if only_parts is not None or of is not None:
        if answer is not None:
            raise UsageError("--only-parts writes a bundle as it was, and --answer a new one", remedy="leave out one")
        if only_parts is None or of is None:
            raise UsageError("--only-parts and --of go together", remedy="give the numbers, and the bundle's document")
        if parity is not None:
            raise UsageError("--parity is for whole bundles", remedy="leave it out: the parity files are as before")
        done = run(console, partial(write_parts_again, loaded, of, _numbers(only_parts), output))
    else:
        if answer is not None and only:
            raise UsageError("an answer is about the images of all mirrors", remedy="leave out --only or --answer")
        chosen = None if deltas is None else deltas == "on"
        wanted = Wanted(loaded, have, only, part_size, name, destination, sign, parity, signers.choice, chosen, answer)
        done = run(console, partial(create_bundle, wanted, output))
    console.failed(done.plan.failures, done.plan.spec)
    if output == "-":
        console.notice(bundle_summary(done, output))
    else:
        console.result(
            lambda: bundle_creation_document(done.plan, done.bundle, done.files), _text(console, done, output)
        )
    return exit_code(done.plan.failures, landed=bool(done.plan.changes))


def _text(console: Console, done: Bundled, output: str) -> str:
    return "" if console.level < 0 and not done.plan.failures else bundle_summary(done, output)


def _check_stream(part_size: int | None, only_parts: str | None, parity: Fraction | None) -> None:
    if parity is not None:
        raise UsageError("a stream has no parity files", remedy="name a directory: --output DIR")
    if part_size is not None or only_parts is not None:
        raise UsageError("standard output takes one part", remedy="name a directory, or leave out --part-size")
    if sys.stdout.isatty():
        raise UsageError("a part is not written to a terminal", remedy="redirect it, or name a directory: --output DIR")


def _numbers(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isascii() and word.isdecimal() and len(word) <= 4 for word in words):
        raise UsageError(f"--only-parts {text!r} is not a list of numbers", remedy="write 2 or 2,5")
    return [int(word) for word in words]
