"""`mirrorsync bundle apply`."""

from __future__ import annotations

from functools import partial

import click

from mirrorsync.app.bundle.applying import Rules, apply_bundle, read_target
from mirrorsync.app.bundle.parity import has_parity
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.options.deadline import deadline_option
from mirrorsync.cli.options.signers import SignerOptions, signer_options
from mirrorsync.cli.output.answers import code_lines, qr_option_default
from mirrorsync.cli.output.bundles import early_line, finding_lines, repair_line, waiting_lines
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.reports import report_parts
from mirrorsync.cli.sessions import run
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.bundle import import_document
from mirrorsync.errors import ExitCode, UsageError


@click.command(
    cls=VerbCommand,
    examples=[
        Example(
            "Import the newest bundle in a directory into a registry",
            "mirrorsync bundle apply /media/usb --to harbor.corp.example/mirror",
        ),
        Example("Into a directory", "mirrorsync bundle apply /media/usb --to oci:/srv/mirror"),
    ],
)
@click.argument("path", shell_complete=complete_file)
@click.option(
    "--to",
    "destinations",
    required=True,
    multiple=True,
    metavar="LOCATION",
    shell_complete=complete_reference,
    help="HOST/PREFIX, or oci:DIRECTORY. Repeatable.",
)
@click.option(
    "--verify-in-passing",
    is_flag=True,
    help="Read only what a destination lacks, and verify it while it is copied: not all before anything is visible.",
)
@click.option(
    "--verify-first",
    is_flag=True,
    help="Send nothing before all was verified, not even to where nothing finds it: what is lacking is read twice.",
)
@click.option("--allow-older", is_flag=True, help="Also an older bundle than the last one, or another of its number.")
@click.option("--elsewhere", is_flag=True, help="Also to a destination that the bundle was not made for.")
@click.option("--qr", is_flag=True, help="Draw the answer code as a QR code also without a terminal.")
@signer_options
@deadline_option
@access_options()
@retry_option
@verb
def command(
    console: Console,
    path: str,
    destinations: tuple[str, ...],
    verify_in_passing: bool,
    verify_first: bool,
    allow_older: bool,
    elsewhere: bool,
    qr: bool,
    signers: SignerOptions,
    deadline: float | None,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Import a bundle: make its images visible at every LOCATION, byte for byte.

    PATH is a directory (its newest bundle), the .json file of a bundle, one of its parts, or - for a part on stdin.
    All parts that are here are verified before anything becomes visible. An image becomes visible if all its content is
    here or at the destination; the others wait, are named with what they lack, and their content is imported: apply the
    parts one after the other, in any order. A second time there is nothing to do. While images wait, an answer code is
    printed: for a sender that no inventory reaches, and its `bundle create --answer CODE`.

    Exits with 0 if all images are at the destination, 3 if some wait or failed, 4 if parts are damaged, 5 if a newer
    bundle was applied before.
    """  # fmt: skip
    targets = [read_target(one) for one in destinations]
    environment = environment_of(console, [(target, access) for target in targets], retry_times)
    if verify_first and verify_in_passing:
        raise UsageError("--verify-first and --verify-in-passing exclude each other", remedy="leave out one of them")
    rules = Rules(
        not verify_in_passing, not verify_first, allow_older, elsewhere, signers.required, signers.allow_unsigned
    )
    stop = Stop(console.notice, deadline)
    done = run(console, partial(apply_bundle, path, targets, rules), environment, stop)
    code = stop.code_of(done.report) if done.report.interrupted else done.exit_code
    whole = console.level > 0
    for line in finding_lines(done.damage, whole=whole):
        console.problem(line)
    lacking = done.waiting and done.checked is not None and done.checked.missing
    if (lacking or done.exit_code == ExitCode.INTEGRITY) and has_parity(path):
        console.problem(repair_line(path))
    console.failed(done.report.failures, done.report.spec)
    for line in waiting_lines(done, whole=whole):
        console.problem(line)
    quiet = console.level < 0 and not code
    answer = code_lines(done.answer, qr=qr or qr_option_default(console))
    parts = () if quiet else (early_line(done), *report_parts(done.report), *answer)
    console.result(lambda: import_document(done, code), *parts)
    return code
