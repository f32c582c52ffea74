"""docs/verbs.md."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.pages.texts import Block, Verb, program, verbs

_HEAD = """\
# The verbs

<!-- Made from the help by `python -m tests.pages`; change the help instead. -->

`mirrorsync VERB --help` and the manual (`man mirrorsync-VERB`) say the same.
"""


def verbs_page() -> str:
    """Return the text of docs/verbs.md."""
    _, ends = program()
    known = list(verbs())
    lines = [_HEAD, "| verb | what it does |", "|---|---|"]
    lines += [f"| [`{verb.name}`](#mirrorsync-{verb.page}) | {_escaped(verb.summary)} |" for verb in known]
    lines += ["", *(line for block in ends for line in _block(block))]
    lines += [line for verb in known for line in _verb(verb)]
    return "\n".join(lines).rstrip() + "\n"


def _verb(verb: Verb) -> Iterator[str]:
    yield from (f"## mirrorsync {verb.name}", "", f"    {verb.usage}", "")
    for block in verb.blocks:
        yield from _block(block)
    yield "```sh"
    for number, example in enumerate(verb.examples):
        yield from ([""] if number else [])
        yield f"# {example.says}"
        yield example.line
    yield from ("```", "")
    for title, options in verb.sections:
        yield from (f"**{title}**", "")
        yield from (f"- `{names}`: {_escaped(says)}" for names, says in options)
        yield ""


def _block(block: Block) -> Iterator[str]:
    if block.preformatted:
        yield from (f"    {line}" for line in block.text.splitlines())
    else:
        yield _escaped(block.text)
    yield ""


def _escaped(text: str) -> str:
    """Escape what Markdown would read as markup, outside of code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([*<>\[\]|_])", r"\\\1", part) for part in parts)
