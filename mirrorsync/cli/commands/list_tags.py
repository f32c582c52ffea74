"""`mirrorsync list-tags`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from mirrorsync.app.images import Tags, list_tags
from mirrorsync.app.reading import read_location
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_filter, complete_reference
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.options.filters import read_filters
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.tables import Table
from mirrorsync.cli.sessions import run
from mirrorsync.cli.skopeo.codes import skopeo_codes
from mirrorsync.cli.skopeo.inspection import JSON, print_tags
from mirrorsync.cli.skopeo.options import LIST_TAGS, skopeo_options
from mirrorsync.documents.answers import tags_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.spec.explain import Verdict, explain
from mirrorsync.spec.filters import FILTERS
from mirrorsync.spec.selection import Selection
from mirrorsync.text import printable

_STYLES = {"kept": "green", "dropped": "dim"}


@click.command(
    cls=VerbCommand,
    examples=[
        Example("List the tags of a repository", "mirrorsync list-tags docker://docker.io/library/alpine"),
        Example(
            "Try filters before they go into a spec: which tags are kept, and why",
            "mirrorsync list-tags --explain --filter 'semver=>=3.18' --filter newest=2 \\\n    docker://docker.io/library/alpine",
        ),
        Example("List the images in a directory or archive", "mirrorsync list-tags oci:/srv/mirror"),
    ],
)
@click.argument("reference", metavar="REPO|ARCHIVE|LAYOUT", shell_complete=complete_reference)
@click.option(
    "--filter", "words", multiple=True, metavar="WORD=VALUE", shell_complete=complete_filter,
    help=f"A filter as in the spec: {', '.join(FILTERS)}. "
    "Repeatable; glob, exclude, exclude_regex and keep take several values.",
)  # fmt: skip
@click.option("--explain", "explained", is_flag=True, help="Show for each tag which filter kept or dropped it.")
@click.option("--format", "form", type=click.Choice([JSON]), help="Print skopeo's JSON.")
@access_options()
@retry_option
@skopeo_options(LIST_TAGS)
@verb
@skopeo_codes
def command(
    console: Console,
    reference: str,
    words: tuple[str, ...],
    explained: bool,
    form: str | None,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """List the tags of a repository, one per line, or the names of all images in an archive or layout.

    An image without a name is listed as its pick, @0 or @sha256:..., unless there is a filter. Filters that only narrow
    (exclude, exclude_regex, keep, newest) start from all tags.
    """
    if form is not None and (explained or console.as_json):
        raise UsageError(f"{'--explain' if explained else '--json'} and --format contradict each other")
    location = read_location(reference)
    selection = read_filters(words)
    environment = environment_of(console, [(location, access)], retry_times)
    listed = run(console, partial(list_tags, location), environment)
    verdicts = _verdicts(listed, selection)
    names = [name for name, verdict in verdicts if verdict.wanted] + ([] if words else list(listed.unnamed))

    def document() -> dict[str, Any]:
        return tags_document(location, names, verdicts if explained else None)

    if form is not None:
        print_tags(location, names)
    elif explained:
        rows = [_row(name, verdict) for name, verdict in verdicts]
        console.result(document, Table(("", "tag", "why"), rows, dict(_STYLES)))
    else:
        console.result(document, *names)
    if words and not names:
        console.notice("no tags match the filters")
    return ExitCode.DONE


def _verdicts(listed: Tags, selection: Selection) -> list[tuple[str, Verdict]]:
    """Return every name with the verdict of the filters on its tag; each repository is filtered separately."""
    return [
        (listed.name(named.repository, verdict.tag), verdict)
        for named in listed.repositories
        for verdict in explain(selection, named.tags)
    ]


def _row(name: str, verdict: Verdict) -> tuple[str, ...]:
    return ("kept" if verdict.wanted else "dropped", name, printable(", ".join(verdict.reasons)))
