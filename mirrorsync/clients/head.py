"""What the head of every file says: what it is, where it belongs, how it is put to use, checked and undone."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final

from mirrorsync.clients.model import Lost, Registry, Site
from mirrorsync.text import printable

_WIDTH: Final = 100
_INDENT: Final = "           "


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do with a file: each is one sentence or a command. more: what else its users should know."""

    belongs: str
    apply: str
    check: str
    undo: str
    more: tuple[str, ...] = ()


def head(site: Site, client: str, advice: Advice, lost: Sequence[Lost] = ()) -> str:
    """Return the head of a file as comments, with an empty line behind it. client: its name on the command line."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines(site, client, advice, lost)) + "\n"


def lines(site: Site, client: str, advice: Advice, lost: Sequence[Lost] = ()) -> Iterator[str]:
    """Yield the lines of a head, without marks of comments."""
    # A name of a file or of a destination may have spaces, quotes, and line feeds, which would end a comment.
    spec, destination = printable(site.spec), printable(site.destination)
    yield f"Pull from {site.registry.host} what {spec} mirrors there."
    command = f"mirrorsync client-config {quote(spec)} --for {client} --destination {quote(destination)}"
    command += f" --address {quote(printable(site.address))}" if site.address else ""
    yield f"Written by: {command}{'' if site.fallback else ' --no-fallback'}"
    yield ""
    named = ("belongs", advice.belongs), ("apply", advice.apply), ("check", advice.check), ("undo", advice.undo)
    for name, text in named:
        yield from _wrapped(f"{name}:", text)
    for text in advice.more:
        yield from _wrapped("note:", text)
    if lost or site.lost:
        yield ""
        yield f"{client} cannot express these:"
        for one in (*site.lost, *lost):
            yield from _wrapped("  -", lost_text(site.registry, one), "    ")


def lost_text(registry: Registry, lost: Lost) -> str:
    """Return a rule that a client cannot express, and why, as one line."""
    return f"{lost.rule.source} (at {registry.location(lost.rule.target)}): {lost.reason}"


def _wrapped(label: str, text: str, indent: str = _INDENT) -> Iterator[str]:
    first = f"{label:<{len(indent) - 1}} "
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def quoted(text: str) -> str:
    """Return a text as a string of TOML, YAML and JSON, which all read it the same."""
    return json.dumps(text)


def block(text: str, indent: str) -> str:
    """Return the lines of a text, each behind an indent: the body of a YAML block scalar."""
    return "".join(f"{indent}{line}\n" for line in text.splitlines())


# kubelet looks for pull secrets by the name of an image, and runtimes do not give them to mirrors (containerd#10996,
# containers/image#2949).
NO_PULL_SECRETS: Final = "pull secrets of pods are not used for it, since they are found by the names of the sources"


def secrets_note(registry: Registry, where: str) -> tuple[str, ...]:
    """Return notes about the login and the client certificate that the destination wants. where: they belong to."""
    notes = []
    if registry.login:
        notes.append(f"{registry.host} wants a login, which is written nowhere here: {where}")
    if registry.client_cert:
        notes.append(f"{registry.host} wants a client certificate; its key is a secret and written nowhere here")
    return tuple(notes)
