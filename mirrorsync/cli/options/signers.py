"""The options of verbs that read what has crossed an air gap: --signers, --threshold, --allow-unsigned."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from mirrorsync.app.bundle.signers import SignerChoice
from mirrorsync.cli.completers import complete_file
from mirrorsync.signing import Required

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SignerOptions:
    """Who has to sign, as the options name it."""

    choice: SignerChoice

    @property
    def required(self) -> Required | None:
        """Who has to sign if no spec says it, None = unsigned is right. Raises: UsageError."""
        return self.choice.required(os.environ)

    @property
    def allow_unsigned(self) -> bool:
        """Whether unsigned is right this time."""
        return self.choice.allow_unsigned


def signer_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options to a command, which gets `signers`: SignerOptions."""

    @click.option(
        "--signers",
        "signers_file",
        metavar="FILE",
        shell_complete=complete_file,
        help="Allowed signers, as for git; what they have not signed is refused. Default: MIRRORSYNC_SIGNERS.",
    )
    @click.option(
        "--threshold",
        type=click.IntRange(1, 32),
        metavar="N",
        help="How many different people have to sign. Default: MIRRORSYNC_THRESHOLD, or 1.",
    )
    @click.option("--allow-unsigned", is_flag=True, help="Accept what too few people have signed, this time.")
    @functools.wraps(function)
    def with_signers(
        *args: Any, signers_file: str | None, threshold: int | None, allow_unsigned: bool, **others: Any
    ) -> R:
        choice = SignerChoice(signers_file, threshold, allow_unsigned)
        return function(*args, signers=SignerOptions(choice), **others)

    return with_signers
