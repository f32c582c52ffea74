"""`mirrorsync list-tags`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from mirrorsync.cli.options.access import AccessOptions, access_options, retry_option
from mirrorsync.cli.options.filters import read_filters
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.tables import Table
from mirrorsync.cli.skopeo_codes import skopeo_codes
from mirrorsync.cli.visits import Visit
from mirrorsync.documents.answers import tags_document
from mirrorsync.errors import ExitCode, GrammarError, UsageError, printable
from mirrorsync.library import absolute
from mirrorsync.oci.ref import written
from mirrorsync.oci.reference import Location, parse_image, parse_repository
from mirrorsync.oci.transports import transport_of
from mirrorsync.spec.explain import Verdict, explain
from mirrorsync.spec.filters import FILTERS
from mirrorsync.spec.selection import Selection
from mirrorsync.sync.single.list_tags import Named, list_names

_STYLES = {"kept": "green", "dropped": "dim"}


@click.command()
@click.argument("reference", metavar="REPO|ARCHIVE|LAYOUT")
@click.option(
    "--filter", "words", multiple=True, metavar="WORD=VALUE", help=f"A filter of the spec: {', '.join(FILTERS)}; "
    "glob and exclude repeat. What only narrows does so with all tags.",
)  # fmt: skip
@click.option("--explain", "explained", is_flag=True, help="Say for each tag which filter kept or dropped it.")
@access_options()
@retry_option
@verb
@skopeo_codes
def command(
    console: Console,
    reference: str,
    words: tuple[str, ...],
    explained: bool,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """List the tags of a repository, one a line, or the names of all images of an archive or layout.

    Images without a name are listed as they are picked: @0, or @sha256:... Filters do not touch them.
    """
    place = _place(reference)
    selection = read_filters(words)
    visit = Visit.to(console, place, access, retry_times)
    listed, unnamed = visit.run(lambda session: list_names(session, place))
    verdicts = _verdicts(place, listed, selection)
    names = [name for name, verdict in verdicts if verdict.wanted] + ([] if words else unnamed)

    def document() -> dict[str, Any]:
        return tags_document(place, names, verdicts if explained else None)

    if explained:
        rows = [_row(name, verdict) for name, verdict in verdicts]
        console.result(document, Table(("", "tag", "why"), rows, dict(_STYLES)))
    else:
        console.result(document, *names)
    if words and not names:
        console.say("no tags match the filters")
    return ExitCode.DONE


def _place(text: str) -> Location:
    """Read what is to be listed. Raises: GrammarError; UsageError when it is one image."""
    base = str(absolute("."))
    if not transport_of(text).many:
        raise UsageError(f"{printable(text)} holds one image, which has no tag", remedy="`mirrorsync inspect` shows it")
    try:
        return parse_repository(text, base)
    except GrammarError:
        reference = parse_image(text, base)  # raises for what is neither
        if not reference.names_one:
            raise
    raise UsageError(
        f"{printable(text)} names one image, and a list is of a repository's tags",
        remedy=f"list-tags {reference.location}, or inspect {reference}",
    )


def _verdicts(place: Location, listed: Sequence[Named], selection: Selection) -> list[tuple[str, Verdict]]:
    """Return every name with what the filters make of its tag; each repository's tags are filtered by themselves."""
    whole = not place.repository
    return [
        (written(named.repository, verdict.tag) if whole else verdict.tag, verdict)
        for named in listed
        for verdict in explain(selection, named.tags)
    ]


def _row(name: str, verdict: Verdict) -> tuple[str, ...]:
    return ("kept" if verdict.wanted else "dropped", name, printable(", ".join(verdict.reasons)))
