"""The man pages: mirrorsync(1), and one for each verb."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping

from tests.pages.texts import Block, Verb, program, verbs

_WIDTH = 76
_HEAD = '.\\" Made from the help by `python -m tests.pages`; change the help instead.'


def man_pages() -> Mapping[str, str]:
    """Return the text of each man page, by its file name."""
    known = list(verbs())
    pages = {f"mirrorsync-{verb.page}.1": _page(_verb(verb)) for verb in known}
    return {"mirrorsync.1": _page(_program(known)), **pages}


def _page(lines: Iterator[str]) -> str:
    return "\n".join([_HEAD, *lines]) + "\n"


def _program(known: list[Verb]) -> Iterator[str]:
    says, ends = program()
    yield from (_title("mirrorsync"), ".SH NAME", f"mirrorsync \\- {_text(_name(says))}")
    yield from (".SH SYNOPSIS", "\\fBmirrorsync\\fR \\fIVERB\\fR ...", ".SH DESCRIPTION", _line(says))
    yield from ("The verbs, each with a page of its own:", *_listed((verb.name, verb.summary) for verb in known))
    yield from (".SH EXIT STATUS", *(line for block in ends for line in _block(block)))
    yield from (".SH SEE ALSO", ",\n".join(f".BR mirrorsync\\-{_text(verb.page)} (1)" for verb in known))


def _verb(verb: Verb) -> Iterator[str]:
    name = f"mirrorsync-{verb.page}"
    yield from (_title(name), ".SH NAME", f"{_text(name)} \\- {_text(_name(verb.summary))}")
    words = verb.usage.removeprefix(f"mirrorsync {verb.name}").strip()
    yield from (".SH SYNOPSIS", f"\\fBmirrorsync {_text(verb.name)}\\fR {_text(words)}".rstrip())
    yield ".SH DESCRIPTION"
    for number, block in enumerate(verb.blocks):
        yield from ([".PP"] if number else [])
        yield from _block(block)
    yield ".SH OPTIONS"
    for title, options in verb.sections:
        yield from ([f".SS {_text(title)}"] if title != "Options" else [])
        yield from _listed(options)
    yield ".SH EXAMPLES"
    for number, example in enumerate(verb.examples):
        yield from ([".PP"] if number else [])
        yield from (f"{_line(example.says)}:", ".PP", ".RS 4", ".nf")
        yield from (_line(line) for line in example.line.splitlines())
        yield from (".fi", ".RE")
    yield from (".SH SEE ALSO", ".BR mirrorsync (1)")


def _title(name: str) -> str:
    return f'.TH {_text(name.upper())} 1 "" mirrorsync mirrorsync'


def _name(says: str) -> str:
    """Return a sentence as the line of a NAME section, which whatis and apropos show."""
    return says[0].lower() + says[1:].rstrip(".")


def _listed(items: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    for names, says in items:
        yield from (".TP", f"\\fB{_text(names)}\\fR", _line(says))


def _block(block: Block) -> Iterator[str]:
    if not block.preformatted:
        yield _line(block.text)
        return
    yield from (".nf", *(_line(line) for line in block.text.splitlines()), ".fi")


def _line(text: str) -> str:
    """Return lines of text. A dot or quote at the begin of one would be a request to roff."""
    lines = [text] if len(text) < _WIDTH else textwrap.wrap(text, _WIDTH, break_on_hyphens=False)
    return "\n".join(f"\\&{shown}" if shown[:1] in (".", "'") else shown for shown in map(_text, lines))


def _text(text: str) -> str:
    """Escape what roff reads as its own; a plain hyphen would be shown as one that cannot be copied."""
    escaped = re.sub(r"[-'`~^]", lambda found: _GLYPHS[found[0]], text.replace("\\", "\\e"))
    return re.sub(r"(?<=\S) {2,}(?=\[)", " ", escaped)


_GLYPHS = {"-": "\\-", "'": "\\(aq", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"}
