"""`mirrorsync verify`."""

from __future__ import annotations

from collections import Counter
from functools import partial

import click

from mirrorsync.app.runs import verify_spec
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.plans import changes_listing
from mirrorsync.cli.output.render import count
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.plan import plan_document
from mirrorsync.errors import ExitCode
from mirrorsync.plan.model import State
from mirrorsync.sync.run.report import exit_code


@click.command()
@click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]")
@click.option("--only", multiple=True, metavar="GLOB", help="Only mirrors whose source matches. Repeatable.")
@verb
def command(console: Console, spec: str, only: tuple[str, ...]) -> int:
    """Check that the destinations of SPEC (mirror.yaml) have every blob and manifest of every wanted image.

    Exits with 1 if something is missing; `mirrorsync apply --deep` repairs it.
    """
    found = run(console, partial(verify_spec, load_spec(spec), only=only))
    missing = list(found.changed())
    states = Counter(change.state for change in found.changes)
    # An image that a policy keeps is not the one of its source, which is all that its content can be compared with.
    kept = states[State.KEPT] + states[State.REFUSED]
    summary = ", ".join(
        [f"{count(states[State.UNCHANGED], 'image')} complete"]
        + [f"{len(missing)} missing or different"] * bool(missing)
        + [f"{kept} kept by a policy and not checked"] * bool(kept)
    )
    # With nothing checked there is nothing to sum up: the failures say why.
    quiet = (console.level < 0 and not missing) or (found.failures and not found.changes)
    shown = [change for change in found.changes if change.state != State.UNCHANGED]
    console.failed(found.failures, found.spec)
    console.result(lambda: plan_document(found), changes_listing(shown), "" if quiet else summary)
    if found.failures:
        return exit_code(found.failures, landed=bool(found.changes))
    return ExitCode.FAILED if missing else ExitCode.DONE
