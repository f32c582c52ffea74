"""`mirrorsync init`."""

from __future__ import annotations

import re

import click

from mirrorsync.app.importing import NAMES, PLACEHOLDER, convert, first_spec, write_spec
from mirrorsync.app.outputs import is_standard_output
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import DEFAULT_SPEC
from mirrorsync.documents.answers import started_document
from mirrorsync.errors import UsageError


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Write a small spec to begin with", "mirrorsync init"),
        Example(
            "Make one of a list of images, for one destination",
            "mirrorsync init --from images.txt --to oci:mirror listed.yaml",
        ),
    ],
)
@click.argument("file", default=DEFAULT_SPEC, metavar="[FILE]")
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="FILE|DIR|-",
    help="Make it from image lists, Kubernetes manifests, or a spec of another tool. Repeatable.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(NAMES),
    metavar="NAME",
    help=f"The format of the files, if it is not recognised: {', '.join(NAMES)}.",
)
@click.option("--to", metavar="DEST", help="The destination: HOST/PREFIX, or oci:DIRECTORY.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@verb
def command(
    console: Console, file: str, sources: tuple[str, ...], form: str | None, to: str | None, force: bool
) -> None:
    """Write a spec to begin with (mirror.yaml; `-` is stdout), or one made from files that you have.

    \b
    mirrorsync init --from images.txt --to registry.example.com/mirror
    helm template CHART | mirrorsync init --from - --to oci:mirror
    mirrorsync init --from regsync.yml
    """
    if form and not sources:
        raise UsageError("--format is the format of a file", remedy="name the file: --from FILE")
    if console.as_json and is_standard_output(file):
        raise UsageError("--json and the spec cannot both go to stdout", remedy="give a file name, or leave out --json")
    text = convert(sources, to or "", form or "") if sources else first_spec(to or "")
    write_spec(file, text, force=force)
    if is_standard_output(file):
        return
    mirrors = text.partition("\nmirrors:\n")[2]
    count = len(re.findall(r"^  - ", mirrors, re.MULTILINE))
    remarks = len(re.findall(r"^ *# ", text, re.MULTILINE)) if sources else 0
    variables = sorted(set(re.findall(r"(?<!\$)\$\{(\w+)\}", text)))
    console.result(
        lambda: started_document(file, count, variables),
        "" if console.level < 0 else _next(file, count, variables, edit=PLACEHOLDER in text, remarks=remarks > 0),
    )


def _next(file: str, count: int, variables: list[str], *, edit: bool, remarks: bool) -> str:
    """Return what was written, and what to do next."""
    name = "" if file == DEFAULT_SPEC else f" {file}"
    lines = [f"wrote {file}: {count} mirror{'' if count == 1 else 's'}"]
    if remarks:
        lines.append("read its comments: they say what was not taken over")
    if edit:
        lines.append(f"set its destination, which is {PLACEHOLDER}")
    if variables:
        lines.append(f"set {', '.join(variables)} in the environment, or use `mirrorsync login`")
    lines.append(f"then: mirrorsync validate{name} && mirrorsync plan{name}")
    return "\n".join(lines)
