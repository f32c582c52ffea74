"""The click command of a verb: options in sections, and examples at the end of its help.

cloup and click-option-group do this too, with constraints, aliases and themes that nothing here needs; the man pages
and docs/verbs.md are made from the same sections and examples.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mirrorsync.text import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

# Set to the name of the shell by the scripts of `mirrorsync completion`.
COMPLETION_VARIABLE: Final = "_MIRRORSYNC_COMPLETE"
# Columns of every help. A wider terminal does not make it easier to read.
HELP_WIDTH: Final = 80
# The sections of a help, in their order. An option without a section is in the first.
OPTIONS: Final = "Options"
ACCESS: Final = "Access"
SOURCE_ACCESS: Final = "Access to the source"
DESTINATION_ACCESS: Final = "Access to the destination"
OUTPUT: Final = "Output"
SECTIONS: Final = (OPTIONS, ACCESS, SOURCE_ACCESS, DESTINATION_ACCESS, OUTPUT)


@dataclass(frozen=True, slots=True)
class Example:
    """A line for the shell, and what it does. The line is run by a test."""

    says: str
    line: str


class SectionedOption(click.Option):
    """An option in a section of the help."""

    def __init__(self, *names: Any, section: str = OPTIONS, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


def option(*names: str, section: str, **settings: Any) -> Callable[[F], F]:
    """Add an option in a section of the help; otherwise as `click.option`."""
    return click.option(*names, cls=SectionedOption, section=section, **settings)


class VerbCommand(click.Command):
    """The command of a verb. examples: at the end of its help, two to four."""

    def __init__(self, *words: Any, examples: Sequence[Example] = (), **settings: Any) -> None:
        super().__init__(*words, **settings)
        self.examples = tuple(examples)

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[click.Option]]]:
        """Yield each section of the help with its options; sections without options are left out."""
        shown = [one for one in self.get_params(ctx) if isinstance(one, click.Option) and not one.hidden]
        for name in SECTIONS:
            found = [one for one in shown if self._section_of(one, ctx) == name]
            if found:
                yield name, found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        for name, options in self.sections(ctx):
            with formatter.section(name):
                formatter.write_dl([record for one in options if (record := one.get_help_record(ctx)) is not None])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are: a line that is wrapped could not be copied."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("\n".join(self._example_lines()))
        super().format_epilog(ctx, formatter)

    def _example_lines(self) -> Iterator[str]:
        for number, example in enumerate(self.examples):
            if number:
                yield ""
            yield f"  # {example.says}"
            yield from (f"  {line}" for line in example.line.splitlines())
        yield ""

    def _section_of(self, option: click.Option, ctx: click.Context) -> str:
        if option is self.get_help_option(ctx):
            return OUTPUT
        return option.section if isinstance(option, SectionedOption) else OPTIONS


class VerbGroup(click.Group):
    """Verbs that are loaded by name, so that a start loads only one.

    verbs: what each does, in the order of use. package: of their modules, each of which has a `command`.
    """

    def __init__(self, *words: Any, verbs: Mapping[str, str], package: str, **settings: Any) -> None:
        super().__init__(*words, **{"subcommand_metavar": "VERB ...", **settings})
        self.verbs = verbs
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs in the order of use."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Return the command of a verb."""
        if cmd_name not in self.verbs:
            return None
        command: click.Command = importlib.import_module(f"{self._package}.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that the first word is. Raises: click.UsageError, with the verbs that may be meant."""
        if args[0] not in self.verbs and not ctx.resilient_parsing:
            raise click.UsageError(self.unknown(args[0]), ctx)
        return super().resolve_command(ctx, args)

    def unknown(self, word: str) -> str:
        """Return the message for a word that is not a verb."""
        from mirrorsync.cli.synonyms import meant

        found = [f"'{verb}'" for verb in meant(word, self.verbs) if verb in self.verbs]
        hint = f" Did you mean {' or '.join(found)}?" if found else ""
        return f"No such command {printable(word, 60)!r}.{hint}"

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Complete a verb; click's own would import every verb for its help."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(verb, help=says) for verb, says in self.verbs.items() if verb.startswith(incomplete)]
        return verbs if not incomplete.startswith("-") else super().shell_complete(ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the list of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))
