"""--to bundle: plan a bundle for a far side, instead of changes at destinations that can be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.options.sizes import SIZE
from mirrorsync.errors import UsageError

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BundleChoice:
    """A bundle that is to be planned. have, part_size, destination: as for `app.bundle.creating.Wanted`."""

    have: tuple[str, ...] = ()
    part_size: int | None = None
    destination: str | None = None


def have_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add --have, --part-size and --destination to a command."""
    for option in (
        click.option(
            "--destination", metavar="NAME", help="The destination whose names the images have, if SPEC has several."
        ),
        click.option("--part-size", type=SIZE, metavar="SIZE", help="The most bytes of a part, such as 16GiB."),
        click.option(
            "--have",
            multiple=True,
            metavar="FILE|DIR|sent|generation:N",
            shell_complete=complete_file,
            help="What the far side has: an inventory, an older bundle, what was sent, or a generation that was "
            "applied to it. Repeatable: all of it.",
        ),
    ):
        function = option(function)
    return function


def bundle_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add --to, and the options of a bundle; the function gets them as `bundle`, None without --to."""

    @wraps(function)
    def run(
        *words: Any,
        to: str | None,
        have: tuple[str, ...],
        part_size: int | None,
        destination: str | None,
        **values: Any,
    ) -> R:
        if to is None and (have or part_size is not None or destination is not None):
            raise UsageError("--have, --part-size and --destination are about a bundle", remedy="add --to bundle")
        choice = BundleChoice(have, part_size, destination) if to is not None else None
        unused = ("output", "detail", "explain", "deep", "only_from", "failed_file", "exit_on_changes")
        if choice is not None and any(values.get(name) for name in unused):
            raise UsageError("--to bundle takes only --only, --locked, --lock, --have, --part-size and --destination")
        return function(*words, bundle=choice, **values)

    to = click.option("--to", type=click.Choice(["bundle"]), help="Plan what `bundle create` would write: its parts.")
    return to(have_option(run))
