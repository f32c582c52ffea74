"""The help of a verb as values, which the pages are made from."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import click

from mirrorsync.cli.command import Example, VerbCommand, VerbGroup
from mirrorsync.cli.main import cli


@dataclass(frozen=True)
class Block:
    """A paragraph. preformatted: its lines stay as they are."""

    text: str
    preformatted: bool = False


@dataclass(frozen=True)
class Verb:
    """A verb. sections: the options of the help, each as its names and what it does."""

    name: str
    summary: str
    usage: str
    blocks: tuple[Block, ...]
    sections: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    examples: tuple[Example, ...]

    @property
    def page(self) -> str:
        """The name of its page: bundle-verify."""
        return self.name.replace(" ", "-")


def program() -> tuple[str, list[Block]]:
    """Return what the program does, and the blocks at the end of its help: the exit codes."""
    return inspect.cleandoc(cli.help or ""), list(_blocks(cli.epilog or ""))


def commands(group: click.Context | None = None) -> Iterator[tuple[str, str, click.Context]]:
    """Yield every verb with its summary and its context, in the order of `mirrorsync --help`: `bundle verify`, too."""
    top = group or click.Context(cli, info_name="mirrorsync", **cli.context_settings)
    assert isinstance(top.command, VerbGroup)
    for name, summary in top.command.verbs.items():
        command = top.command.get_command(top, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=top)
        if isinstance(command, VerbGroup):
            yield from ((f"{name} {word}", says, inner) for word, says, inner in commands(context))
        else:
            yield name, summary, context


def verbs() -> Iterator[Verb]:
    """Yield every verb, in the order of `mirrorsync --help`."""
    for name, summary, context in commands():
        command = context.command
        assert isinstance(command, VerbCommand)
        yield Verb(
            name,
            summary,
            " ".join(["mirrorsync", name, *command.collect_usage_pieces(context)]),
            tuple(_blocks(command.help or "")),
            tuple((title, tuple(_records(options, context))) for title, options in command.sections(context)),
            command.examples,
        )


def _records(options: list[click.Option], context: click.Context) -> Iterator[tuple[str, str]]:
    for option in options:
        record = option.get_help_record(context)
        assert record is not None
        yield record


def _blocks(text: str) -> Iterator[Block]:
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b\n"):
            yield Block(inspect.cleandoc(part.removeprefix("\b\n")), preformatted=True)
        else:
            yield Block(" ".join(part.split()))
